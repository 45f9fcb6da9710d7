"""The dedup stage: the recipe's ways of finding duplicates, each a table uid -> cluster in parts, made by ``Engine.group``.

A table is made anew when the corpus, or what it compares, changed: its folder is named by both. How many parts it has is a
function of the corpus, so that every engine writes the same files.

    duplicates/<method>/<identity8>/<part>.parquet   uid, cluster, distance; a cluster lies in one part
    duplicates/<method>/<identity8>/parts.json       written last
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from ..corpora.engine import Resources
from ..corpora.errors import ConfigError
from ..corpora.grouping import Dataset, Parts, part_name
from ..corpora.index import path_of
from ..corpora.ranges import each
from ..corpora.store import Store
from ..corpora.tables import count_rows, read_meta
from ..filters.duplicates import CLUSTERS_SCHEMA, compared, equal_values
from ..filters.scorer import digest8
from .columns import WideTable, wide_table
from .job import Job, StageResult, Work, watched

STAGE = "dedup"
ROWS_A_PART = 1 << 20


def corpus_digest(store: Store, shards: Sequence[str]) -> str:
    """What the corpus holds now: a digest of its index digests."""
    digests = each(lambda shard: read_meta(store, path_of(shard))["digest"], shards, store.requests_at_once)
    return digest8([[shard, digest] for shard, digest in zip(shards, digests, strict=True)])


def parts_of(wide: WideTable, name: str, on: str, corpus: str) -> Parts:
    """The parts of a method's table, there or not: named by what is compared and by the corpus that was compared."""
    family = next((spec for spec in wide.families if on.startswith(f"{spec.name}.")), None)
    told = {"on": on, "family": family.identity8 if family else None, "corpus": corpus}
    unmeasured = sorted(path for path in wide.unmeasured if family and path.startswith(f"{family.folder}/"))
    identity = digest8({**told, "unmeasured": unmeasured} if unmeasured else told)
    return Parts(wide.store, f"duplicates/{name}/{identity}", {"on": on, "corpus": corpus})


def dedup(job: Job) -> StageResult:
    """Find the duplicates that the recipe names, where that was not done."""
    wide = wide_table(job)
    shards = job.corpus().shards()
    corpus = corpus_digest(job.store, shards)
    check_methods(job, wide)
    methods = {name: block.on for name, block in job.recipe.duplicates.items()}
    tables = {name: parts_of(wide, name, on, corpus) for name, on in methods.items()}
    partitions = 1 + _rows(job.store, shards) // ROWS_A_PART
    todo = {name: parts.begin(partitions) for name, parts in tables.items() if parts.count() != partitions}
    items = [f"{name}/{part_name(number)}" for name, numbers in todo.items() for number in numbers]
    job.store.sweep()
    with watched(job, STAGE, Work(items, len(methods) * partitions - len(items), "copies", "rows")) as running:
        for name in todo:
            dataset = Dataset(shards, _Compared(wide, methods[name]))
            grouping = equal_values(wide.schema().field(methods[name]).type, partitions)
            for outcome in job.engine.group(dataset, grouping, tables[name], Resources()):
                running.take(replace(outcome, item=f"{name}/{outcome.item}"))
    return running.result()


def _rows(store: Store, shards: Sequence[str]) -> int:
    return sum(each(lambda shard: count_rows(store, path_of(shard)), shards, store.requests_at_once))


@dataclass(frozen=True)
class _Compared:
    """Reads what a shard's rows are compared by."""

    wide: WideTable
    on: str

    def __call__(self, shard: str) -> Iterator[pa.Table]:
        table, _ = self.wide.read(shard, [self.on])
        yield compared(table["uid"], table[self.on])


def check_methods(job: Job, wide: WideTable) -> None:
    """Refuse a method that compares a column which is not there.

    Raises:
        ConfigError: so it does.
    """
    known = wide.schema().names
    for name, block in job.recipe.duplicates.items():
        if block.on not in known:
            raise ConfigError(f"duplicates.{name}.on: no column {block.on!r}; there are {', '.join(sorted(known))}")


def read_clusters(job: Job, wide: WideTable, corpus: str) -> dict[str, pa.Table]:
    """Every method's clusters: uid, cluster.

    Raises:
        ConfigError: a method has not been run on the corpus as it is.
    """
    found: dict[str, pa.Table] = {}
    for name, block in job.recipe.duplicates.items():
        parts = parts_of(wide, name, block.on, corpus)
        if parts.count() is None:
            raise ConfigError(f"duplicates.{name} is not made for this corpus as it is: run `tamis dedup RECIPE`")
        found[name] = clusters(parts)
    return found


def clusters(parts: Parts) -> pa.Table:
    """The clusters of a method that was run: uid, cluster."""
    columns = ["uid", "cluster"]
    return pa.concat_tables([CLUSTERS_SCHEMA.empty_table().select(columns), *parts.tables(columns)])
