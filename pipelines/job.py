"""A job: a recipe, the store of its corpus, the engine that runs it, and who watches.

Every stage maps a task over the shards that are not done, through ``run_map``: the one place that shows progress, writes
the log line a task, and gathers what could not be done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ..corpora.corpus import Corpus, create, open_corpus
from ..corpora.engine import Engine, Outcome, Resources, Task
from ..corpora.store import Store
from ..filters.measuring import Pace
from ..filters.scorer import Device
from .recipe import Recipe


class Watch(Protocol):
    """Who is shown how far a stage is."""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """A stage starts: ``done`` of ``total`` items were done before."""

    def advance(self, items: int, units: int, failures: int) -> None:
        """Items ended, with the units (images, rows) in them."""

    def end(self) -> None:
        """The stage is over."""


@dataclass(frozen=True)
class Job:
    """What a stage needs to do its work."""

    recipe: Recipe
    store: Store
    engine: Engine
    watch: Watch

    def corpus(self) -> Corpus:
        """The corpus, which must be there."""
        return open_corpus(self.store)

    def create_corpus(self, source_schema: Any) -> Corpus:
        """The corpus, made when it is not there."""
        return create(self.store, self.recipe.name, source_schema)

    @property
    def pace(self) -> Pace:
        """Batch size and threads."""
        return Pace(self.recipe.engine.batch_size, self.recipe.engine.threads)

    @property
    def device(self) -> Device:
        """Where models run."""
        name = "cuda" if self.recipe.engine.gpus_per_worker else "cpu"
        return Device(name, self.recipe.engine.precision)

    @property
    def resources(self) -> Resources:
        """What a worker of this job needs."""
        block = self.recipe.engine
        return Resources(block.threads, block.gpus_per_worker, block.resources)


@dataclass(frozen=True)
class StageResult:
    """How a stage ended: items done now, items that were done before, and those that could not be done."""

    stage: str
    done: int = 0
    before: int = 0
    poison: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    values: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Work:
    """The items of a stage that are still to do, how many were done before, and what they are counted in."""

    items: Sequence[str]
    before: int
    unit: str
    weight: str
    """The field of a task's value that counts units."""


def run_map(job: Job, stage: str, task: Task, work: Work, resources: Resources | None = None) -> StageResult:
    """Map ``task`` over the work that is left, watched and logged."""
    started = time.perf_counter()
    job.store.sweep()
    values: list[Mapping[str, Any]] = []
    poison: list[tuple[str, str]] = []
    job.watch.begin(stage, work.before + len(work.items), work.before, work.unit)
    try:
        outcomes = job.engine.map(task, work.items, resources or Resources()) if work.items else iter(())
        for outcome in outcomes:
            _log(job.store, stage, outcome)
            if outcome.value is None:
                poison.append((outcome.item, outcome.error or ""))
            else:
                values.append(outcome.value)
            units = int((outcome.value or {}).get(work.weight, 0))
            job.watch.advance(1, units, 0 if outcome.ok else 1)
    finally:
        job.watch.end()
    seconds = time.perf_counter() - started
    return StageResult(stage, len(values), work.before, tuple(sorted(poison)), seconds, tuple(values))


def _log(store: Store, stage: str, outcome: Outcome) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "stage": stage,
        "item": outcome.item,
        "ok": outcome.ok,
        "error": outcome.error,
        "attempts": outcome.attempts,
        "seconds": round(outcome.seconds, 4),
        "worker": dict(outcome.worker),
        "value": outcome.value,
    }
    store.append_line(f"logs/{stage}.jsonl", json.dumps(line, ensure_ascii=False))
