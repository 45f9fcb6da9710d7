"""The account of a stage: how fast it went, where its time and bytes went, what was tried again, what took longest.

It is a sum over the stage's log entries, taken while they come (a run tells it at each stage's end) or from the log (a
report, or somebody who looks on). Shares are of the time in which workers had an item: phases of threads that work side by
side may sum to more than 1, and the model's share is the share of time in which the device was asked for anything.

Price: a few additions an entry; memory for the workers, the failing items and ``SLOWEST_KEPT`` entries.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..corpora.engine import Json
from ..corpora.metering import PHASES
from .logs import Entry

SLOWEST_KEPT = 3

Worker = tuple[str, str, int]
"""Engine, node and process."""


@dataclass
class Tally:
    """Entries of one stage, added up; counts of items go by their size."""

    entries: int = 0
    done: int = 0
    units: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    retries: int = 0
    busy_seconds: float = 0.0
    spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    workers: set[Worker] = field(default_factory=set)
    failing: dict[tuple[str, str], Entry] = field(default_factory=dict)
    """The items whose last entry is a failure, by pass and name."""
    slowest: list[Entry] = field(default_factory=list)
    """The longest entries, the longest first."""
    slowest_kept: int = SLOWEST_KEPT

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        self.entries += 1
        self.units += entry.units
        self.bytes_in += entry.bytes_in
        self.bytes_out += entry.bytes_out
        self.retries += entry.attempts - 1
        self.busy_seconds += entry.seconds
        for phase, seconds in entry.spent.items():
            self.spent[phase] += seconds
        if entry.node or entry.process:
            self.workers.add((entry.engine, entry.node, entry.process))
        if entry.ok:
            self.done += entry.size
            self.failing.pop((entry.of, entry.item), None)  # a later attempt mended it
        else:
            self.failing[entry.of, entry.item] = entry
        self._keep_slowest([entry])

    def join(self, other: Tally) -> None:
        """Count the effort of another pass over the same items: all but the items done and the units in them."""
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.retries += other.retries
        self.busy_seconds += other.busy_seconds
        for phase, seconds in other.spent.items():
            self.spent[phase] += seconds
        self.workers |= other.workers
        self.failing |= other.failing
        self._keep_slowest(other.slowest)

    def _keep_slowest(self, more: Sequence[Entry]) -> None:
        self.slowest = heapq.nlargest(self.slowest_kept, [*self.slowest, *more], key=lambda one: one.seconds)

    @property
    def failed(self) -> int:
        """Items that could not be done."""
        return sum(entry.size for entry in self.failing.values())

    @property
    def nodes(self) -> list[str]:
        """The machines that worked, sorted."""
        return sorted({node for _, node, _ in self.workers})

    @property
    def engines(self) -> list[str]:
        """The engines that ran it, sorted."""
        return sorted({engine for engine, _, _ in self.workers})

    def shares(self) -> dict[str, float]:
        """Each phase's share of the time in which workers had an item."""
        if not self.busy_seconds:
            return {}
        return {phase: round(self.spent[phase] / self.busy_seconds, 4) for phase in PHASES if phase in self.spent}

    def told(self, seconds: float) -> dict[str, Json]:
        """The account of a stage that took ``seconds``, as JSON."""
        per_second = 1 / seconds if seconds > 0 else 0.0
        return {
            "units": self.units,
            "items_per_second": round(self.done * per_second, 4),
            "units_per_second": round(self.units * per_second, 2),
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
            "megabytes_per_second": {
                "in": round(self.bytes_in / 1e6 * per_second, 3),
                "out": round(self.bytes_out / 1e6 * per_second, 3),
            },
            "busy_seconds": round(self.busy_seconds, 3),
            "spent": {phase: round(self.spent[phase], 3) for phase in PHASES if phase in self.spent},
            "shares": self.shares(),
            "retries": self.retries,
            "engines": self.engines,
            "workers": len(self.workers),
            "nodes": self.nodes,
            "slowest": [
                {"item": one.item, "seconds": round(one.seconds, 3), "node": one.node, "attempts": one.attempts}
                for one in self.slowest
            ],
        }
