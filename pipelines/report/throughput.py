"""How fast the stages went and what went wrong, from the logs.

A corpus is often made in several runs with days between them, so a stage's speed is taken over the time in which at least
one of its tasks was running (the union of their intervals), not from first to last.

Price: a pass over the logs, a line a shard and stage; one number pair a line is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...corpora.store import Store
from ..accounting import Tally
from ..job import StageResult
from ..logs import STAGES, Begun, Entry, Event, read_log
from .contents import Fault, Pace, SlowTask, Throughput
from .hostile import plain

SLOWEST_SHOWN = 6
FAULTS_SHOWN = 10


def throughput(store: Store, results: Iterable[StageResult]) -> Throughput:
    """What the logs say; ``results`` are the stages of the run that just ended, if any."""
    ran: dict[str, float] = {}
    for result in results:
        ran[result.stage] = ran.get(result.stage, 0.0) + result.seconds
    logs = {stage: _Log(stage) for stage in STAGES if stage != "draft"}  # what it reads, the fetch stage counts
    for stage, log in logs.items():
        for event in read_log(store, stage):
            log.add(event)
    paces = [log.pace(ran.get(stage)) for stage, log in logs.items() if log.tally.entries or stage in ran]
    slowest = heapq.nlargest(SLOWEST_SHOWN, (one for log in logs.values() for one in log.slowest()), key=_slowness)
    faults = [fault for log in logs.values() for fault in log.faults()]
    return Throughput(tuple(paces), tuple(slowest), tuple(faults[:FAULTS_SHOWN]))


def active_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals (begin, end).

    >>> active_seconds([(0, 2), (1, 3), (10, 11)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


@dataclass
class _Log:
    """The log of one stage, added up."""

    stage: str
    unit: str = ""
    tally: Tally = field(default_factory=lambda: Tally(slowest_kept=SLOWEST_SHOWN))
    intervals: list[tuple[float, float]] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, Begun):
            self.unit = event.unit
        elif isinstance(event, Entry):
            self.tally.add(event)
            self.intervals.append((event.time - event.seconds, event.time))

    def slowest(self) -> list[SlowTask]:
        """The tasks that took longest."""
        return [SlowTask(self.stage, plain(one.item), one.seconds, one.attempts) for one in self.tally.slowest]

    def faults(self) -> list[Fault]:
        """What could not be done, and no later run mended."""
        return [Fault(self.stage, plain(one.item), plain(one.error)) for one in self.tally.failing.values()]

    def pace(self, run_seconds: float | None) -> Pace:
        """The sums."""
        tally, engines = self.tally, self.tally.engines
        engine = engines[0] if len(engines) == 1 else f"mixed ({', '.join(engines)})" if engines else ""
        return Pace(
            self.stage,
            self.unit,
            tally.entries,
            tally.units,
            tally.bytes_in,
            active_seconds(self.intervals),
            tally.busy_seconds,
            run_seconds,
            tally.retries,
            len(tally.failing),
            len(tally.workers),
            f"{engine}, {len(tally.nodes)} machines" if len(tally.nodes) > 1 else engine,
        )


def _slowness(task: SlowTask) -> tuple[float, str, str]:
    return task.seconds, task.stage, task.item
