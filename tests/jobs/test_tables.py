"""What people read at the end of a stage."""

from __future__ import annotations

import doctest
import io
from dataclasses import replace

import pytest
from rich.console import Console

from tamis.jobs import tables
from tamis.jobs.tables import duration, print_stages, printable, size
from tamis.pipelines.accounting import Tally
from tamis.pipelines.job import StageResult
from tamis.pipelines.logs import Entry

ENTRY = Entry(
    0.0,
    "00000",
    units=500,
    seconds=4.0,
    engine="ray",
    node="gpu-1",
    process=1,
    spent={"decode": 1.0, "model": 2.9, "write": 0.01},
    bytes_in=30_000_000,
    bytes_out=2_000_000,
)


def shown(*results: StageResult) -> list[str]:
    told = io.StringIO()
    print_stages(Console(file=told, width=160, color_system=None), results)
    return told.getvalue().splitlines()


def result(*entries: Entry, stage: str = "score", of: str = "", before: int = 0) -> StageResult:
    tally = Tally()
    for entry in entries:
        tally.add(entry)
    return StageResult(stage, tally.done, before, seconds=10.0, tally=tally, unit="images", of=of)


def test_a_stage_is_told_in_a_line() -> None:
    other = replace(ENTRY, item="00001", node="gpu-2", attempts=3)
    lost = replace(ENTRY, item="00002", ok=False, units=0, bytes_in=0, bytes_out=0, spent={}, seconds=0.0)
    _, line = shown(result(ENTRY, other, lost))
    cells = [cell for cell in line.split("  ") if cell]
    assert [cell.strip() for cell in cells] == [
        "score",
        "2, 1 failed, 2 retried",
        "10 s",
        "100 images/s",
        "60 MB, 6 MB/s",
        "4 MB, 400 kB/s",
        "2 on 2 nodes",
        "model 72%, decode 25%",
    ]


def test_the_slowest_items_are_told_where_there_are_more() -> None:
    entries = [replace(ENTRY, item=f"{n:05d}", seconds=60.0 * n, node=f"gpu-{n % 2}") for n in range(4)]
    assert shown(result(*entries[:3]))[2:] == []
    assert shown(result(*entries, of="again"))[2:] == [
        "slowest of score again: 00003 3 min 00 s (gpu-1), 00002 2 min 00 s (gpu-0), 00001 1 min 00 s (gpu-1)"
    ]


@pytest.mark.parametrize(("before", "told"), [(0, "nothing to do"), (1200, "1,200 were")])
def test_a_stage_that_had_nothing_to_do_says_so(before: int, told: str) -> None:
    assert told in shown(result(before=before))[1]


def test_a_hostile_name_cannot_drive_the_terminal() -> None:
    entries = [replace(ENTRY, item=f"{n}\x1b]0;owned\x07", seconds=float(n)) for n in range(5)]
    told = "\n".join(shown(result(*entries, of="[red]\x1b[2J")))
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "[red]" in told, "markup is text"
    assert printable("a\x1bb\x9b\u202ec") == "a\ufffdb\ufffd\ufffdc"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 ms"),
        (0.9994, "999 ms"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_durations_round_without_a_gap(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(("count", "told"), [(999.4, "999 B"), (999.6, "1 kB"), (1e6, "1 MB"), (123_456_789, "123 MB")])
def test_sizes_round_without_a_gap(count: float, told: str) -> None:
    assert size(count) == told


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(tables) == (0, 2)
