"""DuckDB as a calculator: in memory, spilling to a temporary folder, never writing a committed file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from .errors import TamisError


@contextmanager
def calculator(memory_bytes: int | None = None, beside: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty connection whose sorts and groupings may be larger than memory.

    With ``memory_bytes`` it holds no more than that, on one thread, since each thread has buffers of its own. It spills to a
    folder of its own below ``beside``, or below the temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="tamis-spill-", dir=beside) as folder, duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [folder])
        if memory_bytes is not None:
            connection.execute(f"SET threads = 1; SET memory_limit = '{memory_bytes}B'")
        yield connection


@contextmanager
def streamed(
    connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> Iterator[None]:
    """Register ``batches`` as the table ``name``, to be read once.

    Raises:
        TamisError, OSError: what making the batches raised, as it was; DuckDB would keep its text alone.
    """
    failures: list[TamisError | OSError] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except (TamisError, OSError) as error:
            failures.append(error)
            raise

    connection.register(name, pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError):
        if failures:
            raise failures[0] from None
        raise
