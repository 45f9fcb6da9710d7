"""Copies by equal values: the clusters are those of a plain grouping, whatever the order and the chunks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import FatalError
from tamis.filters.duplicates import CLUSTERS_SCHEMA, equal_values


def tables(uids: Sequence[str], values: Sequence[Any], on: str = "image_sha256", size: int = 2) -> list[pa.Table]:
    """The rows as shards of ``size``."""
    whole = pa.table({"uid": pa.array(uids, pa.string()), on: pa.array(values), "other": range(len(uids))})
    return [whole.slice(start, size) for start in range(0, len(uids), size)] or [whole]


def clusters(found: pa.Table) -> dict[str, str]:
    return dict(zip(found["uid"].to_pylist(), found["cluster"].to_pylist(), strict=True))


def test_rows_with_equal_values_are_one_cluster_named_by_its_smallest_uid() -> None:
    found = equal_values(iter(tables(["d", "a", "c", "b", "e"], ["x", "y", "x", "x", "z"])), "image_sha256")
    assert found.schema == CLUSTERS_SCHEMA
    assert found.to_pylist() == [{"uid": uid, "cluster": "b", "distance": 0.0} for uid in "bcd"]


def test_rows_without_a_value_are_copies_of_nothing() -> None:
    found = equal_values(iter(tables(["a", "b", "c"], [None, None, "x"])), "image_sha256")
    assert found.num_rows == 0
    assert found.schema == CLUSTERS_SCHEMA


def test_no_rows_and_no_shards_give_an_empty_table() -> None:
    for given_tables in ([], tables([], pa.array([], pa.string()))):
        assert equal_values(iter(given_tables), "image_sha256").equals(CLUSTERS_SCHEMA.empty_table())


@pytest.mark.parametrize("on", ["hashes.pixels_sha256", 'source.a "quoted" name', "source.select", "order"])
def test_any_column_name_is_a_name_and_no_query(on: str) -> None:
    assert clusters(equal_values(iter(tables(["b", "a"], [1, 1], on)), on)) == {"a": "a", "b": "a"}


@pytest.mark.parametrize(
    "values", [[1, 1, 2], [0.5, 0.5, 1.0], [True, True, False], [b"x", b"x", b"y"], [["a"], ["a"], []]]
)
def test_any_type_of_value_is_compared(values: list[Any]) -> None:
    assert clusters(equal_values(iter(tables(["a", "b", "c"], values)), "image_sha256")) == {"a": "a", "b": "a"}


rows = st.lists(st.sampled_from("wxyz") | st.none(), max_size=30).flatmap(
    lambda values: st.tuples(st.permutations([f"{n:02x}" for n in range(len(values))]), st.just(values))
)


@settings(max_examples=30, deadline=None)
@given(rows, st.integers(1, 31))
def test_clusters_are_those_of_a_plain_grouping(given_rows: tuple[list[str], list[str | None]], size: int) -> None:
    uids, values = given_rows
    groups: dict[str, list[str]] = defaultdict(list)
    for uid, value in zip(uids, values, strict=True):
        if value is not None:
            groups[value].append(uid)
    expected = sorted((min(g), uid) for g in groups.values() if len(g) > 1 for uid in g)
    columns = pa.array(values, pa.string()).to_pylist()
    found = equal_values(iter(tables(uids, pa.array(columns, pa.string()), size=size)), "image_sha256")
    assert list(zip(found["cluster"].to_pylist(), found["uid"].to_pylist(), strict=True)) == expected


def test_the_table_is_the_same_for_the_same_rows_in_another_order() -> None:
    uids = [f"{n:032x}" for n in range(3000)]
    values = [f"{n % 700}" for n in range(3000)]
    one = equal_values(iter(tables(uids, values, size=100)), "image_sha256")
    other = equal_values(iter(tables(uids[::-1], values[::-1], size=999)), "image_sha256")
    assert one.equals(other)
    assert one.num_rows == 3000


def test_what_reading_the_rows_raises_comes_out_as_it_was() -> None:
    def broken() -> Iterator[pa.Table]:
        yield tables(["a"], ["x"])[0]
        raise FatalError("made for another index")

    with pytest.raises(FatalError, match=r"^made for another index$"):
        equal_values(broken(), "image_sha256")
