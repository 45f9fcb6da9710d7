"""What an engine groups: items that workers read, a key, a reducer of whole groups, and the parts that come of it.

A group is all rows with the same key. The hash of the key says in which *part* it lies, so a part is a function of the
data alone: `<folder>/00012.parquet` is the same bytes on every engine, however many workers made it. `parts.json`,
written last, says that all parts are there; parts of a run that was stopped are not made again.

Price: every row is read, moved and sorted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa

from .errors import ConfigError, FatalError
from .ranges import each
from .store import Store
from .tables import read_meta, scan_table

PART = "__part"
"""Beside the rows on their way: the number of the part they belong to."""

TIE = "__tie"
"""Beside the rows on their way: a hash that puts rows of equal key and order in one order everywhere."""

DONE = "parts.json"

Read: TypeAlias = Callable[[str], "Iterator[pa.Table]"]
"""Reads one item, in tables that fit in memory; picklable, and the same tables each time."""

Reducer: TypeAlias = "Callable[[pa.Table], pa.Table]"
"""A picklable function of a table of whole groups that treats each group alone, whatever others are in the table."""

_SCALARS = (pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary())


@dataclass(frozen=True)
class Dataset:
    """Rows by item: the names, and how a worker reads one."""

    items: Sequence[str]
    read: Read


@dataclass(frozen=True)
class Grouping:
    """What is grouped by what, and what becomes of a group.

    ``in_schema``: the columns that are read, cast to these types: bool, int32, int64, float32, float64, string, binary,
    and lists of these. In float columns NaN and infinity become null, and -0.0 becomes 0.0 (inside lists they stay).
    ``key`` and ``order`` name scalars among them; a null key is a key. ``reducer`` gets tables of whole groups, many at
    once, sorted by key, then ``order`` (ascending, nulls first, text by its UTF-8 bytes); rows that are equal in these
    stand in an order that is the same everywhere and means nothing. What it returns is cast to ``out_schema``.

    Groups of fewer than ``min_rows`` rows are dropped unseen. A group may have ``max_rows`` rows, and more where there
    is ``combine``: that gets rows of groups, whole or in part, sorted in the same way, and returns rows of
    ``in_schema`` with the same keys that stand for them. What it returned is combined again, and the reducer gets what
    came of the whole group last; so neither order nor number of applications may matter (sums of integers, minima,
    the k best).

    Raises:
        ConfigError: what is asked for cannot be.
    """

    key: str
    in_schema: pa.Schema
    out_schema: pa.Schema
    reducer: Reducer
    order: tuple[str, ...] = ()
    partitions: int = 1
    combine: Reducer | None = None
    min_rows: int = 1
    max_rows: int = 1_000_000

    def __post_init__(self) -> None:
        for name in (self.key, *self.order):
            if name not in self.in_schema.names or self.in_schema.field(name).type not in _SCALARS:
                raise ConfigError(f"group by {name!r}: no column of one value a row in {_shown(self.in_schema)}")
        sorted_by = [self.key, *self.order, PART, TIE]
        if len(set(sorted_by)) < len(sorted_by) or {PART, TIE} & set(self.in_schema.names):
            raise ConfigError(f"group by {sorted_by[:-2]}: name a column once, and none {PART} or {TIE}")
        for column in self.in_schema:
            inner = column.type.value_type if pa.types.is_list(column.type) else column.type
            if inner not in _SCALARS:
                types = ", ".join(map(str, _SCALARS))
                raise ConfigError(
                    f"group: column {column.name!r} is {column.type}; there may be {types}, lists of these"
                )
        if min(self.partitions, self.min_rows, self.max_rows) < 1:
            raise ConfigError("group: partitions, min_rows and max_rows begin at 1")
        if self.combine and self.min_rows > 1:
            raise ConfigError(
                "group: with combine a row stands for many; count them in a column instead of by min_rows"
            )

    @property
    def others(self) -> list[str]:
        """The columns that it does not sort by."""
        return [name for name in self.in_schema.names if name not in (self.key, *self.order)]

    @property
    def moved_schema(self) -> pa.Schema:
        """The rows on their way from reading to reducing."""
        fields = [*self.in_schema, pa.field(PART, pa.int32())]
        return pa.schema([*fields, pa.field(TIE, pa.int64())] if self.others else fields)

    @property
    def sorted_by(self) -> list[str]:
        """The columns that an engine sorts moved rows by, ascending, nulls first."""
        return [PART, self.key, *self.order, *([TIE] if self.others else [])]


@dataclass(frozen=True)
class Parts:
    """Where the parts of a grouping lie. ``meta`` (JSON-able) says what they are made of: with another they are made anew."""

    store: Store
    folder: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def path(self, number: int) -> str:
        """Where a part lies."""
        return f"{self.folder}/{part_name(number)}.parquet"

    def about(self, number: int, partitions: int) -> dict[str, Any]:
        """What the file of a part says of itself."""
        return {**self.meta, "part": number, "parts": partitions}

    def count(self) -> int | None:
        """How many parts there are, or None while they are not all there."""
        path = f"{self.folder}/{DONE}"
        told = self.store.read_json(path) if self.store.exists(path) else {}
        return told["parts"] if told == {**self.meta, "parts": told.get("parts")} else None

    def begin(self, partitions: int) -> list[int]:
        """The parts that are still to be made: not there, or made of something else."""
        if self.count() == partitions:
            return []
        self.store.remove(f"{self.folder}/{DONE}")  # it told of others
        names = set(self.store.names(self.folder))
        there = [number for number in range(partitions) if f"{part_name(number)}.parquet" in names]
        told = each(lambda number: read_meta(self.store, self.path(number)), there, self.store.requests_at_once)
        made = {number for number, meta in zip(there, told, strict=True) if meta == self.about(number, partitions)}
        return [number for number in range(partitions) if number not in made]

    def finish(self, partitions: int) -> None:
        """Say that all parts are there."""
        self.store.put_json(f"{self.folder}/{DONE}", {**self.meta, "parts": partitions})

    def dataset(self, columns: Sequence[str] | None = None) -> Dataset:
        """The parts as items of the next grouping.

        Raises:
            FatalError: they are not all there.
        """
        count = self.count()
        if count is None:
            raise FatalError(f"{self.store.root}/{self.folder} is not finished; run the stage that makes it again")
        return Dataset([part_name(number) for number in range(count)], partial(_read_part, self, columns))

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of all parts, in order.

        Raises:
            FatalError: they are not all there.
        """
        dataset = self.dataset(columns)
        return (table for name in dataset.items for table in dataset.read(name))


def finished_parts(store: Store, folder: str) -> Parts | None:
    """The parts in a folder, whatever they are made of; None when they are not all there."""
    path = f"{folder}/{DONE}"
    if not store.exists(path):
        return None
    return Parts(store, folder, {name: value for name, value in store.read_json(path).items() if name != "parts"})


def part_name(number: int) -> str:
    """The name of a part."""
    return f"{number:05d}"


def _read_part(parts: Parts, columns: Sequence[str] | None, name: str) -> Iterator[pa.Table]:
    return scan_table(parts.store, parts.path(int(name)), columns)


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)
