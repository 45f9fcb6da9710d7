"""Progress as people want it: a bar a stage with rate, time left and failures; on stderr, so that stdout stays clean.

Where stderr is no terminal, as in the log of a cluster job, a line now and then says the same.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..pipelines.logs import Entry

NEWS_SECONDS = 30.0
"""How often a line tells of a stage where there is no bar."""

ESTIMATE_SECONDS = 3600.0
"""Over how long the time left is estimated: an item may take many minutes."""


class ProgressBars:
    """A bar for each stage; plain lines where stderr is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._bar = TaskID(0)
        self._stage = self._unit = ""
        self._total = self._done = self._units = self._failures = 0
        self._started = self._told_at = 0.0

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """A stage starts: ``done`` of ``total`` items were done before."""
        self._stage, self._unit, self._units, self._failures = stage, unit, 0, 0
        self._total, self._done = total, done
        self._started = self._told_at = time.perf_counter()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]{task.description:<8}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=ESTIMATE_SECONDS,
            )
            self._progress.start()
            self._bar = self._progress.add_task(stage, total=total, completed=done, rate="")

    def advance(self, items: int, units: int, failures: int) -> None:
        """Items ended, with the units (images, rows) in them."""
        self._done += items
        self._units += units
        self._failures += failures
        if self._progress is not None:
            self._progress.update(self._bar, advance=items, rate=self._told())
        elif time.perf_counter() - self._told_at >= NEWS_SECONDS:
            self._told_at = time.perf_counter()
            self._console.print(f"{self._stage:<8} {self._done:,} of {self._total:,}: {self._told()}", highlight=False)

    def hear(self, entry: Entry) -> None:
        """Bars show counts alone."""

    def end(self) -> None:
        """The stage is over; its line stays."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        elif self._units or self._failures:
            self._console.print(f"{self._stage:<8} {self._told()}", highlight=False)

    def _told(self) -> str:
        seconds = max(time.perf_counter() - self._started, 1e-6)
        failures = f", {self._failures} failed" if self._failures else ""
        return f"{self._units:,} {self._unit}, {self._units / seconds:,.0f}/s{failures}"
