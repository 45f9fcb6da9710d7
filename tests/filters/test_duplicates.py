"""Copies by equal values: the clusters are those of a plain grouping, whatever the order, the tables and the parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.engine import Resources
from tamis.corpora.errors import FatalError
from tamis.corpora.grouping import Dataset, Parts
from tamis.corpora.store import Store
from tamis.filters.duplicates import CLUSTERS_SCHEMA, compared, equal_values

from ..corpora.grouped import Given
from ..pipelines.running import Inline


def found(uids: Sequence[str], values: Any, partitions: int = 1, size: int = 2) -> pa.Table:
    """The clusters of rows in items of ``size``."""
    column = values if isinstance(values, pa.Array) else pa.array(values)
    whole = compared(pa.chunked_array([pa.array(uids, pa.string())]), pa.chunked_array([column]))
    items = [[whole.slice(start, size)] for start in range(0, whole.num_rows, size)]
    with TemporaryDirectory() as folder:
        parts = Parts(Store(folder), "clusters")
        dataset = Dataset([str(number) for number in range(len(items))], Given(items))
        list(Inline().group(dataset, equal_values(column.type, partitions), parts, Resources()))
        return pa.concat_tables([CLUSTERS_SCHEMA.empty_table(), *parts.tables()])


def clusters(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["uid"].to_pylist(), table["cluster"].to_pylist(), strict=True))


def test_rows_with_equal_values_are_one_cluster_named_by_its_smallest_uid() -> None:
    table = found(["d", "a", "c", "b", "e"], ["x", "y", "x", "x", "z"])
    assert table.to_pylist() == [{"uid": uid, "cluster": "b", "distance": 0.0} for uid in "bcd"]


def test_rows_without_a_value_are_copies_of_nothing() -> None:
    assert found(["a", "b", "c"], [None, None, "x"]).num_rows == 0
    assert found(["a", "b"], pa.nulls(2)).num_rows == 0
    assert found(["a", "b", "c"], [float("nan"), float("nan"), 1.0]).num_rows == 0
    assert found([], pa.array([], pa.string())).num_rows == 0


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 1, 2]),
        pa.array([1, 1, 2], pa.uint8()),
        pa.array([2**64 - 1, 2**64 - 1, 2**64 - 2], pa.uint64()),
        pa.array([0.5, 0.5, 1.0], pa.float16()),
        pa.array([0.0, -0.0, 1.0]),
        pa.array([True, True, False]),
        pa.array(["x", "x", "y"], pa.large_string()),
        pa.array(["x", "x", "y"]).dictionary_encode(),
        pa.array([b"x", b"x", b"y"]),
        pa.array([b"xx", b"xx", b"yy"], pa.binary(2)),
        pa.array([1, 1, 2], pa.timestamp("s")),
        pa.array([["a"], ["a"], ["a", None]]),
        pa.array([["a, b"], ["a, b"], ["a", "b"]]),
    ],
    ids=lambda values: str(values.type),
)
def test_any_type_of_value_is_compared(values: pa.Array) -> None:
    assert clusters(found(["a", "b", "c"], values)) == {"a": "a", "b": "a"}


rows = st.lists(st.sampled_from("wxyz") | st.none(), max_size=30).flatmap(
    lambda values: st.tuples(st.permutations([f"{n:02x}" for n in range(len(values))]), st.just(values))
)


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(1, 31), st.integers(1, 3))
def test_clusters_are_those_of_a_plain_grouping(
    given_rows: tuple[list[str], list[str | None]], size: int, partitions: int
) -> None:
    uids, values = given_rows
    groups: dict[str, list[str]] = defaultdict(list)
    for uid, value in zip(uids, values, strict=True):
        if value is not None:
            groups[value].append(uid)
    expected = sorted((min(group), uid) for group in groups.values() if len(group) > 1 for uid in group)
    table = found(uids, pa.array(values, pa.string()), partitions, size)
    assert sorted(zip(table["cluster"].to_pylist(), table["uid"].to_pylist(), strict=True)) == expected


def test_the_table_is_the_same_for_the_same_rows_in_another_order() -> None:
    uids = [f"{n:032x}" for n in range(3000)]
    values = [f"{n % 700}" for n in range(3000)]
    one = found(uids, values, partitions=3, size=100)
    other = found(uids[::-1], values[::-1], partitions=3, size=999)
    assert one.equals(other)
    assert one.num_rows == 3000


def test_what_reading_the_rows_raises_comes_out_as_it_was(tmp_path: Path) -> None:
    def broken(item: str) -> Iterator[pa.Table]:
        raise FatalError("made for another index")

    groups = Inline().group(
        Dataset(["a"], broken), equal_values(pa.string(), 1), Parts(Store(str(tmp_path)), "c"), Resources()
    )
    with pytest.raises(FatalError, match=r"^made for another index$"):
        list(groups)
