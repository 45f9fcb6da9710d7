"""The dedup stage: the recipe's ways of finding duplicates, each a table uid -> cluster.

A table is made anew when the corpus, or what it compares, changed: its folder is named by both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..corpora.errors import ConfigError
from ..corpora.index import path_of
from ..corpora.store import Store
from ..corpora.tables import read_meta, read_table, write_table
from ..filters.duplicates import equal_values
from ..filters.scorer import digest8
from .columns import WideTable, wide_table
from .job import Job, StageResult

STAGE = "dedup"


def corpus_digest(store: Store, shards: Sequence[str]) -> str:
    """What the corpus holds now: a digest of its index digests."""
    return digest8([[shard, read_meta(store, path_of(shard))["digest"]] for shard in shards])


def clusters_path(wide: WideTable, name: str, on: str, corpus: str) -> str:
    """Where a method's clusters lie: named by what is compared and by the corpus that was compared."""
    family = next((spec.identity8 for spec in wide.families if on.startswith(f"{spec.name}.")), None)
    return f"duplicates/{name}/{digest8({'on': on, 'family': family, 'corpus': corpus})}/clusters.parquet"


def dedup(job: Job) -> StageResult:
    """Find the duplicates that the recipe names, where that was not done."""
    started = time.perf_counter()
    wide = wide_table(job)
    shards = job.corpus().shards()
    corpus = corpus_digest(job.store, shards)
    check_methods(job, wide)
    done = before = 0
    methods = job.recipe.duplicates
    job.watch.begin(STAGE, len(methods), 0, "rows")
    for name, block in methods.items():
        path = clusters_path(wide, name, block.on, corpus)
        if job.store.exists(path):
            before += 1
        else:
            table = equal_values(wide.scan(shards)([block.on]), block.on)
            write_table(job.store, path, table, {"on": block.on, "corpus": corpus})
            done += 1
        job.watch.advance(1, 0, 0)
    job.watch.end()
    return StageResult(STAGE, done, before, seconds=time.perf_counter() - started)


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
