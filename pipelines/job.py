"""A job: a recipe, the store of its corpus, the engine that runs it, and who watches.

Every stage maps a task over the shards that are not done, through ``run_map``: the one place that shows progress, writes
the log, adds up the account, and gathers what could not be done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..corpora.corpus import Corpus, create, open_corpus
from ..corpora.engine import Engine, Json, Outcome, Resources, Task
from ..corpora.errors import TamisError
from ..corpora.lock import Lock
from ..corpora.store import Store
from ..filters.measuring import Pace
from ..filters.scorer import Device
from .accounting import Tally
from .logs import Entry, Log
from .recipe import Recipe


class Watch(Protocol):
    """Who is shown how far a stage is."""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """A stage starts: ``done`` of ``total`` items were done before."""

    def advance(self, items: int, units: int, failures: int) -> None:
        """Items ended, with the units (images, rows) in them."""

    def hear(self, entry: Entry) -> None:
        """An item ended, as the log tells it; that it advances the stage is told by ``advance``."""

    def end(self) -> None:
        """The stage is over."""


@dataclass(frozen=True)
class Job:
    """What a stage needs to do its work."""

    recipe: Recipe
    store: Store
    engine: Engine
    watch: Watch
    lock: Lock | None = None
    """What keeps other runs away, where there is one."""

    def check_lock(self) -> None:
        """Go on only if this run still has the corpus to itself.

        Raises:
            FatalError: another run took it over.
        """
        if self.lock:
            self.lock.check()

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
    """How a stage ended: items done now, items that were done before, those that could not be done, and the account."""

    stage: str
    done: int = 0
    before: int = 0
    poison: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    values: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    tally: Tally = field(default_factory=Tally, repr=False)
    unit: str = ""
    of: str = ""

    def told(self) -> dict[str, Json]:
        """The stage as ``--json`` has it (docs/architecture.md, 8)."""
        return {
            "stage": self.stage,
            "of": self.of,
            "done": self.done,
            "before": self.before,
            "failed": self.tally.failed,
            "poison": [list(one) for one in self.poison],
            "seconds": round(self.seconds, 3),
            "unit": self.unit,
            **self.tally.told(self.seconds),
        }


def _one(item: str) -> int:
    return 1


@dataclass(frozen=True)
class Work:
    """The items of a stage that are still to do, how many were done before, and what they are counted in."""

    items: Sequence[str]
    before: int
    unit: str
    weight: str
    """The field of a task's value that counts units."""
    size: Callable[[str], int] = _one
    """How much of the total an item is, when it is a run of what is counted."""
    of: str = ""
    """What tells this pass from others of its stage."""
    keep: bool = False
    """Whether the stage reads the values of its tasks at the end; of a million shards they would fill the memory."""


def run_map(job: Job, stage: str, task: Task, work: Work, resources: Resources | None = None) -> StageResult:
    """Map ``task`` over the work that is left, watched and logged."""
    job.store.sweep()
    with watched(job, stage, work) as running:
        for outcome in job.engine.map(task, work.items, resources or Resources()) if work.items else ():
            running.take(outcome)
            job.check_lock()
    return running.result()


def nothing_left(job: Job, stage: str, before: int, unit: str, of: str = "") -> StageResult:
    """What a stage is that was done before: shown and logged as any other."""
    with watched(job, stage, Work((), before, unit, "", of=of)) as running:
        return running.result()


@contextmanager
def watched(job: Job, stage: str, work: Work) -> Iterator[Pass]:
    """A pass over work; its beginning and its end, also by an error, are shown and logged.

    Raises:
        FatalError: another run took the corpus over.
    """
    job.check_lock()
    log = Log(job.store, stage, work.of)
    running = Pass(job.watch, log, work)
    total = work.before + sum(map(work.size, work.items))
    job.watch.begin(stage, total, work.before, work.unit)
    log.begin(total, work.before, work.unit, job.engine.name)
    try:
        yield running
    except (TamisError, KeyboardInterrupt) as error:
        with suppress(OSError, TamisError):  # a full disk, or a store out of reach, is what may have stopped it
            log.end(str(error) or "interrupted")
        raise
    else:
        log.end()
    finally:
        job.watch.end()


class Pass:
    """A stage under way: every outcome is logged, added up and shown."""

    def __init__(self, watch: Watch, log: Log, work: Work) -> None:
        """Start now."""
        self._watch, self._log, self._work = watch, log, work
        self._started = time.perf_counter()
        self._values: list[Mapping[str, Any]] = []
        self._poison: list[tuple[str, str]] = []
        self._tally = Tally()

    def take(self, outcome: Outcome) -> None:
        """An item ended."""
        size = self._work.size(outcome.item)
        units = int((outcome.value or {}).get(self._work.weight, 0))
        entry = self._log.item(outcome, size, units)
        self._tally.add(entry)
        if outcome.value is None:
            self._poison.append((outcome.item, outcome.error or ""))
        elif self._work.keep:
            self._values.append(outcome.value)
        self._watch.hear(entry)
        self._watch.advance(size, units, 0 if outcome.ok else size)

    def result(self) -> StageResult:
        """How it went so far."""
        return StageResult(
            self._log.stage,
            self._tally.done,
            self._work.before,
            tuple(sorted(self._poison)),
            time.perf_counter() - self._started,
            tuple(self._values),
            self._tally,
            self._work.unit,
            self._log.of,
        )
