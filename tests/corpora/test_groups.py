"""The walk over sorted rows: groups come whole, in order, in bounded tables, whatever the batches they came in."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora import groups
from tamis.corpora.engine import Outcome
from tamis.corpora.errors import FatalError, ShardError
from tamis.corpora.grouping import PART, Dataset, Grouping, Parts
from tamis.corpora.groups import completed, group_starts, moved_rows, sorted_rows, whole_groups, write_parts
from tamis.corpora.hashing import hashed
from tamis.corpora.store import Store
from tamis.corpora.tables import read_table

from .grouped import dataset, in_lists, plainly_grouped, sort_key, sums

SCHEMA = pa.schema({"key": pa.string(), "order": pa.float64(), "flag": pa.bool_(), "tags": pa.list_(pa.string())})
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from([None, "", "a", "a\0", "b", "ü", "\uffff", "\U0001f600"]),
            "order": st.sampled_from([None, float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.5, -2.0]),
            "flag": st.sampled_from([None, False, True]),
            "tags": st.sampled_from([None, [], ["x"], [None], ["x", "y"]]),
        }
    ),
    max_size=40,
)
COUNTS = pa.schema({"key": pa.int64(), "count": pa.int64()})


@pytest.fixture(params=[1 << 16, 3])
def table_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The rows of a table that a reducer gets."""
    monkeypatch.setattr(groups, "TABLE_ROWS", request.param)
    return int(request.param)


def cut(rows: Sequence[dict[str, Any]], size: int) -> list[pa.Table]:
    whole = pa.Table.from_pylist(list(rows), SCHEMA)
    return [whole.slice(start, size) for start in range(0, len(rows), size)]


def moved(grouping: Grouping, tables: Sequence[pa.Table], limit: int = 1 << 20) -> pa.Table:
    """All rows as an engine moves them."""
    rows = moved_rows(grouping, dataset(tables), ["0"], range(grouping.partitions), limit)
    return pa.concat_tables([grouping.moved_schema.empty_table(), *rows])


