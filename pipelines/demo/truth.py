"""What the demo's run found, beside what was planted.

``measure`` is pure: it compares the list with a run's rows and failures, joined by URL. ``measure_truth`` reads those from
a finished corpus. What the recipe does not measure, or was not reached, is None, and never counts as found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...corpora.plan import REFUSED
from ...corpora.sharding import FAILED
from ...corpora.store import Store
from ...corpora.tables import read_table
from ..columns import wide_table
from ..dedup import corpus_digest, read_clusters
from ..exporting import MANIFEST
from ..job import Job
from .planting import Planted

CALLED_PARROT = 0.3
"""From this share of a caption's words on, read off its picture, the demo calls it a parrot, as its recipe does."""

RATE, SIMILARITY = "text.parrot_rate_fuzzy", "clip.similarity"
_MOST_SURPRISES = 20


@dataclass(frozen=True)
class Findings:
    """What a run says. Each row has ``url``, ``exported``, and where it was measured ``cluster`` and the scores'
    columns by their wide names; ``failures`` are the URL and the reason of each request without a row.
    """

    rows: Sequence[Mapping[str, Any]]
    failures: Sequence[tuple[str, str]]


def measure(planted: Sequence[Planted], base_url: str, found: Findings) -> dict[str, Any]:
    """Compare: shares are of what was planted, so that what went missing counts as not found."""
    rows = {row["url"]: row for row in found.rows}
    told = {one.index: rows.get(one.url(base_url), {}) for one in planted}
    sound = [one for one in planted if one.outcome == "ok"]
    parrots = [_is_called_parrot(told[one.index]) for one in sound if one.is_parrot]
    honest = [_is_called_parrot(told[one.index]) for one in sound if one.honest]
    internal = [one.url(base_url) for one in planted if one.kind == "internal"]
    blocked = {url for url, reason in found.failures if reason == "blocked_address"}
    return {
        "asked": len(planted),
        "parrots": len(parrots),
        "parrot_recall": _share(parrots),
        "honest": len(honest),
        "honest_called_parrot": _share(honest),
        **_copies(sound, told),
        **_captions(sound, told),
        "broken": sum(one.broken for one in planted),
        "broken_exported": sum(bool(told[one.index].get("exported")) for one in planted if one.broken),
        "link_local_refused": all(url in blocked for url in internal),
        **_outcomes(planted, base_url, found),
    }


def _is_called_parrot(row: Mapping[str, Any]) -> bool | None:
    rate = row.get(RATE)
    return None if rate is None else bool(rate >= CALLED_PARROT)


def _share(verdicts: Sequence[bool | None]) -> float | None:
    """The share of true ones; None when nothing was measured at all."""
    if all(verdict is None for verdict in verdicts):
        return None
    return sum(verdict is True for verdict in verdicts) / len(verdicts)


def _copies(sound: Sequence[Planted], told: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Of the groups of equal bytes, how many share a cluster; and how many clusters mix different bytes."""
    groups: dict[str, list[Any]] = {}
    bodies: dict[str, set[Any]] = {}
    for one in sound:
        cluster = told[one.index].get("cluster")
        if one.copy_group is not None:
            groups.setdefault(one.copy_group, []).append(cluster)
        if cluster is not None:
            bodies.setdefault(cluster, set()).add(one.body)
    together = [len(set(clusters)) == 1 and clusters[0] is not None for clusters in groups.values()]
    return {
        "copy_groups": len(groups),
        "copies_grouped": _share(together) if bodies else None,
        "strangers_grouped": sum(len(different) > 1 for different in bodies.values()),
    }


def _captions(sound: Sequence[Planted], told: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """How well the cosine separates the drawn scenes whose caption fits from those whose caption does not."""
    scores: dict[bool, list[float]] = {True: [], False: []}
    for one in sound:
        similarity = told[one.index].get(SIMILARITY)
        if one.matched is not None and similarity is not None:
            scores[one.matched].append(similarity)
    return {
        "matching": len(scores[True]),
        "mismatched": len(scores[False]),
        "clip_auc": _auc(scores[True], scores[False]),
    }


def _auc(higher: Sequence[float], lower: Sequence[float]) -> float | None:
    """The chance that one of ``higher`` is above one of ``lower``, ties counted half (Mann-Whitney U)."""
    if not higher or not lower:
        return None
    ordered = np.sort(np.asarray(lower))
    below, upto = (np.searchsorted(ordered, higher, side=side) for side in ("left", "right"))
    return float((below + upto).sum() / (2 * len(higher) * len(lower)))


def _outcomes(planted: Sequence[Planted], base_url: str, found: Findings) -> dict[str, Any]:
    """The share of requests that ended as planned, and some that did not."""
    ended = Counter([*((row["url"], "ok") for row in found.rows), *found.failures])
    surprises = []
    for one in planted:
        url = one.url(base_url)
        if ended[url, one.outcome]:
            ended[url, one.outcome] -= 1
        else:
            surprises.append({"kind": one.kind, "url": url, "expected": one.outcome})
    instead = {url: reason for (url, reason), count in ended.items() if count}
    told = [{**surprise, "found": instead.get(surprise["url"])} for surprise in surprises[:_MOST_SURPRISES]]
    return {"outcomes_as_planted": 1 - len(surprises) / len(planted), "surprises": told}


def measure_truth(job: Job, planted: Sequence[Planted], base_url: str) -> dict[str, Any]:
    """Compare what was planted with the corpus of a finished run."""
    return measure(planted, base_url, Findings(list(_rows(job)), list(_failures(job))))


def _rows(job: Job) -> Iterator[dict[str, Any]]:
    wide = wide_table(job)
    shards = job.corpus().shards()
    columns = ["url", *(name for name in (RATE, SIMILARITY) if name in wide.schema().names)]
    clusters = {
        uid: cluster
        for table in read_clusters(job, wide, corpus_digest(job.store, shards)).values()
        for uid, cluster in zip(table["uid"].to_pylist(), table["cluster"].to_pylist(), strict=True)
    }
    exported = {uid for block in job.recipe.exports for uid in _exported(Store(block.to))}
    for shard in shards:
        for row in wide.read(shard, columns)[0].to_pylist():
            yield {**row, "cluster": clusters.get(row["uid"]), "exported": row["uid"] in exported}


def _exported(target: Store) -> Iterator[str]:
    """The uids of an export, as its own indexes give them."""
    names = [name for name in target.names("") if name.endswith(".parquet")] if target.exists(MANIFEST) else []
    for name in names:
        yield from read_table(target, name, ["uid"])[0]["uid"].to_pylist()


def _failures(job: Job) -> Iterator[tuple[str, str]]:
    columns = ["url", "reason"]
    for shard in job.corpus().shards():
        ledger = read_table(job.store, f"fetch/{shard}.parquet", ["status", *columns])[0]
        yield from _pairs(ledger.filter(pc.equal(ledger["status"], FAILED)))
    yield from _pairs(read_table(job.store, REFUSED, columns)[0])


def _pairs(ledger: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(ledger["url"].to_pylist(), ledger["reason"].to_pylist(), strict=True)
