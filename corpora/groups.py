"""The parts of a grouping that no engine changes: rows on their way, the walk over sorted rows, the writing of parts.

Reading: tables are gathered into pieces of bounded size, cast, rid of floats that are no numbers, combined if that is
asked for, and given their part and the hash that settles ties. An engine then moves every row to its part and sorts by
``Grouping.sorted_by``. Walking: a sorted stream is cut where the key changes into tables of whole groups of some
``TABLE_ROWS`` rows, whatever the batches it comes in, so memory holds two such tables and one group.

Price: of CPU, 20 million rows of two integers take 1 s to prepare, 4 s to sort and 0.2 s to walk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, groupby, islice
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .computing import calculator, streamed
from .engine import Json, Outcome, here
from .errors import FatalError, ShardError
from .grouping import PART, Dataset, Grouping, Parts, part_name
from .hashing import hashed, hashed_rows
from .metering import Meter
from .tables import chunked_table, finite, write_table

TABLE_ROWS = 1 << 16
"""About how many rows a reducer gets at once, unless one group has more."""

READ_ATTEMPTS = 3
_GIB = 1 << 30


def completed(
    grouping: Grouping, parts: Parts, make: Callable[[Sequence[int]], Iterator[Outcome]]
) -> Iterator[Outcome]:
    """Have the parts made that are not there, and say when all are; ``make`` may leave out those that no row falls into."""
    todo = parts.begin(grouping.partitions)
    empty = {part_name(number): number for number in todo}
    for outcome in make(todo) if todo else ():
        del empty[outcome.item]
        yield outcome
    for name, number in empty.items():
        yield Outcome(name, _write_empty(grouping, parts, number), worker=here("driver"))
    parts.finish(grouping.partitions)


def moved_rows(
    grouping: Grouping, dataset: Dataset, items: Iterable[str], wanted: Sequence[int], limit: int
) -> Iterator[pa.Table]:
    """The rows of some items that belong to the ``wanted`` parts, as ``moved_schema``, in pieces of about ``limit`` bytes."""
    some = np.isin(np.arange(grouping.partitions), wanted) if len(wanted) < grouping.partitions else None
    for piece in _pieces(grouping, chain.from_iterable(_steadily(dataset, item) for item in items), limit):
        moved = _tagged(grouping, piece)
        moved = _combined(grouping, moved) if grouping.combine else moved
        moved = moved if some is None else moved.filter(pa.array(some[moved[PART].to_numpy()]))
        if moved.num_rows:
            yield moved


@contextmanager
def sorted_rows(
    grouping: Grouping, rows: Iterator[pa.RecordBatch], memory_gib: float, folder: str | None = None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Moved rows in the order of ``grouping.sorted_by``; beyond half of the memory they are sorted in ``folder``."""
    names = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" ASC NULLS FIRST' for name in grouping.sorted_by)
    schema = grouping.moved_schema
    with calculator(int(memory_gib * _GIB / 2), folder) as connection, streamed(connection, "rows", schema, rows):
        yield connection.sql(f"SELECT * FROM rows ORDER BY {names}").to_arrow_reader(TABLE_ROWS)


def write_parts(
    grouping: Grouping, parts: Parts, rows: Iterator[pa.RecordBatch], worker: Mapping[str, Json]
) -> Iterator[Outcome]:
    """Reduce sorted rows and commit a part when its last row came; an outcome for each.

    Raises:
        FatalError: a group has too many rows.
    """
    by_part = chain.from_iterable(_by_part(table) for table in whole_groups(grouping, rows))
    started, meter = time.perf_counter(), Meter()
    for number, tables in groupby(by_part, key=itemgetter(0)):
        about = parts.about(number, grouping.partitions)
        with chunked_table(parts.store, parts.path(number), grouping.out_schema, about) as written:
            for _, table in tables:
                meter.lap("read")
                found = _reduced(grouping, table)
                meter.lap("judge")
                written.append(found)
                meter.lap("write")
        meter.lap("write")
        meter.bytes_out = written.bytes
        told = {"rows": written.rows, **meter.told()}
        yield Outcome(part_name(number), told, seconds=time.perf_counter() - started, worker=worker)
        started, meter = time.perf_counter(), Meter()


