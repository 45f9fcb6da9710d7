"""The dedup stage: the recipe's ways of finding duplicates, each a table uid -> cluster.

A table is made anew when the corpus, or what it compares, changed: its folder is named by both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..corpora.engine import Outcome, here
from ..corpora.errors import ConfigError
from ..corpora.index import path_of
from ..corpora.metering import Meter
from ..corpora.ranges import each
from ..corpora.store import Store
from ..corpora.tables import read_meta, read_table, write_table
from ..filters.duplicates import equal_values
from ..filters.scorer import digest8
from .columns import WideTable, wide_table
from .job import Job, StageResult, Work, watched

STAGE = "dedup"


def corpus_digest(store: Store, shards: Sequence[str]) -> str:
    """What the corpus holds now: a digest of its index digests."""
    digests = each(lambda shard: read_meta(store, path_of(shard))["digest"], shards, store.requests_at_once)
    return digest8([[shard, digest] for shard, digest in zip(shards, digests, strict=True)])


def clusters_path(wide: WideTable, name: str, on: str, corpus: str) -> str:
    """Where a method's clusters lie: named by what is compared and by the corpus that was compared."""
    family = next((spec.identity8 for spec in wide.families if on.startswith(f"{spec.name}.")), None)
    return f"duplicates/{name}/{digest8({'on': on, 'family': family, 'corpus': corpus})}/clusters.parquet"


def dedup(job: Job) -> StageResult:
    """Find the duplicates that the recipe names, where that was not done."""
    wide = wide_table(job)
    shards = job.corpus().shards()
    corpus = corpus_digest(job.store, shards)
    check_methods(job, wide)
    methods = {name: block.on for name, block in job.recipe.duplicates.items()}
    paths = {name: clusters_path(wide, name, on, corpus) for name, on in methods.items()}
    todo = [name for name, path in paths.items() if not job.store.exists(path)]
    with watched(job, STAGE, Work(todo, len(methods) - len(todo), "copies", "rows")) as running:
        for name in todo:
            started, meter = time.perf_counter(), Meter()
            table = equal_values(wide.scan(shards)([methods[name]]), methods[name])
            meter.lap("judge")
            meter.bytes_out += write_table(job.store, paths[name], table, {"on": methods[name], "corpus": corpus})
            meter.lap("write")
            told = {"rows": table.num_rows, **meter.told()}
            running.take(Outcome(name, told, seconds=time.perf_counter() - started, worker=here("driver")))
    return running.result()


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
    found: dict[str, Any] = {}
    for name, block in job.recipe.duplicates.items():
        path = clusters_path(wide, name, block.on, corpus)
        if not job.store.exists(path):
            raise ConfigError(f"duplicates.{name} is not made for this corpus as it is: run `tamis dedup RECIPE`")
        found[name] = read_table(job.store, path, ["uid", "cluster"])[0]
    return found
