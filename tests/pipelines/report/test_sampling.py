from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.report.contents import Outcome, Threshold
from tamis.pipelines.report.rows import Place, Rows
from tamis.pipelines.report.sampling import OUTCOMES, Picker, Quota, distances, hashes, shares

LINE = Threshold("x", ">=", 0.5)


def corpus(values: Sequence[float | None], shard_rows: int, shuffled: bool = False) -> list[Rows]:
    """The values as rows of shards; the verdict is whether the value is at least 0.5."""
    shards = []
    for start in range(0, len(values), shard_rows):
        mine = values[start : start + shard_rows]
        uids = [hashlib.sha256(str(start + n).encode()).hexdigest()[:32] for n in range(len(mine))]
        table = pa.table({"uid": uids, "x": pa.array(mine, pa.float64())})
        verdicts = pa.table({"fine": pa.array([None if v is None else v >= 0.5 for v in mine], pa.bool_())})
        shards.append(Rows(f"{start // shard_rows:05d}", np.arange(len(mine)), table, verdicts))
    return shards[::-1] if shuffled else shards


def pick(shards: Sequence[Rows], near: int, random: int) -> Picker:
    picker = Picker("fine", [LINE], dict.fromkeys(OUTCOMES, Quota(near, random)))
    for rows in shards:
        picker.add(rows)
    return picker


VALUES = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.49, 0.5, 0.75, 1.0]), max_size=40)


@given(VALUES, st.integers(1, 7), st.integers(0, 5), st.integers(0, 5))
def test_no_sample_is_shown_twice_and_none_is_left_out_while_there_is_room(
    values: list[float | None], shard_rows: int, near: int, random: int
) -> None:
    picker = pick(corpus(values, shard_rows), near, random)
    sizes: dict[Outcome, int] = {"passed": sum(v is not None and v >= 0.5 for v in values)}
    sizes["dropped"] = len(values) - sizes["passed"]
    assert picker.counts == sizes
    for outcome, size in sizes.items():
        picked = picker.picked(outcome)
        places = [*picked["near"], *picked["random"]]
        assert len(set(places)) == len(places) == min(size, near + random)
        assert all((_value(values, shard_rows, place) or 0.0) >= 0.5 for place in places) or outcome == "dropped"


@given(VALUES, st.integers(1, 7), st.integers(1, 5))
def test_those_near_are_the_nearest(values: list[float | None], shard_rows: int, near: int) -> None:
    picker = pick(corpus(values, shard_rows), near, 0)
    for outcome in OUTCOMES:
        side = [v for v in values if v is not None and (v >= 0.5) == (outcome == "passed")]
        shown = [_value(values, shard_rows, place) for place in picker.picked(outcome)["near"]]
        assert [abs(v - 0.5) for v in shown if v is not None] == sorted(abs(v - 0.5) for v in side)[:near]


def test_the_nearest_comes_first_though_many_tie_behind_it() -> None:
    values = [0.75] * 60
    for place in (7, 21, 50):
        nearest = [*values[:place], 0.5, *values[place:]]
        picked = pick(corpus(nearest, 100), 3, 0).picked("passed")["near"]
        assert (len(picked), picked[0].row) == (3, place)


def test_the_choice_does_not_depend_on_the_order_of_shards() -> None:
    values = [n / 97 % 1 for n in range(500)]
    forth, back = (pick(corpus(values, 60, shuffled), 5, 5) for shuffled in (False, True))
    assert [forth.picked(outcome) for outcome in OUTCOMES] == [back.picked(outcome) for outcome in OUTCOMES]


def test_the_draw_is_even() -> None:
    picker = pick(corpus([1.0] * 4000, 500), 0, 800)
    drawn = picker.picked("passed")["random"]
    by_shard = np.bincount([int(place.shard) for place in drawn], minlength=8)
    by_half = np.bincount([place.row // 250 for place in drawn], minlength=2)
    assert by_shard.min() > 70  # 100 each, of a deviation of 9
    assert by_half.min() > 350


def test_without_a_measured_value_there_is_only_the_draw() -> None:
    picker = pick(corpus([None] * 6, 3), 2, 2)
    assert {way: len(places) for way, places in picker.picked("dropped").items()} == {"near": 0, "random": 4}


def test_distance_counts_in_units_of_the_threshold_and_takes_the_nearest() -> None:
    rows = Rows("00000", np.arange(3), pa.table({"x": [0.25, None, 0.75], "px": [100, 90, 500]}), None)
    found = distances(rows, [LINE, Threshold("px", ">=", 100.0), Threshold("missing", ">", 1.0)])
    assert found.tolist() == [0.0, 0.1, 0.5]


def test_hashes_differ_and_do_not_depend_on_slicing() -> None:
    uids = pa.chunked_array([[f"{n:032x}" for n in range(1000)]])
    whole = hashes(uids)
    assert len(set(whole.tolist())) == 1000
    assert (hashes(uids.slice(400, 50)) == whole[400:450]).all()
    assert hashes(pa.chunked_array([], pa.string())).tolist() == []


def test_each_criterion_draws_samples_of_its_own() -> None:
    uids = pa.chunked_array([[f"{n:032x}" for n in range(1000)]])
    firsts = [set(np.argsort(hashes(uids, name))[:100].tolist()) for name in ("big", "quiet")]
    assert len(firsts[0] & firsts[1]) < 30


@given(st.integers(0, 300), st.integers(1, 7), st.booleans())
def test_shares_spend_the_budget_evenly(total: int, criteria: int, drawn: bool) -> None:
    found = shares(total, {f"c{n}": [LINE] if drawn else [] for n in range(criteria)})
    quotas = [quota for sides in found.values() for quota in sides.values()]
    sizes = [quota.near + quota.random for quota in quotas]
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
    assert drawn or all(quota.near == 0 for quota in quotas)


def _value(values: Sequence[float | None], shard_rows: int, place: Place) -> float | None:
    return values[int(place.shard) * shard_rows + place.row]


@pytest.mark.parametrize("quotas", [{}, {"passed": Quota(0, 3)}])
def test_a_side_without_a_quota_shows_nothing(quotas: dict[Outcome, Quota]) -> None:
    picker = Picker("", (), quotas)
    for rows in corpus([0.0, 1.0, 1.0], 3):
        picker.add(rows)
    assert len(picker.places()) == (3 if quotas else 0)
