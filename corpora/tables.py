"""The one parquet writer, and the reading of parquet by columns.

Everything that decides the bytes of a committed table is fixed here: schema, codec, row-group size, no pandas metadata,
sorted key-value metadata. The same table gives the same bytes from any process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import ShardError
from .store import Store

ROW_GROUP_ROWS = 65_536
META = b"tamis"
"""The key of our JSON in a table's metadata."""


def write_table(store: Store, path: str, table: pa.Table, meta: Mapping[str, Any]) -> int:
    """Commit ``table`` with ``meta`` (JSON-able) in its file metadata; the bytes of the file."""
    with store.commit(path) as file:
        with _writer(file, table.schema, meta) as writer:
            # pages are cut where chunks are
            whole = table.replace_schema_metadata(writer.schema.metadata).combine_chunks()
            writer.write_table(whole, ROW_GROUP_ROWS)
        return file.tell()


@contextmanager
def growing_table(
    store: Store, path: str, schema: pa.Schema, meta: Mapping[str, Any]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Commit a table row by row, holding one row group; the bytes are those that ``write_table`` would give it."""
    rows: list[Mapping[str, Any]] = []
    with store.commit(path) as file, _writer(file, schema, meta) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
            rows.clear()

        def append(row: Mapping[str, Any]) -> None:
            if len(rows) == ROW_GROUP_ROWS:
                flush()
            rows.append(row)

        yield append
        flush()


class ChunkedTable:
    """A table that is being written by tables of any length; it holds at most one row group of them."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        """Write with ``writer``."""
        self._writer = writer
        self._held = writer.schema.empty_table()
        self.rows = 0
        self.bytes = 0
        """Of the file, once it is whole."""

    def append(self, table: pa.Table) -> None:
        """Write more rows."""
        self.rows += table.num_rows
        self._held = pa.concat_tables([self._held, table.replace_schema_metadata(self._writer.schema.metadata)])
        full = (self._held.num_rows - 1) // ROW_GROUP_ROWS * ROW_GROUP_ROWS  # the rest is not known to be a row group
        if full > 0:
            self._write(self._held.slice(0, full))
            self._held = self._held.slice(full)

    def end(self) -> None:
        """No more rows come."""
        self._write(self._held)

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table.combine_chunks(), ROW_GROUP_ROWS)


@contextmanager
def chunked_table(store: Store, path: str, schema: pa.Schema, meta: Mapping[str, Any]) -> Iterator[ChunkedTable]:
    """Commit a table by tables of any length; the bytes are those that ``write_table`` would give it."""
    with store.commit(path) as file:
        with _writer(file, schema, meta) as writer:
            table = ChunkedTable(writer)
            yield table
            table.end()
        table.bytes = file.tell()


def _writer(file: IO[bytes], schema: pa.Schema, meta: Mapping[str, Any]) -> pq.ParquetWriter:
    described = json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()
    return pq.ParquetWriter(
        file,
        schema.with_metadata({META: described}),
        compression="zstd",
        compression_level=1,
        use_dictionary=_dictionary_columns(schema),
        write_statistics=True,
        store_schema=True,
        version="2.6",
    )


def _dictionary_columns(schema: pa.Schema) -> list[str]:
    # uids and hashes never repeat: a dictionary over them costs time and bytes
    return [
        f.name for f in schema if pa.types.is_string(f.type) and f.name not in {"uid", "key", "image_sha256", "url"}
    ]


def read_table(store: Store, path: str, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """Read ``columns`` (all by default) of a committed table, and its metadata.

    Raises:
        ShardError: the file is not a table of ours.
    """
    with _readable(store, path) as source:
        file = pq.ParquetFile(source)
        table = file.read(columns=list(columns) if columns is not None else None, use_threads=False)
        return table.replace_schema_metadata(None), metadata_of(file.schema_arrow)


def scan_table(store: Store, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read ``columns`` (all by default) of a committed table, a row group at a time.

    Raises:
        ShardError: the file is not a table of ours.
    """
    with _readable(store, path) as source:
        file = pq.ParquetFile(source)
        for group in range(file.num_row_groups):
            table = file.read_row_group(
                group, columns=list(columns) if columns is not None else None, use_threads=False
            )
            yield table.replace_schema_metadata(None)


def read_meta(store: Store, path: str) -> dict[str, Any]:
    """Only the metadata of a committed table."""
    with _readable(store, path) as source:
        return metadata_of(pq.read_schema(source))


def count_rows(store: Store, path: str) -> int:
    """The rows of a committed table, from its footer."""
    with _readable(store, path) as source:
        return int(pq.read_metadata(source).num_rows)


@contextmanager
def _readable(store: Store, path: str) -> Iterator[IO[bytes]]:
    with store.open(path) as source:
        try:
            yield source
        except (pa.ArrowException, OSError) as error:  # broken pages are an OSError
            raise ShardError(
                f"{store.root}/{path} is not readable parquet ({error}); remove it to have it made again"
            ) from error


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Our JSON in a schema's metadata; empty when there is none."""
    return dict(json.loads((schema.metadata or {}).get(META, b"{}")))


def finite(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Floats with NaN and infinity as null; other types as they are."""
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
