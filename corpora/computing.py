"""DuckDB as a calculator: in memory, spilling to a temporary folder, never writing a committed file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def calculator() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty connection whose sorts and groupings may be larger than memory."""
    with tempfile.TemporaryDirectory(prefix="tamis-spill-") as folder, duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [folder])
        yield connection
