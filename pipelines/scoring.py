"""The score stage: every scorer of the recipe on every shard that it has not measured yet.

An item is a shard; all the scorers that miss it run in one pass, sharing reading and decoding. A family is done on a shard
when its parquet is there with the digest of the shard's index; vectors (``.npy``) are written before it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..corpora.errors import ConfigError
from ..corpora.extras import EXTRAS, absent, remedy
from ..corpora.index import read_index
from ..corpora.metering import Meter
from ..corpora.ranges import AHEAD_BYTES, RangeReader
from ..corpora.store import Store
from ..corpora.tables import read_meta, write_table
from ..filters.measuring import Pace, measure
from ..filters.registry import build_scorer
from ..filters.scorer import ERROR, Device, Scorer, digest8, identity
from .job import Job, StageResult, Work, run_map

STAGE = "score"


@dataclass(frozen=True)
class FamilySpec:
    """A scorer of the recipe with its name, identity and folder."""

    name: str
    kind: str
    scorer: Scorer
    identity8: str

    @property
    def folder(self) -> str:
        """Where its columns lie."""
        return f"scores/{self.name}/{self.identity8}"

    def path(self, shard: str) -> str:
        """Where its columns of one shard lie."""
        return f"{self.folder}/{shard}.parquet"


def families(job: Job) -> list[FamilySpec]:
    """The recipe's scorers.

    Raises:
        ConfigError: an unknown scorer or setting, or a missing extra.
    """
    found: list[FamilySpec] = []
    for name, settings in job.recipe.scores.items():
        kind, scorer = build_scorer(name, settings)
        _check_extra(name, scorer)
        found.append(FamilySpec(name, kind, scorer, digest8(identity(scorer, kind, job.device))))
    return found


def _check_extra(name: str, scorer: Scorer) -> None:
    if missing := absent(EXTRAS.get(scorer.needs.extra, ())):
        told = ", ".join(missing)
        raise ConfigError(f"scores.{name} needs {told}, which is not installed: {remedy(missing)}")


def score(job: Job) -> StageResult:
    """Measure what is missing; columns that are there are not touched."""
    corpus = job.corpus()
    specs = families(job)
    for spec in specs:
        _describe(job, spec)
    shards = corpus.shards()
    there = {spec.name: measured_shards(job.store, spec) for spec in specs}
    missing = {shard: [name for name in there if shard not in there[name]] for shard in shards}
    todo = [shard for shard in shards if missing[shard]]
    wanted = {name for shard in todo for name in missing[shard]}  # a scorer with nothing to do loads no model
    task = ScoreTask(job.store, tuple(spec for spec in specs if spec.name in wanted), job.device, job.pace)
    return run_map(job, STAGE, task, Work(todo, len(shards) - len(todo), "images", "rows"), job.resources)


def measured_shards(store: Store, spec: FamilySpec) -> set[str]:
    """The shards that the family has columns of, by one listing: asking a far store for each would take hours."""
    return {name.removesuffix(".parquet") for name in store.names(spec.folder) if name.endswith(".parquet")}


def _describe(job: Job, spec: FamilySpec) -> None:
    path = f"{spec.folder}/scorer.json"
    if not job.store.exists(path):
        job.store.put_json(path, {"name": spec.name, **identity(spec.scorer, spec.kind, job.device)})


@dataclass(frozen=True)
class ScoreTask:
    """Measures one shard with every scorer that has not."""

    store: Store
    families: tuple[FamilySpec, ...]
    device: Device
    pace: Pace

    def setup(self) -> None:
        """Load the models."""
        for spec in self.families:
            spec.scorer.setup(self.device)

    def __call__(self, item: str) -> dict[str, Any]:
        """Measure one shard; how many rows, and how many of them each scorer could not."""
        meter = Meter()
        index = read_index(self.store, item)
        todo = [spec for spec in self.families if not self._done(spec, item, index.digest)]
        scorers = {spec.name: spec.scorer for spec in todo}
        with RangeReader(index.tar_url(self.store), AHEAD_BYTES) as reader:
            rows = index.table.to_pylist()
            meter.lap("read")
            measured = measure(rows, reader, scorers, self.device, self.pace, meter)
        failed: dict[str, int] = {}
        for spec in todo:
            family = measured[spec.name]
            for name, vectors in family.vectors.items():
                encoded = _npy(vectors)
                self.store.put_atomic(f"{spec.folder}/{item}.{name}.npy", encoded)
                meter.bytes_out += len(encoded)
            meta = {"index": index.digest, "family": spec.name, "identity": spec.identity8, "shard": item}
            meter.bytes_out += write_table(self.store, spec.path(item), family.table, meta)
            failed[spec.name] = family.table.num_rows - family.table[ERROR].null_count
        meter.lap("write")
        return {"rows": index.num_rows, "failed": failed, **meter.told()}

    def _done(self, spec: FamilySpec, shard: str, digest: str) -> bool:
        try:
            return read_meta(self.store, spec.path(shard)).get("index") == digest
        except FileNotFoundError:
            return False


def _npy(vectors: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()
