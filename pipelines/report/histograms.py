"""Histograms of measured columns over a whole corpus, in two passes and the memory of one shard.

The first pass finds each column's range and a thin, even sample of its values; the second counts. Long tails are the rule
on the web (one panorama, one 40 MB file), so a chart spans what most of the sample spans and its end bins hold the rest;
positive values over more than two decades are binned by their logarithm, small whole numbers one a bin. The second pass
splits each bin by a criterion's verdict, so what a threshold drops is counted and not inferred from its text.

Price: two reads of the columns; a sort of ``SAMPLED`` values a column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .contents import Histogram, Threshold
from .rows import Rows

BINS = 48
SAMPLED_A_SHARD = 64
"""Values of a shard that the first pass keeps; a thousand shards give a sample whose 0.5 % is known to a tenth of itself."""

LEAST_SAMPLE = 4_096
"""A small corpus keeps up to so many values a shard: its first shard may be its only one."""

_TAIL = 0.005
_TAIL_MATTERS = 3.0
_LOGARITHMIC_FROM = 2.0
"""Decades."""

_FARTHEST = 1e150
"""Beyond it differences overflow; a column of such numbers is nobody's score, but it may stand in a foreign table."""

_LEAST_STEP = 8
"""Of a bin, in units of the last place: edges must differ."""

Scale = Literal["linear", "logarithmic", "whole", "truth"]


def is_drawable(data_type: pa.DataType) -> bool:
    """Whether a column of this type has a histogram: numbers and truth values."""
    return bool(pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_boolean(data_type))


@dataclass
class Ranges:
    """The first pass: what lies between which values."""

    columns: Sequence[str]
    shards: int
    least: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    whole: dict[str, Scale] = field(default_factory=dict)
    sampled: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        """Take in one shard."""
        share = max(SAMPLED_A_SHARD, LEAST_SAMPLE // max(1, self.shards))
        for name in set(self.columns) & set(rows.table.column_names):
            column = rows.table[name]
            values = numbers(column)
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            self.whole[name] = _kind(column.type)
            self.least[name] = min(self.least.get(name, math.inf), float(values.min()))
            self.most[name] = max(self.most.get(name, -math.inf), float(values.max()))
            self.sampled.setdefault(name, []).append(values[:: -(-len(values) // share)])

    def bins(self, name: str, lines: Sequence[Threshold] = ()) -> tuple[Scale, NDArray[np.float64]]:
        """The scale and the edges of a column's chart; it shows all ``lines``, and cuts a bin at the first."""
        low, high, kind = self.least[name], self.most[name], self.whole[name]
        if kind == "truth":
            return "truth", np.array([-0.5, 0.5, 1.5])
        low, high = _without_tails(low, high, np.concatenate(self.sampled[name]))
        shown = [min(max(value, -_FARTHEST), _FARTHEST) for value in (low, high, *(line.value for line in lines))]
        low, high, cut = min(shown), max(shown), shown[2] if lines else min(shown)
        if kind == "whole" and high - low < BINS:
            return "whole", _edges(low, high, 1.0, math.floor(low) - 0.5)
        if low > 1 / _FARTHEST and math.log10(high) - math.log10(low) >= _LOGARITHMIC_FROM:
            return "logarithmic", _powers(low, high, cut)
        if kind == "whole":  # bins of as many whole numbers each, or the chart would be a comb
            below = lines and lines[0].relation in {"<=", ">"}
            cut = math.floor(cut) + 0.5 if below else math.ceil(cut) - 0.5
            return "linear", _edges(low, high, float(math.ceil((high - low + 1) / BINS)), cut)
        return "linear", _edges(low, high, (high - low) / BINS or 1.0, cut)


@dataclass
class Tally:
    """The second pass for one chart: a column, and the criterion whose verdict splits it (none: all have passed)."""

    column: str
    meaning: str
    unit: str
    scale: Scale
    edges: NDArray[np.float64]
    span: tuple[float, float]
    criterion: str = ""
    definition: str = ""
    thresholds: tuple[Threshold, ...] = ()
    _counts: NDArray[np.int64] = field(init=False)
    _null: int = 0
    _unmeasured: int = 0

    def __post_init__(self) -> None:
        self._counts = np.zeros((2, len(self.edges) - 1), np.int64)

    def add(self, rows: Rows) -> None:
        """Count one shard."""
        if self.column not in rows.table.column_names:
            self._unmeasured += rows.table.num_rows
            return
        values = numbers(rows.table[self.column])
        passed = passes(rows, self.criterion)
        present = ~np.isnan(values)
        self._null += int(len(values) - present.sum())
        inside = np.clip(values, self.edges[0], self.edges[-1])
        for side, chosen in enumerate((present & passed, present & ~passed)):
            self._counts[side] += np.histogram(inside[chosen], self.edges)[0]

    def histogram(self) -> Histogram:
        """What was counted."""
        passed, dropped = (tuple(int(count) for count in side) for side in self._counts)
        return Histogram(
            self.column,
            self.meaning,
            self.unit,
            tuple(float(edge) for edge in self.edges),
            passed,
            dropped,
            *self.span,
            null=self._null,
            unmeasured=self._unmeasured,
            scale=self.scale,
            criterion=self.criterion,
            definition=self.definition,
            thresholds=self.thresholds,
        )


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column as floats, null as NaN; whole numbers beyond 2^53 lose their last digits."""
    return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), math.nan).to_numpy())


def passes(rows: Rows, criterion: str) -> NDArray[np.bool_]:
    """Where a criterion is true; everywhere when there is none."""
    if rows.verdicts is None or not criterion:
        return np.ones(rows.table.num_rows, np.bool_)
    return np.asarray(pc.fill_null(rows.verdicts[criterion], False).to_numpy(zero_copy_only=False))


def _kind(data_type: pa.DataType) -> Scale:
    if pa.types.is_boolean(data_type):
        return "truth"
    return "whole" if pa.types.is_integer(data_type) else "linear"


def _edges(low: float, high: float, step: float, cut: float) -> NDArray[np.float64]:
    """Edges ``step`` apart that reach from ``low`` to ``high``, ``cut`` among them."""
    step = max(step, _LEAST_STEP * float(np.spacing(max(abs(low), abs(high), abs(cut)))))
    first = min(
        math.floor((low - cut) / step + 1e-9), -1 if low < cut else 0
    )  # rounding must not add a bin, or join two
    last = max(math.ceil((high - cut) / step - 1e-9), 1)
    return np.asarray(cut + step * np.arange(first, last + 1), np.float64)


def _powers(low: float, high: float, cut: float) -> NDArray[np.float64]:
    """Edges evenly spaced in their logarithm, ``cut`` among them."""
    ends = math.log10(low), math.log10(high)
    edges = np.power(10.0, _edges(*ends, (ends[1] - ends[0]) / BINS, math.log10(cut)))
    edges[np.abs(edges - cut).argmin()] = cut  # exactly, for what equals the threshold is on one side of it
    return edges


def _without_tails(low: float, high: float, sample: NDArray[np.float64]) -> tuple[float, float]:
    """The range that most of the sample spans, when the whole range is much wider than that."""
    inner_low, inner_high = (float(edge) for edge in np.quantile(sample, [_TAIL, 1 - _TAIL]))
    if high - low <= _TAIL_MATTERS * (inner_high - inner_low) or inner_low == inner_high:
        return low, high
    return inner_low, inner_high
