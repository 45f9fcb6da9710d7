from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.report.charts import HEIGHT, WIDTH, draw, short
from tamis.pipelines.report.contents import Histogram, Threshold


def histogram(passed: tuple[int, ...], dropped: tuple[int, ...], *lines: float, low: float = 0.0) -> Histogram:
    edges = tuple(low + n for n in range(len(passed) + 1))
    thresholds = tuple(Threshold("x", ">=", line) for line in lines)
    return Histogram("x", "", "", edges, passed, dropped, low, edges[-1], 0, criterion="c", thresholds=thresholds)


COUNTS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=60)


@given(COUNTS, st.floats(-1e6, 1e6), st.lists(st.floats(-2e6, 2e6), max_size=3))
def test_every_mark_stays_inside(counts: list[tuple[int, int]], low: float, lines: list[float]) -> None:
    passed, dropped = (tuple(pair[side] for pair in counts) for side in (0, 1))
    plot = draw(histogram(passed, dropped, *lines, low=low))
    assert len(plot.bars) == sum(1 for pair in counts if sum(pair))
    for bar in plot.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert plot.top - 0.1 <= bar.dropped[0] <= bar.passed[0] <= HEIGHT
        assert bar.dropped[0] + bar.dropped[1] == pytest.approx(bar.passed[0], abs=0.02)
        assert bar.passed[0] + bar.passed[1] == pytest.approx(plot.base, abs=0.02)
    assert all(0 <= mark.x <= WIDTH for mark in (*plot.ticks, *plot.lines))
    assert len(plot.lines) == len(lines)
    assert len(plot.ticks) <= 8


def test_heights_are_in_proportion_and_the_tallest_bar_fills_the_room() -> None:
    plot = draw(histogram((40, 10), (0, 10)))
    room = plot.base - plot.top
    assert [bar.passed[1] for bar in plot.bars] == [room, room / 4]
    assert [bar.dropped[1] for bar in plot.bars] == [0, room / 4]


def test_a_single_row_among_millions_is_seen() -> None:
    assert draw(histogram((10_000_000, 1), (0, 0))).bars[1].passed[1] >= 1


def test_bars_say_what_they_count() -> None:
    assert [bar.told for bar in draw(histogram((4, 1000), (2, 0))).bars] == [
        "0 to 1: 4 pass, 2 dropped",
        "1 to 2: 1,000 pass, 0 dropped",
    ]


def test_ticks_are_round_numbers() -> None:
    assert [tick.label for tick in draw(histogram((1,) * 23, (0,) * 23)).ticks] == ["0", "5", "10", "15", "20"]


def test_ticks_of_a_logarithmic_axis_are_powers_of_ten() -> None:
    drawn = Histogram("x", "", "", (1.0, 1e3, 1e6), (1, 1), (0, 0), 1.0, 1e6, 0, scale="logarithmic")
    ticks = draw(drawn).ticks
    assert [tick.label for tick in ticks] == ["1", "100", "10k", "1M"]
    gaps = {round(right.x - left.x) for left, right in pairwise(ticks)}
    assert len(gaps) == 1


def test_truth_values_are_named() -> None:
    drawn = Histogram("x", "", "", (-0.5, 0.5, 1.5), (3, 5), (0, 0), 0.0, 1.0, 0, scale="truth")
    assert [tick.label for tick in draw(drawn).ticks] == ["false", "true"]
    assert [bar.told for bar in draw(drawn).bars] == ["false: 3", "true: 5"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.28, "0.28"),
        (0.0, "0"),
        (999, "999"),
        (1234, "1.23k"),
        (25e6, "25M"),
        (3.1e9, "3.1G"),
        (-4500, "-4.5k"),
        (1e-5, "1e-05"),
    ],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert short(value) == said
