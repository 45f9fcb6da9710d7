from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.report.charts import WIDTH, draw
from tamis.pipelines.report.contents import Relation, Threshold
from tamis.pipelines.report.histograms import BINS, Ranges, Tally, is_drawable
from tamis.pipelines.report.rows import Rows

FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1)
WHOLES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 500)


def rows(values: Sequence[object], verdicts: Sequence[bool | None] | None = None, name: str = "x") -> Rows:
    judged = pa.table({"fine": pa.array(verdicts, pa.bool_())}) if verdicts is not None else None
    return Rows("00000", np.arange(len(values)), pa.table({name: pa.array(values)}), judged)


def counted(shards: Sequence[Rows], *lines: Threshold) -> Tally:
    ranges = Ranges(["x"], len(shards))
    for shard in shards:
        ranges.add(shard)
    scale, edges = ranges.bins("x", lines)
    tally = Tally("x", "", "", scale, edges, (ranges.least["x"], ranges.most["x"]), criterion="fine", thresholds=lines)
    for shard in shards:
        tally.add(shard)
    return tally


@given(st.lists(FLOATS, min_size=1) | st.lists(WHOLES, min_size=1), st.sampled_from([None, 0.25, -3.0, 1e6, 1e300]))
def test_every_value_is_counted_once_and_every_null_apart(values: list[float | None], line: float | None) -> None:
    present = [value for value in values if value is not None]
    if not present:
        return
    lines = [Threshold("x", ">=", line)] if line is not None else []
    found = counted([rows(values)], *lines).histogram()
    assert (found.measured, found.null) == (len(present), len(values) - len(present))
    assert (found.least, found.most) == (float(min(present)), float(max(present)))
    assert all(low < high for low, high in pairwise(found.edges))
    assert len(found.edges) == len(found.passed) + 1 <= BINS + 4
    assert all(0 <= bar.x <= bar.x + bar.width <= WIDTH for bar in draw(found).bars)


@given(st.lists(st.floats(-10, 10) | st.floats(1e-3, 1e3), min_size=2), st.floats(-8, 8) | st.floats(0.01, 50))
def test_a_threshold_cuts_between_bins(values: list[float], line: float) -> None:
    verdicts = [value >= line for value in values]
    found = counted([rows(values, verdicts)], Threshold("x", ">=", line)).histogram()
    assert sum(found.passed) == sum(verdicts)
    assert [1 for p, d in zip(found.passed, found.dropped, strict=True) if p and d] == []


@pytest.mark.parametrize(
    ("relation", "keeps", "passing"),
    [(">=", operator.ge, 15), (">", operator.gt, 14), ("<", operator.lt, 15), ("<=", operator.le, 16)],
)
def test_a_threshold_cuts_whole_numbers_on_its_own_side(
    relation: Relation, keeps: Callable[[int, int], bool], passing: int
) -> None:
    values = list(range(200, 230))
    shard = rows([*values, 1000], [*(keeps(value, 215) for value in values), None])
    found = counted([shard], Threshold("x", relation, 215.0)).histogram()
    assert sum(found.passed) == passing
    assert [1 for p, d in zip(found.passed, found.dropped, strict=True) if p and d] == []


def test_null_verdicts_do_not_pass() -> None:
    found = counted([rows([1.0, 2.0, 3.0], [True, None, False])]).histogram()
    assert (sum(found.passed), sum(found.dropped)) == (1, 2)


def test_shards_add_up_and_an_unmeasured_one_is_said() -> None:
    found = counted([rows([1.0, 2.0]), rows([7.0] * 3, name="other"), rows([None, 3.0])]).histogram()
    assert (found.measured, found.null, found.unmeasured) == (3, 1, 3)
    assert (found.least, found.most) == (1.0, 3.0)


def test_a_long_tail_is_counted_in_the_last_bin() -> None:
    values = [*np.linspace(0, 1, 5000), 1e6]
    found = counted([rows(values)]).histogram()
    assert found.edges[-1] < 1.1
    assert found.measured == 5001
    assert found.most == 1e6


def test_positive_values_over_decades_are_binned_by_logarithm() -> None:
    found = counted([rows([10.0 ** (n / 50) for n in range(300)])]).histogram()
    assert found.scale == "logarithmic"
    steps = np.diff(np.log10(found.edges))
    assert np.allclose(steps, steps[0])
    assert max(found.passed) <= 2 * min(found.passed)


def test_few_whole_numbers_have_a_bin_each() -> None:
    found = counted([rows([0, 1, 1, 4])]).histogram()
    assert found.scale == "whole"
    assert found.passed == (1, 2, 0, 0, 1)


def test_many_whole_numbers_share_bins_evenly() -> None:
    found = counted([rows(list(range(1000)))]).histogram()
    assert len(set(found.passed[:-1])) == 1
    assert all(edge % 1 == 0.5 for edge in found.edges)


def test_truth_values_have_two_bins() -> None:
    found = counted([rows([True, False, True, None])]).histogram()
    assert (found.scale, found.passed, found.null) == ("truth", (1, 2), 1)


def test_one_value_alone_has_a_chart() -> None:
    found = counted([rows([0.5, 0.5])]).histogram()
    assert found.measured == 2
    assert found.edges[0] <= 0.5 < found.edges[-1]


@pytest.mark.parametrize(
    ("data_type", "drawable"),
    [
        (pa.int32(), True),
        (pa.float32(), True),
        (pa.bool_(), True),
        (pa.string(), False),
        (pa.list_(pa.float32()), False),
    ],
)
def test_numbers_and_truth_values_are_drawable(data_type: pa.DataType, drawable: bool) -> None:
    assert is_drawable(data_type) == drawable


def test_a_column_that_is_null_everywhere_has_no_range() -> None:
    ranges = Ranges(["x"], 1)
    ranges.add(rows([None, None]))
    ranges.add(Rows("00001", np.arange(1), pa.table({"x": pa.array([math.nan])}), None))
    assert ranges.least == {}