def written(grouping: Grouping, tables: Sequence[pa.Table], size: int = 7) -> dict[int, bytes]:
    """The files of the parts that come of some tables, as an engine of one worker writes them."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Store(folder), "grouped")
        rows = iter(moved(grouping, tables).to_batches(max_chunksize=size))
        with sorted_rows(grouping, rows, memory_gib=0.1) as ordered:
            outcomes = list(write_parts(grouping, parts, ordered, {"engine": "here"}))
        numbers = {int(outcome.item): outcome.value["rows"] for outcome in outcomes if outcome.value}
        assert {number: read_table(parts.store, parts.path(number))[0].num_rows for number in numbers} == numbers
        return {number: parts.store.read(parts.path(number)) for number in numbers}


def read(part: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.parquet.read_table(pa.BufferReader(part)).to_pylist()
    return rows


def walked(grouping: Grouping, keys: Sequence[Any], batch: int) -> list[list[Any]]:
    """The keys of each table that comes of sorted keys."""
    schema = grouping.moved_schema
    columns = {name: keys if name == grouping.key else [0] * len(keys) for name in schema.names}
    rows = pa.table(columns, schema).to_batches(max_chunksize=batch)
    return [table[grouping.key].to_pylist() for table in whole_groups(grouping, iter(rows))]


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 41), st.integers(1, 41), st.integers(1, 3))
def test_parts_hold_the_groups_of_a_plain_grouping(
    rows: list[dict[str, Any]], partitions: int, size: int, batch: int, min_rows: int
) -> None:
    grouping = in_lists(SCHEMA, "key", order=("order", "flag"), partitions=partitions, min_rows=min_rows)
    expected = plainly_grouped(rows, "key", ["order", "flag"])
    parts = written(grouping, cut(rows, size), batch)
    found = {number: read(part) for number, part in parts.items()}
    for number, groups_found in found.items():
        keys = [group["key"] for group in groups_found]
        assert keys == sorted(keys, key=sort_key)
        for group in groups_found:
            wanted = expected[group["key"]]
            assert group["order"] == [row["order"] for row in wanted]
            assert group["flag"] == [row["flag"] for row in wanted]
            assert Counter(map(str, zip(group["order"], group["flag"], group["tags"], strict=True))) == Counter(
                str((row["order"], row["flag"], row["tags"])) for row in wanted
            )
            assert int(hashed(pa.array([group["key"]], pa.string()))[0]) % partitions == number
    kept = {key for key, wanted in expected.items() if len(wanted) >= min_rows}
    assert Counter(group["key"] for part in found.values() for group in part) == Counter(kept)


@settings(max_examples=20, deadline=None)
@given(
    ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), st.integers(1, 41), st.integers(1, 41)
)
def test_rows_in_another_order_and_other_tables_give_the_same_bytes(
    given_rows: tuple[list[dict[str, Any]], list[dict[str, Any]]], size: int, batch: int
) -> None:
    rows, shuffled = given_rows
    grouping = in_lists(SCHEMA, "key", order=("order",), partitions=3)
    assert written(grouping, cut(rows, 41), 41) == written(grouping, cut(shuffled, size), batch)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6) | st.none(), max_size=40), st.integers(1, 41), st.integers(1, 12), st.integers(1, 4))
def test_tables_of_the_walk_hold_whole_groups_and_few_rows(
    keys: list[int | None], batch: int, wanted: int, min_rows: int
) -> None:
    keys.sort(key=sort_key)
    sizes = Counter(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "TABLE_ROWS", wanted)
        tables = walked(in_lists(COUNTS, "key", min_rows=min_rows), keys, batch)
    assert [key for table in tables for key in table] == [key for key in keys if sizes[key] >= min_rows]
    assert all(tables)
    whole = [set(table) for table in tables]
    assert sum(map(len, whole)) == len(set().union(*whole))
    assert all(len(table) <= wanted + batch + max(sizes.values()) for table in tables)


def test_a_table_of_the_walk_is_as_small_as_the_batches_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "TABLE_ROWS", 20)
    tables = walked(in_lists(COUNTS, "key"), list(range(1000)), batch=7)
    assert [key for table in tables for key in table] == list(range(1000))
    assert {len(table) for table in tables[:-1]} <= set(range(20, 28))


def test_rows_of_equal_key_and_order_are_ordered_by_everything_else() -> None:
    rows = [{"key": "a", "order": 1.0, "flag": flag, "tags": tags} for flag in (True, None) for tags in (["x"], [None])]
    found = {bytes(written(in_lists(SCHEMA, "key", order=("order",)), cut(one, 2))[0]) for one in (rows, rows[::-1])}
    assert len(found) == 1


def test_columns_are_cast_and_others_left_behind() -> None:
    grouping = in_lists(pa.schema({"key": pa.string(), "n": pa.int64()}), "key")
    given_table = pa.table(
        {"n": pa.array([1, 2], pa.int8()), "other": [0, 0], "key": pa.array(["a", "b"], pa.large_string())}
    )
    assert moved(grouping, [given_table]).schema.equals(grouping.moved_schema)
    assert read(written(grouping, [given_table])[0]) == [{"key": "a", "n": [1]}, {"key": "b", "n": [2]}]


def test_a_column_that_is_not_there_is_named() -> None:
    grouping = in_lists(SCHEMA, "key")
    with pytest.raises(FatalError, match=r"^group: no column flag, tags; there are key, order$"):
        moved(grouping, [pa.table({"key": ["a"], "order": [1.0]})])


def test_only_rows_of_the_wanted_parts_are_moved() -> None:
    grouping = in_lists(COUNTS, "key", partitions=4)
    table = pa.table({"key": range(100), "count": [0] * 100})
    parts = moved(grouping, [table])[PART].to_numpy()
    for wanted in ([2], [0, 3], []):
        [*found] = moved_rows(grouping, dataset([table]), ["0"], wanted, 1 << 20)
        assert [part for one in found for part in one[PART].to_pylist()] == [part for part in parts if part in wanted]


def test_pieces_are_of_the_size_that_was_asked_for(table_rows: int) -> None:
    grouping = in_lists(COUNTS, "key")
    tables = [pa.table({"key": range(10), "count": [0] * 10}) for _ in range(10)]
    pieces = list(moved_rows(grouping, dataset(tables), ["0"], [0], 32 * 16))
    assert {piece.num_rows for piece in pieces[:-1]} == {40 if table_rows > 10 else 33}
    assert sum(piece.num_rows for piece in pieces) == 100


def test_a_group_beyond_the_bound_is_named_with_its_count(table_rows: int) -> None:
    for batch in (1, 4, 100):
        grouping = in_lists(COUNTS, "key", max_rows=5)
        assert walked(grouping, [1] * 5 + [2] * 5, batch)
        for keys in ([1] * 3 + [7] * 23 + [8], [7] * 23, [1, *[7] * 23]):
            with pytest.raises(
                FatalError, match=r"^group by key: the key 7 has 23 rows, more than max_rows \(5\); give"
            ):
                walked(grouping, keys, batch)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3) | st.none(), max_size=60), st.integers(1, 61), st.integers(1, 61), st.integers(1, 5))
def test_combined_groups_are_reduced_as_if_they_had_come_at_once(
    keys: list[int | None], size: int, batch: int, max_rows: int
) -> None:
    grouping = in_lists(COUNTS, "key", partitions=2, combine=sums, max_rows=max_rows)
    whole = pa.table({"key": keys, "count": range(len(keys))}, COUNTS)
    tables = [whole.slice(start, size) for start in range(0, len(keys), size)]
    found = [row for part in written(grouping, tables, batch).values() for row in read(part)]
    expected: Counter[int | None] = Counter()
    for number, key in enumerate(keys):
        expected[key] += number
    assert {row["key"]: row["count"] for row in found} == {key: [expected[key]] for key in set(keys)}
    assert len(found) == len(set(keys))


def test_a_heavy_key_shrinks_before_it_is_moved_and_while_it_is_walked() -> None:
    grouping = in_lists(COUNTS, "key", combine=sums, max_rows=10)
    table = pa.table({"key": [1, 2] * 500, "count": [1] * 1000})
    assert moved(grouping, [table]).num_rows == 2
    assert moved(grouping, [table], limit=1).num_rows == 2
    assert moved(grouping, [table] * 3, limit=1).num_rows == 6
    largest = 0

    def watched(given_table: pa.Table) -> pa.Table:
        nonlocal largest
        largest = max(largest, given_table.num_rows)
        return sums(given_table)

    rows = moved(in_lists(COUNTS, "key"), [pa.table({"key": [1] * 1000, "count": [1] * 1000})])
    [found] = whole_groups(replace(grouping, combine=watched), iter(rows.to_batches(max_chunksize=4)))
    assert found.select(["key", "count"]).to_pylist() == [{"key": 1, "count": 1000}]
    assert largest <= 14


def test_a_combine_gets_rows_sorted_as_a_reducer_does() -> None:
    given_rows: list[dict[str, Any]] = []

    def first(table: pa.Table) -> pa.Table:
        given_rows[:] = table.to_pylist()
        return table.take(pa.array(group_starts(table["key"])))

    schema = pa.schema({"key": pa.string(), "order": pa.float64()})
    grouping = in_lists(schema, "key", order=("order",), combine=first)
    table = pa.table({"key": ["b", "b", None, "b", None], "order": [2.0, None, 1.0, -3.0, None]}, schema)
    assert moved(grouping, [table]).select(schema.names).to_pylist() == [
        {"key": None, "order": None},
        {"key": "b", "order": None},
    ]
    assert given_rows == [
        {"key": key, "order": order} for key, order in [(None, None), (None, 1), ("b", None), ("b", -3), ("b", 2)]
    ]


def test_a_combine_that_does_not_shrink_is_told_of() -> None:
    grouping = in_lists(COUNTS, "key", combine=lambda table: table, max_rows=5)
    with pytest.raises(FatalError, match=r"the key 0 has 9 rows, more than max_rows \(5\); combine leaves so many"):
        walked(grouping, [0] * 9, 2)


def test_group_starts_are_where_the_key_changes() -> None:
    assert group_starts(pa.chunked_array([[None, None], [1, 1], [2]], pa.int64())).tolist() == [0, 2, 4]
    assert group_starts(pa.array([None, "", "a", "a"])).tolist() == [0, 1, 2]
    assert group_starts(pa.array([False, True])).tolist() == [0, 1]
    assert group_starts(pa.array([], pa.string())).tolist() == []
    assert group_starts(pa.array([None, None], pa.binary())).tolist() == [0]


@pytest.mark.parametrize(
    "type_", [pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary()]
)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_type_is_a_key_an_order_and_a_list(type_: pa.DataType, data: st.DataObject) -> None:
    values = {
        pa.bool_(): st.booleans(),
        pa.int32(): st.integers(-(2**31), 2**31 - 1),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float32(): st.floats(width=32),
        pa.float64(): st.floats(),
        pa.string(): st.text(max_size=4),
        pa.binary(): st.binary(max_size=4),
    }[type_]
    schema = pa.schema({"key": type_, "order": type_, "list": pa.list_(type_)})
    few = data.draw(st.lists(values | st.none(), min_size=1, max_size=4))
    one = st.fixed_dictionaries(
        {"key": st.sampled_from(few), "order": values | st.none(), "list": st.lists(st.sampled_from(few), max_size=3)}
    )
    rows = pa.Table.from_pylist(data.draw(st.lists(one, max_size=12)), schema).to_pylist()
    grouping = in_lists(schema, "key", order=("order",))
    parts = written(grouping, [pa.Table.from_pylist(rows, schema)])
    found = {group["key"]: group["order"] for group in read(parts[0])} if parts else {}
    expected = plainly_grouped(rows, "key", ["order"])
    assert found == {key: [row["order"] for row in expected[key]] for key in expected}
    assert list(found) == list(expected)


def test_a_part_larger_than_memory_is_sorted_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    schema = pa.schema({"key": pa.int64(), "text": pa.string()})
    grouping = in_lists(schema, "key")

    def rows() -> Iterator[pa.RecordBatch]:
        for _ in range(12):
            keys = rng.integers(0, 1 << 40, 50_000)
            table = pa.table({"key": keys, "text": [f"{key:0100d}" for key in keys]}, schema)
            for one in moved_rows(grouping, dataset([table]), ["0"], [0], 1 << 20):
                yield from one.to_batches()

    spilled, last, count = 0, -1, 0
    with sorted_rows(grouping, rows(), memory_gib=0.06, folder=str(tmp_path)) as ordered:
        for batch in ordered:
            spilled = max(spilled, sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
            keys = batch["key"].to_numpy()
            assert last <= keys[0]
            assert bool(np.all(keys[:-1] <= keys[1:]))
            last, count = keys[-1], count + len(keys)
    assert count == 600_000
    assert spilled > 20_000_000
    assert list(tmp_path.iterdir()) == []


def test_what_reading_raises_comes_out_of_the_sort_as_it_was() -> None:
    grouping = in_lists(COUNTS, "key")

    def broken() -> Iterator[pa.RecordBatch]:
        yield from moved(grouping, [pa.table({"key": [1], "count": [1]})]).to_batches()
        raise FatalError("made for another index")

    with pytest.raises(FatalError, match=r"^made for another index$"), sorted_rows(grouping, broken(), 0.1) as rows:
        list(rows)


def test_a_reducer_must_give_the_columns_of_the_result(tmp_path: Path) -> None:
    grouping = replace(in_lists(COUNTS, "key"), reducer=lambda table: table.select(["key"]))
    rows = iter(moved(grouping, [pa.table({"key": [1], "count": [1]})]).to_batches())
    parts = Parts(Store(str(tmp_path)), "grouped")
    with pytest.raises(FatalError, match=r"no column count; there are key$"):
        list(write_parts(grouping, parts, rows, {}))
    assert parts.store.names("grouped") == []


def test_a_read_that_breaks_off_is_begun_again_where_it_was() -> None:
    breaks = [3, 3, 5]
    tried: list[str] = []

    def reading(item: str) -> Iterator[pa.Table]:
        breaks_at = breaks[len(tried)]
        tried.append(item)
        for number in range(breaks_at):
            yield pa.table({"key": [number], "count": [1]})
        if breaks_at < 5:
            raise ShardError("half a row group")

    grouping = in_lists(COUNTS, "key")
    [found] = moved_rows(grouping, Dataset(["a"], reading), ["a"], [0], 1 << 20)
    assert found["key"].to_pylist() == [0, 1, 2, 3, 4]
    assert tried == ["a"] * 3
    tried.clear()
    breaks[2] = 4
    with pytest.raises(ShardError, match="half a row group"):
        list(moved_rows(grouping, Dataset(["a"], reading), ["a"], [0], 1 << 20))


def test_a_part_tells_where_its_time_and_bytes_went(tmp_path: Path) -> None:
    grouping = in_lists(COUNTS, "key", partitions=2)
    parts = Parts(Store(str(tmp_path)), "grouped")
    rows = moved(grouping, [pa.table({"key": range(50), "count": [1] * 50})]).sort_by(PART).to_batches()
    for outcome in write_parts(grouping, parts, iter(rows), {"engine": "here"}):
        assert outcome.value is not None
        assert list(outcome.value["spent"]) == ["read", "judge", "write"]
        assert outcome.value["bytes"] == {"in": 0, "out": len(parts.store.read(parts.path(int(outcome.item))))}
        assert 0 < sum(outcome.value["spent"].values()) <= outcome.seconds + 0.001
        assert outcome.worker == {"engine": "here"}


def test_parts_without_rows_are_written_and_the_mark_comes_last(tmp_path: Path) -> None:
    grouping = in_lists(COUNTS, "key", partitions=3)
    parts = Parts(Store(str(tmp_path)), "grouped", {"of": "x"})
    seen: list[list[int]] = []

    def make(todo: Sequence[int]) -> Iterator[Outcome]:
        seen.append(list(todo))
        assert parts.count() is None
        yield Outcome("00001", {"rows": 2})

    outcomes = completed(grouping, parts, make)
    assert next(outcomes).item == "00001"
    assert parts.count() is None
    [first, last] = outcomes
    assert (first.item, last.item) == ("00000", "00002")
    assert first.value is not None
    assert (first.value["rows"], first.value["bytes"]["out"]) == (0, len(parts.store.read(parts.path(0))))
    assert parts.count() == 3
    assert read_table(parts.store, parts.path(2)) == (grouping.out_schema.empty_table(), parts.about(2, 3))
    assert list(completed(grouping, parts, make)) == []
    assert seen == [[0, 1, 2]]
