"""What is asked of a grouping, and the parts that come of it: made once, made anew when they are of something else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tamis.corpora.errors import ConfigError, FatalError
from tamis.corpora.grouping import DONE, PART, TIE, Grouping, Parts, finished_parts
from tamis.corpora.store import Store
from tamis.corpora.tables import ROW_GROUP_ROWS, write_table

from .grouped import in_lists, sums

SCHEMA = pa.schema({"key": pa.string(), "order": pa.int32(), "tags": pa.list_(pa.float32())})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key": "tags"}, r"^group by 'tags': no column of one value a row in key string, order int32, tags list"),
        ({"key": "none"}, "^group by 'none': no column of one value a row in"),
        ({"order": ("order", "tags")}, "^group by 'tags'"),
        ({"order": ("key",)}, "name a column once"),
        ({"order": ("order", "order")}, "name a column once"),
        ({"in_schema": pa.schema([*SCHEMA, pa.field(TIE, pa.int64())])}, f"none {PART} or {TIE}"),
        (
            {"in_schema": pa.schema([*SCHEMA, pa.field("t", pa.date32())])},
            "column 't' is date32.*; there may be bool, int32",
        ),
        (
            {"in_schema": pa.schema([*SCHEMA, pa.field("t", pa.list_(pa.list_(pa.int32())))])},
            "column 't' is list<.*list",
        ),
        ({"partitions": 0}, "begin at 1"),
        ({"min_rows": 0}, "begin at 1"),
        ({"max_rows": 0}, "begin at 1"),
        ({"combine": sums, "min_rows": 2}, "with combine a row stands for many"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(changes: Mapping[str, Any], told: str) -> None:
    grouping = in_lists(SCHEMA, "key", order=("order",))
    with pytest.raises(ConfigError, match=told):
        replace(grouping, **changes)


def test_rows_travel_with_their_part_and_what_settles_ties() -> None:
    grouping = in_lists(SCHEMA, "key", order=("order",))
    assert grouping.moved_schema.names == ["key", "order", "tags", PART, TIE]
    assert grouping.sorted_by == [PART, "key", "order", TIE]
    assert grouping.others == ["tags"]


def test_nothing_settles_ties_where_there_is_nothing_else() -> None:
    grouping = in_lists(pa.schema({"key": pa.string(), "n": pa.int64()}), "key", order=("n",))
    assert grouping.moved_schema.names == ["key", "n", PART]
    assert grouping.sorted_by == [PART, "key", "n"]


def make(parts: Parts, grouping: Grouping, *numbers: int) -> None:
    for number in numbers:
        table = pa.table({"key": [f"{number}"], "order": [[number]], "tags": [[None]]}, grouping.out_schema)
        write_table(parts.store, parts.path(number), table, parts.about(number, grouping.partitions))


@pytest.fixture
def grouping() -> Grouping:
    return in_lists(SCHEMA, "key", order=("order",), partitions=4)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(Store(str(tmp_path)), "some/folder", {"of": "a corpus"})


def test_parts_that_are_there_are_not_made_again(parts: Parts, grouping: Grouping) -> None:
    assert parts.begin(4) == [0, 1, 2, 3]
    make(parts, grouping, 1, 3)
    assert parts.begin(4) == [0, 2]
    make(parts, grouping, 0, 2)
    assert parts.begin(4) == []
    assert parts.count() is None
    parts.finish(4)
    assert parts.count() == 4
    assert parts.begin(4) == []


def test_parts_of_something_else_are_made_anew(parts: Parts, grouping: Grouping) -> None:
    make(parts, grouping, *range(4))
    parts.finish(4)
    others = replace(parts, meta={"of": "another corpus"})
    assert others.count() is None
    assert parts.begin(5) == [0, 1, 2, 3, 4]
    parts.finish(4)
    assert others.begin(4) == [0, 1, 2, 3]
    assert not parts.store.exists(f"some/folder/{DONE}")


def test_finished_parts_are_read_in_order_and_grouped_again(parts: Parts, grouping: Grouping) -> None:
    make(parts, grouping, *range(4))
    for reading in (parts.tables, parts.dataset):
        with pytest.raises(FatalError, match="some/folder is not finished; run the stage"):
            reading()
    parts.finish(4)
    assert [row["order"] for table in parts.tables() for row in table.to_pylist()] == [[0], [1], [2], [3]]
    dataset = copy.deepcopy(parts.dataset(["key"]))  # as it goes to workers
    assert dataset.items == ["00000", "00001", "00002", "00003"]
    assert [table.to_pydict() for table in dataset.read("00002")] == [{"key": ["2"]}]


def test_finished_parts_are_found_by_their_folder_alone(parts: Parts, grouping: Grouping) -> None:
    make(parts, grouping, *range(4))
    assert finished_parts(parts.store, parts.folder) is None
    parts.finish(4)
    found = finished_parts(parts.store, parts.folder)
    assert found is not None
    assert (found.folder, found.meta, found.count()) == ("some/folder", {"of": "a corpus"}, 4)


def test_a_part_is_read_a_row_group_at_a_time(parts: Parts) -> None:
    table = pa.table({"n": range(ROW_GROUP_ROWS + 3)})
    write_table(parts.store, parts.path(0), table, parts.about(0, 1))
    parts.finish(1)
    assert [one.num_rows for one in parts.tables()] == [ROW_GROUP_ROWS, 3]
