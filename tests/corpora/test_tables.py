"""One table, one file: the same rows give the same bytes, floats that are no numbers become null."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora import tables
from tamis.corpora.errors import ShardError
from tamis.corpora.store import Store
from tamis.corpora.tables import (
    ROW_GROUP_ROWS,
    chunked_table,
    count_rows,
    finite,
    growing_table,
    read_meta,
    read_table,
    scan_table,
    write_table,
)

TABLE = pa.table(
    {
        "uid": ["a" * 32, "b" * 32, "c" * 32],
        "caption": ["a cat", None, "图"],
        "captions": pa.array([["a cat", None], [], None], pa.list_(pa.string())),
        "source.size": pa.array([1, None, 3], pa.int32()),
        "clip.similarity": pa.array([0.5, None, -1.0], pa.float32()),
        "removed": [True, False, None],
    }
)


def wide(rows: int) -> pa.Table:
    """Enough data for several pages a column chunk."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 400, rows)
    return pa.table(
        {
            "uid": ["x" * int(length) for length in lengths],
            "caption": [f"{row} " * int(length // 8) for row, length in enumerate(lengths)],
            "captions": [[f"{row}" * 40] * (row % 3) for row in range(rows)],
            "value": rng.random(rows),
        }
    )


def written(store: Store, table: pa.Table) -> bytes:
    write_table(store, "t.parquet", table, {})
    return store.read("t.parquet")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_table_comes_back_with_its_metadata(store: Store) -> None:
    meta = {"digest": "图", "tar": {"size": 1 << 40}, "none": None}
    write_table(store, "t.parquet", TABLE, meta)
    assert read_table(store, "t.parquet") == (TABLE, meta)
    assert read_meta(store, "t.parquet") == meta
    assert count_rows(store, "t.parquet") == 3


def test_the_columns_asked_for_are_read_dots_and_all(store: Store) -> None:
    write_table(store, "t.parquet", TABLE, {})
    table, _ = read_table(store, "t.parquet", ["clip.similarity", "uid"])
    assert table.select(["uid", "clip.similarity"]) == TABLE.select(["uid", "clip.similarity"])
    assert table.num_columns == 2


def test_metadata_of_the_table_is_replaced_and_the_order_of_keys_is_not_seen(store: Store) -> None:
    write_table(store, "a.parquet", TABLE.replace_schema_metadata({"pandas": "{}"}), {"a": 1, "b": 2})
    write_table(store, "b.parquet", TABLE, {"b": 2, "a": 1})
    assert store.read("a.parquet") == store.read("b.parquet")


def test_chunks_do_not_change_the_bytes(store: Store) -> None:
    """Pages are cut where chunks are: tables from DuckDB come in other chunks on another machine."""
    table = wide(30_000)
    cut = pa.concat_tables([table.slice(start, 777) for start in range(0, table.num_rows, 777)])
    sliced = pa.concat_tables([table.slice(0, 5), table]).slice(5)
    assert written(store, table) == written(store, cut) == written(store, sliced)


@given(st.lists(st.integers(0, 300), max_size=6).map(sorted))
@settings(max_examples=20, deadline=None)
def test_any_chunks_give_the_same_bytes(cuts: list[int]) -> None:
    store, table = Store("memory://tables"), wide(300)
    ends = [*cuts, 300]
    parts = [table.slice(start, end - start) for start, end in zip([0, *cuts], ends, strict=True)]
    assert written(store, pa.concat_tables(parts)) == written(store, table)


def test_another_process_writes_the_same_bytes(store: Store, tmp_path: Path) -> None:
    program = (
        "import sys, pyarrow as pa\n"
        "from tamis.corpora.store import Store\n"
        "from tamis.corpora.tables import write_table\n"
        "t = pa.table({'uid': ['a', 'b'], 'v': [0.5, None], 'c': [['x'], None]})\n"
        "write_table(Store(sys.argv[1]), sys.argv[2], t, {'z': 1, 'a': [2]})\n"
    )
    for name in ("1.parquet", "2.parquet"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path), name], check=True)
    assert store.read("1.parquet") == store.read("2.parquet")


