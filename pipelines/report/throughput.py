"""How fast the stages went and what went wrong, from the log line that every task leaves.

A corpus is often made in several runs with days between them, so a stage's speed is taken over the time in which at least
one of its tasks was running (the union of their intervals), not from first to last.

Price: a pass over the logs, a line a shard and stage; one number pair a line is kept.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...corpora.store import Store
from ..job import StageResult
from .contents import Fault, Pace, SlowTask, Throughput
from .hostile import plain

UNITS: Mapping[str, tuple[str, str]] = {
    "fetch": ("requests", "asked"),
    "score": ("images", "rows"),
    "decide": ("rows", "rows"),
    "export": ("samples", "samples"),
}
"""Stage with a log: what it counts, and the field of a task's value that has the count."""

ORDER = ("fetch", "score", "dedup", "decide", "export")

SLOWEST_SHOWN = 6
FAULTS_SHOWN = 10


def throughput(store: Store, results: Iterable[StageResult]) -> Throughput:
    """What the logs say; ``results`` are the stages of the run that just ended, if any."""
    ran: dict[str, float] = {}
    for result in results:
        ran[result.stage] = ran.get(result.stage, 0.0) + result.seconds
    logs = {stage: _Log(stage) for stage in UNITS}
    for stage, log in logs.items():
        for line in log_lines(store, stage):
            log.add(line)
    paces = [log.pace(ran.pop(stage, None)) for stage, log in logs.items() if log.tasks or stage in ran]
    paces += [Pace(stage, "", 0, 0, 0, 0.0, 0.0, seconds, 0, 0, 0, "") for stage, seconds in ran.items()]
    paces.sort(key=lambda pace: ORDER.index(pace.stage))
    slowest = heapq.nlargest(SLOWEST_SHOWN, (one for log in logs.values() for one in log.slowest), key=_slowness)
    faults = [fault for log in logs.values() for fault in log.faults.values()]
    return Throughput(tuple(paces), tuple(slowest), tuple(faults[:FAULTS_SHOWN]))


def log_lines(store: Store, stage: str) -> Iterator[dict[str, Any]]:
    """The lines of a stage's log, wherever the store keeps them; a line that a kill cut short is left out."""
    folder = f"logs/{stage}.jsonl.d"
    paths = [f"logs/{stage}.jsonl"] if store.exists(f"logs/{stage}.jsonl") else []
    for path in [*paths, *(f"{folder}/{name}" for name in store.names(folder))]:
        with store.open(path) as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


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
    """The lines of one stage, added up."""

    stage: str
    tasks: int = 0
    units: int = 0
    bytes: int = 0
    busy: float = 0.0
    retries: int = 0
    intervals: list[tuple[float, float]] = field(default_factory=list)
    workers: set[tuple[str, int]] = field(default_factory=set)
    engines: set[str] = field(default_factory=set)
    slowest: list[SlowTask] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)

    def add(self, line: Mapping[str, Any]) -> None:
        end, seconds = datetime.fromisoformat(line["time"]).timestamp(), float(line["seconds"])
        self.tasks += 1
        value = line["value"] or {}
        if (
            self.stage != "fetch" or "fetched" in value
        ):  # adopting reads a tar twice, and its first line counts nothing new
            self.units += int(value.get(UNITS[self.stage][1], 0))
        self.bytes += int(value.get("bytes", 0))
        self.busy += seconds
        self.retries += line["attempts"] - 1
        self.intervals.append((end - seconds, end))
        worker = line["worker"]
        if worker:
            self.workers.add((str(worker.get("node")), int(worker.get("process", 0))))
            self.engines.add(str(worker.get("engine")))
        self.slowest.append(SlowTask(self.stage, plain(line["item"]), seconds, line["attempts"]))
        self.slowest = heapq.nlargest(SLOWEST_SHOWN, self.slowest, key=_slowness)
        if line["ok"]:
            self.faults.pop(line["item"], None)  # a later run mended it
        else:
            self.faults[line["item"]] = Fault(self.stage, plain(line["item"]), plain(line["error"]))

    def pace(self, run_seconds: float | None) -> Pace:
        """The sums."""
        nodes, engines = {node for node, _ in self.workers}, sorted(self.engines)
        engine = engines[0] if len(engines) == 1 else f"mixed ({', '.join(engines)})" if engines else ""
        where = f"{engine}, {len(nodes)} machines" if len(nodes) > 1 else engine
        return Pace(
            self.stage,
            UNITS[self.stage][0],
            self.tasks,
            self.units,
            self.bytes,
            active_seconds(self.intervals),
            self.busy,
            run_seconds,
            self.retries,
            len(self.faults),
            len(self.workers),
            where,
        )


def _slowness(task: SlowTask) -> tuple[float, str, str]:
    return task.seconds, task.stage, task.item
