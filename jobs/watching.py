"""Several watchers of a run as one: progress bars, metrics, and whoever else wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..pipelines.job import Watch
from ..pipelines.logs import Entry


@dataclass(frozen=True)
class Watchers:
    """Tells each of them everything, in order."""

    watchers: Sequence[Watch]

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """A stage starts."""
        for watcher in self.watchers:
            watcher.begin(stage, total, done, unit)

    def advance(self, items: int, units: int, failures: int) -> None:
        """Items ended, with the units in them."""
        for watcher in self.watchers:
            watcher.advance(items, units, failures)

    def hear(self, entry: Entry) -> None:
        """An item ended."""
        for watcher in self.watchers:
            watcher.hear(entry)

    def end(self) -> None:
        """The stage is over."""
        for watcher in self.watchers:
            watcher.end()
