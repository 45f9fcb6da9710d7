"""``group`` on Spark: executors read, Spark moves rows to the partition with their part's number and sorts it on disk.

Rows enter and leave the JVM as Arrow batches; the Python worker of a part sees them sorted, and holds two tables and one
group. Columns travel under numbers: Spark takes "A" and "a" for one name.

Price: two crossings between Python and the JVM, and Spark's sort.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, functions

from ...corpora.engine import Outcome, here
from ...corpora.errors import FatalError
from ...corpora.grouping import PART, Dataset, Grouping, Parts
from ...corpora.groups import TABLE_ROWS, moved_rows, write_parts
from .spark_worker import NAME, executor_id, quiet_at_the_end
from .telling import WorkerError, guarded, heard, outcome_of, told

_MAX_PARTITIONS = 8192
"""Items are read in at most so many tasks."""

_PIECES_IN_MEMORY = 16
_GIB = 1 << 30
_TYPES = {
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
}
_CAUSE = re.compile(r"[\w.]+(Error|Exception): ")
_TOLD = pa.schema({"told": pa.string(), "error": pa.string()})


def made_on_spark(
    session: SparkSession, dataset: Dataset, grouping: Grouping, parts: Parts, todo: Sequence[int], memory_gib: float
) -> Iterator[Outcome]:
    """Make parts on the cluster of a session; an outcome for each into which rows fall.

    Raises:
        FatalError, ConfigError: an item could not be read, or a part not made.
    """
    if not dataset.items:
        return
    try:
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # PySpark's, about pandas
            rows = _plan(session, _Read(grouping, dataset, todo, memory_gib), _Make(grouping, parts)).collect()
    except PySparkException as error:
        raise heard(str(error)) or FatalError(f"group: {_reason(error)}") from error
    for row in rows:
        if row["told"] is None:
            raise heard(row["error"]) or FatalError(row["error"])
        yield outcome_of(row["told"])


def _reason(error: PySparkException) -> str:
    """The line that says why, of a traceback in a stack trace."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if _CAUSE.match(line)), lines[0])


def _plan(session: SparkSession, read: _Read, make: _Make) -> DataFrame:
    grouping, items = read.grouping, read.dataset.items
    named = session.createDataFrame(list(enumerate(items)), "place int, item string")
    columns = {column.name: f"c{place}" for place, column in enumerate(grouping.moved_schema)}
    types = ", ".join(f"{columns[column.name]} {_type(column.type)}" for column in grouping.moved_schema)
    moved = named.repartitionById(min(_MAX_PARTITIONS, len(items)), "place").mapInArrow(read, types)
    order = [functions.asc_nulls_first(columns[name]) for name in grouping.sorted_by]
    parted = moved.repartitionById(grouping.partitions, columns[PART]).sortWithinPartitions(*order)
    return parted.mapInArrow(make, "told string, error string")


def _type(type_: pa.DataType) -> str:
    return f"array<{_TYPES[type_.value_type]}>" if pa.types.is_list(type_) else _TYPES[type_]


@dataclass(frozen=True)
class _Read:
    """Reads the items of a partition."""

    grouping: Grouping
    dataset: Dataset
    todo: Sequence[int]
    memory_gib: float

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = (item for batch in batches for item in batch["item"].to_pylist())
        limit = int(self.memory_gib * _GIB / _PIECES_IN_MEMORY)
        with quiet_at_the_end():
            for table in guarded(moved_rows(self.grouping, self.dataset, items, self.todo, limit)):
                numbered = table.rename_columns([f"c{place}" for place in range(table.num_columns)])
                yield from numbered.to_batches(max_chunksize=TABLE_ROWS)


@dataclass(frozen=True)
class _Make:
    """Makes the parts of a partition; what goes wrong is told as a row, since Spark would try three times more."""

    grouping: Grouping
    parts: Parts

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        schema = self.grouping.moved_schema
        rows = (batch.rename_columns(schema.names).cast(schema) for batch in batches)
        made = write_parts(self.grouping, self.parts, rows, here(NAME, executor=executor_id()))
        try:
            with quiet_at_the_end():
                for outcome in guarded(made):
                    yield pa.record_batch([[told(outcome)], [None]], schema=_TOLD)
        except WorkerError as error:
            yield pa.record_batch([[None], [str(error)]], schema=_TOLD)
