"""Where the marks of a histogram stand: plain geometry for an inline SVG, in the units of its view box.

A bar is the passed rows with the dropped ones on top of them; ticks are round numbers; threshold lines carry a label that
stays inside. Price: nothing to speak of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .contents import Histogram, Threshold

WIDTH, HEIGHT = 340, 156
LEFT, RIGHT, TOP, BOTTOM = 4, 4, 26, 22
_BASE = HEIGHT - BOTTOM
_MOST_TICKS = 6
_LABEL_ROW = 11


@dataclass(frozen=True)
class Bar:
    """One bin: its left edge and width, and for each outcome the top and the height of its part; ``told`` on hover."""

    x: float
    width: float
    passed: tuple[float, float]
    dropped: tuple[float, float]
    told: str


@dataclass(frozen=True)
class Mark:
    """A tick or a threshold line at ``x`` with its label."""

    x: float
    label: str
    anchor: str = "middle"
    y: float = 0.0


@dataclass(frozen=True)
class Plot:
    """A drawn histogram."""

    bars: tuple[Bar, ...]
    ticks: tuple[Mark, ...]
    lines: tuple[Mark, ...]
    tallest: int
    width: int = WIDTH
    height: int = HEIGHT
    top: int = TOP
    base: int = _BASE


def draw(histogram: Histogram) -> Plot:
    """Place a histogram's bars, ticks and threshold lines."""
    axis = _Axis(histogram)
    totals = [p + d for p, d in zip(histogram.passed, histogram.dropped, strict=True)]
    tallest = max(totals, default=0)
    return Plot(
        tuple(_bars(histogram, axis, max(tallest, 1))), tuple(_ticks(axis)), tuple(_lines(histogram, axis)), tallest
    )


def short(value: float) -> str:
    """A number as a chart says it: at most four digits, thousands as k, M, G.

    >>> [short(value) for value in (0.28, 1234.0, 25_000_000.0, 0.00001, -3.0)]
    ['0.28', '1.23k', '25M', '1e-05', '-3']
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


class _Axis:
    """From values to places."""

    def __init__(self, histogram: Histogram) -> None:
        self.scale = histogram.scale
        self.low, self.high = self.place(histogram.edges[0]), self.place(histogram.edges[-1])
        self.ends = histogram.edges[0], histogram.edges[-1]

    def place(self, value: float) -> float:
        return math.log10(value) if self.scale == "logarithmic" else value

    def x(self, value: float) -> float:
        if self.scale == "logarithmic" and value <= 0:
            return LEFT
        share = (self.place(value) - self.low) / (self.high - self.low)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 2)


def _bars(histogram: Histogram, axis: _Axis, tallest: int) -> Iterator[Bar]:
    room = _BASE - TOP
    for (low, high), passed, dropped in zip(
        pairwise(histogram.edges), histogram.passed, histogram.dropped, strict=True
    ):
        if passed + dropped == 0:
            continue
        left, right = axis.x(low), axis.x(high)
        gap = 1 if right - left > 3 else 0
        total = max(room * (passed + dropped) / tallest, 1.5)  # a single row among millions is still seen
        kept = total * passed / (passed + dropped)
        yield Bar(
            left,
            round(right - left - gap, 2),
            (round(_BASE - kept, 2), round(kept, 2)),
            (round(_BASE - total, 2), round(total - kept, 2)),
            _told(histogram, low, high, passed, dropped),
        )


def _told(histogram: Histogram, low: float, high: float, passed: int, dropped: int) -> str:
    if histogram.scale == "truth":
        where = "true" if low > 0 else "false"
    elif histogram.scale == "whole":
        where = f"{(low + high) / 2:,.0f}"
    else:
        where = f"{short(low)} to {short(high)}"
    if not histogram.criterion:
        return f"{where}: {passed:,}"
    return f"{where}: {passed:,} pass, {dropped:,} dropped"


def _ticks(axis: _Axis) -> Iterator[Mark]:
    if axis.scale == "truth":
        yield from (Mark(axis.x(0), "false"), Mark(axis.x(1), "true"))
        return
    low, high = axis.ends
    values = list(_decades(low, high)) if axis.scale == "logarithmic" else list(_round_numbers(low, high))
    for value in values:
        x = axis.x(value)
        anchor = "start" if x < LEFT + 12 else "end" if x > WIDTH - RIGHT - 12 else "middle"
        yield Mark(x, short(value), anchor)


def _round_numbers(low: float, high: float) -> Iterator[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most ``_MOST_TICKS``."""
    rough = (high - low) / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield float(f"{count * step:.12g}")


def _decades(low: float, high: float) -> Iterator[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    yield from (
        factor * 10.0**power
        for power in powers[:: -(-len(powers) // _MOST_TICKS)]
        for factor in factors
        if low <= factor * 10.0**power <= high
    )


def _lines(histogram: Histogram, axis: _Axis) -> Iterator[Mark]:
    for row, threshold in enumerate(sorted(histogram.thresholds, key=lambda one: one.value)):
        x = axis.x(threshold.value)
        yield Mark(x, wanted(threshold), "end" if x > WIDTH / 2 else "start", _LABEL_ROW + row % 2 * 10)


def wanted(threshold: Threshold) -> str:
    """A threshold in a few characters."""
    return f"{_SIGNS.get(threshold.relation, threshold.relation)} {short(threshold.value)}"


_SIGNS = {"<=": "≤", ">=": "≥", "<>": "≠"}
