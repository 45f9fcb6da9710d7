"""The account of a run: one JSON-able object whose sums agree with the ledger, read from what is on disk.

asked = fetched + the sum of failed, and a URL that was asked for twice counts once, as it stands now; samples = kept +
dropped, for every policy. What does not add up is an error of ours and stops the run: a summary that was not checked is
worth nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.errors import FatalError
from ..corpora.index import path_of
from ..corpora.plan import REFUSED, read_plan
from ..corpora.ranges import each
from ..corpora.rounds import SUPERSEDES
from ..corpora.sharding import FAILED
from ..corpora.store import Store
from ..corpora.tables import count_rows, read_table
from .deciding import Decision, read_decision
from .exporting import MANIFEST, export_digest
from .job import Job
from .recipe import ExportBlock


def summarise(job: Job) -> dict[str, Any]:
    """What was asked for, what came, what every policy keeps and why it drops, what was exported.

    Raises:
        FatalError: the sums disagree with the ledger.
    """
    told = _ingested(job)
    decision = read_decision(job) if job.recipe.policies else None
    policies: Mapping[str, Any] = decision.ledger["policies"] if decision else {}
    told["policies"] = {name: _policy(funnel) for name, funnel in policies.items()}
    told["exports"] = [_exported(block, decision) for block in job.recipe.exports]
    _reconcile(told)
    return told


def _ingested(job: Job) -> dict[str, Any]:
    shards = job.corpus().shards()
    failed: Counter[str] = Counter()
    asked = samples = 0

    def read(shard: str) -> tuple[pa.Table, int]:
        ledger = read_table(job.store, f"fetch/{shard}.parquet", ["status", "reason", SUPERSEDES])[0]
        return ledger, count_rows(job.store, path_of(shard))

    for ledger, rows in each(read, shards, job.store.requests_at_once):
        reasons = ledger["reason"].filter(pc.equal(ledger["status"], FAILED)).value_counts()
        failed.update({entry["values"]: entry["counts"] for entry in reasons.to_pylist()})
        before = ledger[SUPERSEDES].drop_null()  # these rows take the place of others, which were counted
        failed.subtract({entry["values"]: entry["counts"] for entry in before.value_counts().to_pylist()})
        asked += ledger.num_rows - len(before)
        samples += rows
    if unfetched := max(0, read_plan(job.store).slots - asked):
        failed["failed_shard"] = unfetched
        asked += unfetched
    if job.store.exists(REFUSED):
        refused = read_table(job.store, REFUSED, ["reason"])[0]["reason"].to_pylist()
        failed.update(refused)
        asked += len(refused)
    fetched = asked - sum(failed.values())
    told = {reason: count for reason, count in sorted(failed.items()) if count}
    return {"asked": asked, "fetched": fetched, "failed": told, "samples": samples}


def _policy(funnel: Mapping[str, Any]) -> dict[str, Any]:
    by = {name: counts["false"] + counts["null"] for name, counts in funnel["dropped_by"].items()}
    return {
        "kept": funnel["kept"],
        "dropped": funnel["dropped"],
        "dropped_by": by,
        "not_measurable": {name: counts["null"] for name, counts in funnel["dropped_by"].items() if counts["null"]},
        "dropped_only_by": funnel["dropped_only_by"],
    }


def _exported(block: ExportBlock, decision: Decision | None) -> dict[str, Any]:
    """What lies at an export's place; ``current`` when it was made from this decision, and not from an older one."""
    target = Store(block.to)
    manifest = target.read_json(MANIFEST) if target.exists(MANIFEST) else {}
    return {
        "policy": block.policy,
        "path": block.to,
        "current": decision is not None and manifest.get("digest") == export_digest(decision, block),
        "shards": len(manifest.get("shards", ())),
        "samples": manifest.get("samples", 0),
        "bytes": manifest.get("bytes", 0),
    }


def _reconcile(told: Mapping[str, Any]) -> None:
    if told["fetched"] != told["samples"]:
        raise FatalError(f"the ledger says {told['fetched']} fetched, the indexes hold {told['samples']} samples")
    for name, policy in told["policies"].items():
        if policy["kept"] + policy["dropped"] != told["samples"]:
            raise FatalError(
                f"policy {name}: {policy['kept']} kept + {policy['dropped']} dropped != {told['samples']} samples"
            )
    for export in told["exports"]:
        kept = told["policies"].get(export["policy"], {}).get("kept", export["samples"])
        if export["current"] and export["samples"] != kept:
            raise FatalError(f"export {export['path']} holds {export['samples']} samples, its policy keeps {kept}")
