"""Adopting foreign tars: draft, find uids that stand twice, write the indexes.

Price: every tar is read once; the driver sorts 32 bytes a sample.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from ..corpora.errors import ConfigError, DataError
from ..corpora.index import TarFile, path_of, schema_with, write_index
from ..corpora.metering import Meter
from ..corpora.plan import PLAN, Plan, shard_name
from ..corpora.sharding import LEDGER_SCHEMA, account, tar_path
from ..corpora.sources.samples import hash_tar, unpack, whole_tar
from ..corpora.sources.shards import COMPRESSED, TarSource, adopt, without_duplicates
from ..corpora.store import Store
from ..corpora.tables import read_table, write_table
from .job import Job, StageResult, Work, nothing_left, run_map

STAGE = "fetch"


def adopt_tars(job: Job, source: TarSource) -> StageResult:
    """Give every tar of the source an index in the corpus; the tars stay where and as they are."""
    tars = source.files()
    corpus = job.create_corpus(source.schema())
    _check_plan(job.store, source.fingerprint(), len(tars))
    finished = set(corpus.shards())
    names = {shard_name(number): url for number, url in enumerate(tars)}
    missing = [shard for shard in names if shard not in finished]
    if not missing:
        return nothing_left(job, STAGE, len(names), "samples")
    drafts = set(job.store.names("plan"))
    undrafted = [shard for shard in missing if _draft(shard).removeprefix("plan/") not in drafts]
    drafted = run_map(
        job,
        "draft",
        DraftTask(job.store, corpus.source_schema, names),
        Work(undrafted, len(names) - len(undrafted), "samples", "asked"),
    )
    poison = {item for item, _ in drafted.poison}
    ready = [shard for shard in names if shard not in poison]
    task = IndexTask(job.store, corpus.source_schema, _taken(job.store, ready, finished))
    written = run_map(job, STAGE, task, Work([s for s in missing if s in ready], len(finished), "samples", "asked"))
    written.tally.join(drafted.tally)
    return replace(written, poison=drafted.poison + written.poison, seconds=drafted.seconds + written.seconds)


def _check_plan(store: Store, fingerprint: str, num_tars: int) -> None:
    plan = Plan(hashlib.sha256(fingerprint.encode()).hexdigest(), requests=0, slots=0, shards=num_tars, refused=0)
    if not store.exists(PLAN):
        store.put_json(PLAN, asdict(plan))
    elif store.read_json(PLAN)["fingerprint"] != plan.fingerprint:
        raise ConfigError(
            f"{store.root!r} holds other tars than the recipe's source names (or they changed size): "
            "name another folder under `corpus:`"
        )


def _draft(shard: str) -> str:
    return f"plan/draft-{shard}.parquet"


def _draft_ledger(shard: str) -> str:
    return f"plan/draft-{shard}-ledger.parquet"


def _taken(store: Store, shards: list[str], finished: set[str]) -> dict[str, set[str]]:
    """For each shard, its uids that another has: finished shards keep theirs, then the first in plan order wins."""
    seen: set[bytes] = set()
    taken: dict[str, set[str]] = defaultdict(set)
    for shard in sorted(shards, key=lambda shard: shard not in finished):
        path = path_of(shard) if shard in finished else _draft(shard)
        uids = set(read_table(store, path, ["uid"])[0]["uid"].to_pylist()) - {None}
        for uid in uids:
            name = bytes.fromhex(uid)
            if name in seen:
                taken[shard].add(uid)
            seen.add(name)
    return dict(taken)


@dataclass(frozen=True)
class DraftTask:
    """Reads one tar into a draft of its index and ledger."""

    store: Store
    source_schema: pa.Schema
    tars: dict[str, str]

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Draft one shard; broken samples become ledger rows."""
        meter = Meter()
        url = self.tars[item]
        if url.lower().endswith(COMPRESSED):
            return self._unpacked(item, url, meter)
        with whole_tar(url) as tar:
            rows, ledger = adopt(tar, self.source_schema)
            return self._write(item, rows, ledger, hash_tar(url, tar, ours=False), meter)

    def _unpacked(self, shard: str, url: str, meter: Meter) -> dict[str, Any]:
        made: list[TarFile] = []
        rows: list[dict[str, Any]] = []
        ledger: list[dict[str, Any]] = []
        with self.store.commit(lambda: made[0].url) as plain:
            with contextlib.suppress(DataError):
                unpack(url, plain)  # when cut short, what came out is adopted, and the walk records where it ends
            found = hash_tar("", plain, ours=True)
            made.append(TarFile(tar_path(shard, found.blake3), found.size, found.blake3))
            rows, ledger = adopt(plain, self.source_schema)
            meter.bytes_out += made[0].size
        return self._write(shard, rows, ledger, made[0], meter)

    def _write(
        self, shard: str, rows: list[dict[str, Any]], ledger: list[dict[str, Any]], tar: TarFile, meter: Meter
    ) -> dict[str, Any]:
        meter.bytes_in += tar.size
        meter.lap("read")
        told = pa.Table.from_pylist(ledger, schema=LEDGER_SCHEMA)
        meter.bytes_out += write_table(self.store, _draft_ledger(shard), told, {})
        table = pa.Table.from_pylist(rows, schema=schema_with(self.source_schema))
        meter.bytes_out += write_table(self.store, _draft(shard), table, {"tar": tar.__dict__})
        meter.lap("write")
        return {"asked": len(ledger), **meter.told()}


@dataclass(frozen=True)
class IndexTask:
    """Turns a draft into the shard's ledger and index, without the uids that an earlier shard has."""

    store: Store
    source_schema: pa.Schema
    taken: dict[str, set[str]]

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Write ledger and index of one shard."""
        meter = Meter()
        table, meta = read_table(self.store, _draft(item))
        drafted = read_table(self.store, _draft_ledger(item))[0].to_pylist()
        rows, ledger = without_duplicates(table.to_pylist(), drafted, self.taken.get(item, set()))
        meter.lap("read")
        told = pa.Table.from_pylist(ledger, schema=LEDGER_SCHEMA)
        meter.bytes_out += write_table(self.store, f"fetch/{item}.parquet", told, {})
        write_index(self.store, item, rows, schema_with(self.source_schema), TarFile(**meta["tar"]))
        meter.lap("write")
        return {**account(ledger), **meter.told()}