def whole_groups(grouping: Grouping, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Sorted rows in tables of whole groups; groups with fewer than ``min_rows`` rows are left out.

    Raises:
        FatalError: a group has more than ``max_rows`` rows, also when it is combined.
    """
    closed: list[pa.Table] = []
    open_group = _OpenGroup(grouping)
    for batch in rows:
        table = pa.Table.from_batches([batch])
        starts = group_starts(table[grouping.key])
        if not len(starts):
            continue
        if not open_group.goes_on(table):
            closed += open_group.close()
        elif len(starts) == 1:
            open_group.add(table)
            continue
        else:
            open_group.add(table.slice(0, starts[1]))
            closed += open_group.close()
            table, starts = table.slice(starts[1]), starts[1:] - starts[1]
        closed.append(table.slice(0, starts[-1]))
        open_group.add(table.slice(starts[-1]))
        if sum(one.num_rows for one in closed) >= TABLE_ROWS:
            yield from _finished(grouping, closed)
            closed = []
    yield from _finished(grouping, [*closed, *open_group.close()])


def group_starts(keys: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    """Where each group of a column of sorted keys begins."""
    values = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    if not len(values):
        return np.empty(0, np.int64)
    one, next_one = values.slice(0, len(values) - 1), values.slice(1)
    differs = pc.fill_null(pc.not_equal(one, next_one), False).to_numpy(zero_copy_only=False)
    if values.null_count:
        differs = differs | pc.xor(one.is_null(), next_one.is_null()).to_numpy(zero_copy_only=False)
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(differs) + 1])


class _OpenGroup:
    """The rows of the last group so far, which may go on in the next batch."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._counting = False

    def goes_on(self, table: pa.Table) -> bool:
        """Whether the first row of the table has its key."""
        return bool(self._tables) and _first_key(self._grouping, table) == _first_key(self._grouping, self._tables[0])

    def add(self, table: pa.Table) -> None:
        """Hold more of its rows; of a group that has too many, one row and the count."""
        self._rows += table.num_rows
        if not self._counting:
            self._tables.append(table)
            if self._rows > self._grouping.max_rows:
                self._shrink()

    def _shrink(self) -> None:
        if self._grouping.combine:
            combined = _combined(self._grouping, pa.concat_tables(self._tables))
            self._tables, self._rows = [combined], combined.num_rows
        self._counting = self._rows > self._grouping.max_rows
        if self._counting:
            self._tables = [self._tables[0].slice(0, 1)]

    def close(self) -> list[pa.Table]:
        """Its rows; there is no open group any more."""
        if self._counting:
            raise _too_many(self._grouping, _first_key(self._grouping, self._tables[0]), self._rows)
        tables, self._tables, self._rows = self._tables, [], 0
        return tables


def _finished(grouping: Grouping, tables: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """One table of whole groups: combined, none too large, without those that are too small."""
    if not tables:
        return
    table = pa.concat_tables(tables)
    if grouping.combine:
        table = _combined(grouping, table)
    starts = group_starts(table[grouping.key])
    sizes = np.diff(starts, append=table.num_rows)
    if len(sizes) and sizes.max() > grouping.max_rows:
        largest = int(sizes.argmax())
        raise _too_many(grouping, table[grouping.key][starts[largest]].as_py(), int(sizes[largest]))
    if grouping.min_rows > 1:
        table = table.filter(pa.array(np.repeat(sizes >= grouping.min_rows, sizes)))
    if table.num_rows:
        yield table


def _write_empty(grouping: Grouping, parts: Parts, number: int) -> dict[str, Json]:
    meter, about = Meter(), parts.about(number, grouping.partitions)
    meter.bytes_out = write_table(parts.store, parts.path(number), grouping.out_schema.empty_table(), about)
    meter.lap("write")
    return {"rows": 0, **meter.told()}


def _by_part(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    starts = group_starts(table[PART])
    for start, stop in zip(starts, [*starts[1:], table.num_rows], strict=True):
        yield table[PART][start].as_py(), table.slice(start, stop - start)


def _reduced(grouping: Grouping, table: pa.Table) -> pa.Table:
    found = grouping.reducer(table.select(grouping.in_schema.names).combine_chunks())
    return _cast(found, grouping.out_schema)


def _combined(grouping: Grouping, moved: pa.Table) -> pa.Table:
    assert grouping.combine is not None
    rows = _ordered(grouping, moved).select(grouping.in_schema.names).combine_chunks()
    return _ordered(grouping, _tagged(grouping, _cleaned(grouping.combine(rows), grouping.in_schema)))


def _ordered(grouping: Grouping, moved: pa.Table) -> pa.Table:
    by = [(name, "ascending") for name in grouping.sorted_by]
    return moved.take(pc.sort_indices(moved, sort_keys=by, null_placement="at_start"))


def _steadily(dataset: Dataset, item: str) -> Iterator[pa.Table]:
    """The tables of an item; a read that fails in a way that may mend is begun again, up to where it was broken off.

    Raises:
        OSError, ShardError: it failed ``READ_ATTEMPTS`` times.
    """
    given = 0
    for attempt in range(1, READ_ATTEMPTS + 1):
        try:
            for table in islice(dataset.read(item), given, None):
                yield table
                given += 1
            return
        except (OSError, ShardError):
            if attempt == READ_ATTEMPTS:
                raise


def _pieces(grouping: Grouping, tables: Iterable[pa.Table], limit: int) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        for start in range(0, table.num_rows, TABLE_ROWS):
            held.append(_cleaned(table.slice(start, TABLE_ROWS), grouping.in_schema))
            size += held[-1].nbytes
            if size >= limit:
                yield pa.concat_tables(held).combine_chunks()
                held, size = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _tagged(grouping: Grouping, table: pa.Table) -> pa.Table:
    part = (hashed(table[grouping.key]) % np.uint64(grouping.partitions)).astype(np.int32)
    columns = [*table.columns, pa.array(part)]
    if grouping.others:
        ties = hashed_rows([table[name] for name in grouping.others], table.num_rows)
        columns.append(pa.array(ties.view(np.int64)))
    return pa.Table.from_arrays(columns, schema=grouping.moved_schema)


def _cleaned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of the schema, with floats that sort and compare alike on every engine."""
    table = _cast(table, schema)
    for place, column in enumerate(schema):
        if pa.types.is_floating(column.type):
            numbers = pc.add(finite(table[column.name]), pa.scalar(0.0, column.type))  # -0.0 becomes 0.0
            table = table.set_column(place, column, numbers)
    return table


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    absent = [name for name in schema.names if name not in table.column_names]
    if absent:
        raise FatalError(f"group: no column {', '.join(absent)}; there are {', '.join(table.column_names)}")
    return table.select(schema.names).cast(schema)


def _first_key(grouping: Grouping, table: pa.Table) -> object:
    return table[grouping.key][0].as_py()


def _too_many(grouping: Grouping, key: object, count: int) -> FatalError:
    told = "combine leaves so many of it" if grouping.combine else "give the grouping a combine that shrinks it"
    return FatalError(
        f"group by {grouping.key}: the key {key!r} has {count:,} rows, more than max_rows ({grouping.max_rows:,}); {told}"
    )