def test_large_tables_are_cut_into_row_groups(store: Store) -> None:
    rows = ROW_GROUP_ROWS + 1
    write_table(store, "t.parquet", pa.table({"n": np.arange(rows)}), {})
    groups = pq.ParquetFile(store.url("t.parquet")).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [ROW_GROUP_ROWS, 1]
    assert read_table(store, "t.parquet")[0]["n"].to_pylist() == list(range(rows))


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 9])
def test_a_table_that_grows_row_by_row_has_the_same_bytes(
    rows: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    table = wide(max(rows, 1)).slice(0, rows)
    with growing_table(store, "g.parquet", table.schema, {"a": 1}) as append:
        for row in table.to_pylist():
            append(row)
        assert not store.exists("g.parquet")
    write_table(store, "t.parquet", table, {"a": 1})
    assert store.read("g.parquet") == store.read("t.parquet")


def test_a_table_that_stopped_growing_is_not_there(store: Store) -> None:
    with pytest.raises(pa.ArrowInvalid), growing_table(store, "g.parquet", TABLE.schema, {}) as append:
        append({"source.size": "no number"})
    assert store.names("") == []


def test_an_empty_table_keeps_its_schema(store: Store) -> None:
    write_table(store, "t.parquet", TABLE.slice(0, 0), {"a": 1})
    table, meta = read_table(store, "t.parquet")
    assert (table.schema, table.num_rows, meta) == (TABLE.schema, 0, {"a": 1})


def test_any_parquet_reader_reads_ours(store: Store) -> None:
    write_table(store, "t.parquet", TABLE, {})
    assert pq.read_table(store.url("t.parquet")).replace_schema_metadata(None) == TABLE


@pytest.mark.parametrize("float_type", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floats_that_are_no_numbers_become_null(float_type: pa.DataType) -> None:
    values = pa.array([1.5, float("nan"), float("inf"), float("-inf"), None, -0.0], float_type)
    found = finite(values)
    assert found.type == float_type
    assert found.to_pylist() == [1.5, None, None, None, None, -0.0]
    assert finite(pa.chunked_array([values, values])).to_pylist() == found.to_pylist() * 2


def test_other_types_are_left_as_they_are() -> None:
    for column in (pa.array([1, None]), pa.array(["nan", None]), pa.array([[float("inf")]])):
        assert finite(column) is column


def damaged(data: bytes, how: str) -> bytes:
    start = len(data) // 3
    return {
        "empty": b"",
        "text": b"not parquet at all",
        "cut": data[: len(data) // 2],
        "footer": data[:-60] + bytes(52) + data[-8:],
        "page": data[:start] + bytes(200) + data[start + 200 :],
    }[how]


@pytest.mark.parametrize("how", ["empty", "text", "cut", "footer", "page"])
def test_a_damaged_table_is_an_error_of_the_shard_with_a_way_out(how: str, store: Store) -> None:
    store.put_atomic("x/t.parquet", damaged(written(store, wide(3000)), how))
    with pytest.raises(ShardError, match=r"x/t.parquet is not readable parquet .+; remove it to have it made again"):
        read_table(store, "x/t.parquet")
    if how != "page":
        for look in (read_meta, count_rows):
            with pytest.raises(ShardError, match="remove it"):
                look(store, "x/t.parquet")


def test_no_clock_and_no_path_is_in_the_bytes(store: Store) -> None:
    first = hashlib.sha256(written(store, wide(500))).digest()
    assert hashlib.sha256(written(Store("memory://elsewhere"), wide(500))).digest() == first


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP_ROWS, ROW_GROUP_ROWS + 1, 2 * ROW_GROUP_ROWS + 5])
def test_tables_of_any_length_make_the_file_of_the_whole(store: Store, rows: int) -> None:
    table = wide(1 + rows // 50).take(pa.array(np.arange(rows) % (1 + rows // 50)))
    expected = written(store, table)
    for size in (rows or 1, 999, ROW_GROUP_ROWS):
        with chunked_table(store, "c.parquet", table.schema, {}) as chunks:
            for start in range(0, rows, size):
                chunks.append(table.slice(start, size))
        assert store.read("c.parquet") == expected
        assert (chunks.rows, chunks.bytes) == (rows, len(expected))


def test_a_table_in_chunks_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(pa.ArrowInvalid), chunked_table(store, "c.parquet", TABLE.schema, {}) as chunks:
        chunks.append(TABLE.select(["uid"]))
    assert store.names("") == []


def test_a_table_is_scanned_a_row_group_at_a_time(store: Store) -> None:
    table = pa.table({"n": range(ROW_GROUP_ROWS + 1), "m": [0] * (ROW_GROUP_ROWS + 1)})
    write_table(store, "t.parquet", table, {"a": 1})
    groups = list(scan_table(store, "t.parquet", ["n"]))
    assert [group.num_rows for group in groups] == [ROW_GROUP_ROWS, 1]
    assert pa.concat_tables(groups) == table.select(["n"])
    assert [group.column_names for group in scan_table(store, "t.parquet")] == [["n", "m"]] * 2
    store.put_atomic("b.parquet", b"PAR1")
    with pytest.raises(ShardError, match=r"b\.parquet is not readable parquet"):
        list(scan_table(store, "b.parquet"))
