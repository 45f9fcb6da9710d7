"""Progress: the same counts as a bar, and as lines where there is no terminal; nothing in it knows an engine."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from tamis.jobs.progress import NEWS_SECONDS, ProgressBars


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(file=shown, force_terminal=terminal, width=120, color_system=None), shown


def test_a_bar_shows_items_rate_and_failures() -> None:
    terminal, shown = console(terminal=True)
    bars = ProgressBars(terminal)
    bars.begin("score", 40, 10, "images")
    bars.advance(1, 1234, 0)
    bars.advance(1, 0, 1)
    bars.end()
    last = shown.getvalue().replace("\r", "\n").split("\n")
    line = next(text for text in reversed(last) if "score" in text)
    for word in ("12/40", "1,234 images", "/s", "1 failed"):
        assert word in line


def test_the_rate_is_of_this_run(clock: Clock) -> None:
    plain, shown = console(terminal=False)
    bars = ProgressBars(plain)
    bars.begin("score", 100, 90, "images")
    clock.now += 4
    bars.advance(1, 2000, 0)
    bars.end()
    assert shown.getvalue() == "score    2,000 images, 500/s\n"


def test_without_a_terminal_a_line_comes_now_and_then(clock: Clock) -> None:
    plain, shown = console(terminal=False)
    bars = ProgressBars(plain)
    bars.begin("score", 1000, 100, "images")
    for _ in range(9):
        clock.now += NEWS_SECONDS / 3
        bars.advance(2, 50, 1)
    assert shown.getvalue().splitlines() == [
        "score    106 of 1,000: 150 images, 5/s, 3 failed",
        "score    112 of 1,000: 300 images, 5/s, 6 failed",
        "score    118 of 1,000: 450 images, 5/s, 9 failed",
    ]


def test_a_stage_that_did_nothing_leaves_no_line(clock: Clock) -> None:
    plain, shown = console(terminal=False)
    bars = ProgressBars(plain)
    bars.begin("score", 3, 3, "images")
    bars.end()
    assert shown.getvalue() == ""


def test_each_stage_counts_from_nothing(clock: Clock) -> None:
    plain, shown = console(terminal=False)
    bars = ProgressBars(plain)
    for stage, units in (("fetch", 10), ("score", 20)):
        bars.begin(stage, 1, 0, "URLs")
        clock.now += 1
        bars.advance(1, units, 0)
        bars.end()
    assert shown.getvalue().splitlines() == ["fetch    10 URLs, 10/s", "score    20 URLs, 20/s"]


def test_bars_know_no_engine(root: Path) -> None:
    assert "engine" not in (root / "jobs" / "progress.py").read_text(encoding="utf-8")
