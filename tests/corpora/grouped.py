"""Groupings for tests: rows of every type, and a reducer that keeps what it was given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.corpora.grouping import Dataset, Grouping
from tamis.corpora.groups import group_starts


@dataclass(frozen=True)
class Given:
    """Reads items that are at hand: an item's tables by its number."""

    tables: Sequence[Sequence[pa.Table]]

    def __call__(self, item: str) -> Iterator[pa.Table]:
        return iter(self.tables[int(item)])


def dataset(*items: Sequence[pa.Table]) -> Dataset:
    return Dataset([str(number) for number in range(len(items))], Given(items))


@dataclass(frozen=True)
class Lists:
    """Reduces a group to its key and a list a column, in the order they came in."""

    key: str

    def __call__(self, table: pa.Table) -> pa.Table:
        starts = group_starts(table[self.key])
        offsets = pa.array(np.append(starts, table.num_rows), pa.int32())
        columns = {self.key: table[self.key].take(pa.array(starts))}
        for name in table.column_names:
            if name != self.key:
                columns[name] = pa.ListArray.from_arrays(offsets, table[name].combine_chunks())
        return pa.table(columns)


def in_lists(schema: pa.Schema, key: str, **more: Any) -> Grouping:
    """Rows grouped by ``key`` into lists."""
    others = [pa.field(column.name, pa.list_(column.type)) for column in schema if column.name != key]
    return Grouping(key, schema, pa.schema([schema.field(key), *others]), Lists(key), **more)


def sums(table: pa.Table) -> pa.Table:
    """An associative combine of ``key`` and ``count``: one row a key, with the sum."""
    starts = group_starts(table["key"])
    counts = np.add.reduceat(table["count"].to_numpy(), starts) if len(starts) else np.empty(0, np.int64)
    return pa.table({"key": table["key"].take(pa.array(starts)), "count": pa.array(counts, pa.int64())})


def cleaned(value: Any) -> Any:
    """A scalar as it is grouped and sorted by."""
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None
    return value


def sort_key(value: Any) -> tuple[bool, Any]:
    """Nulls first; text by its bytes."""
    return (value is not None, value.encode() if isinstance(value, str) else value)


def plainly_grouped(
    rows: Sequence[Mapping[str, Any]], key: str, order: Sequence[str]
) -> dict[Any, list[dict[str, Any]]]:
    """The groups of a plain program, keys in order; rows of a group by ``order``."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        clean = {name: cleaned(value) for name, value in row.items()}
        groups.setdefault(clean[key], []).append(clean)
    return {
        value: sorted(groups[value], key=lambda row: [sort_key(row[name]) for name in order])
        for value in sorted(groups, key=sort_key)
    }
