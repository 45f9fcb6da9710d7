"""URL lists of the LAION kind: parquet, csv, tsv or jsonl (also .gz, .bz2, .zst), one file or a glob.

``columns`` maps our words (``url``, ``caption``) to the list's; the caption may be a list of captions. ``keep`` passes
columns through as ``source.<name>``, typed by the first file; of csv and jsonl, which declare no types, URL and caption are
text whatever they look like. Read in record batches, so memory is bounded by a batch, not by the list.

Price: the first block of each file is read twice; a compressed parquet file is unpacked to local disk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from ..corpus import storable
from ..errors import ConfigError
from ..filesystems import files_at
from ..ranges import open_file
from ..records import Record
from ..tables import finite

BATCH_ROWS = 10_000
READ_BLOCK_BYTES = 8 << 20
_COMPRESSIONS = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}


@dataclass(frozen=True)
class LaionList:
    """A list of URLs with captions; ``path`` is a file or a glob on any fsspec file system."""

    path: str
    columns: Mapping[str, str] = field(default_factory=lambda: {"url": "URL", "caption": "TEXT"})
    keep: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """The list's files, sorted.

        Raises:
            ConfigError: there is none.
        """
        found = list(files_at(self.path))
        if not found:
            raise ConfigError(
                f"source.path: no file matches {self.path!r}; give a parquet, csv, tsv or jsonl file or a glob"
            )
        return found

    def schema(self) -> pa.Schema:
        """The kept columns, as the first file types them."""
        found = self._inspect(self.files()[0])
        return pa.schema([(name, storable(found.field(name).type)) for name in self.keep])

    def fingerprint(self) -> str:
        """SHA-256 over the files' bytes and the column mapping."""
        digest = hashlib.sha256(json.dumps([dict(self.columns), self.keep], sort_keys=True).encode())
        for name in self.files():
            with open_file(name) as file:
                while block := file.read(READ_BLOCK_BYTES):
                    digest.update(block)
            digest.update(b"|")
        return digest.hexdigest()

    def records(self) -> Iterator[Record]:
        """The records in list order; a row without a URL has an empty one.

        Raises:
            ConfigError: a file cannot be read, lacks a column, or disagrees with the first one's types.
        """
        types = self._types()
        for name in self.files():
            self._inspect(name)
            with _opened(name) as raw:
                for batch in _read(raw, name, types):
                    yield from self._records(batch, types)

    def _types(self) -> pa.Schema:
        """The columns that are read, as csv and jsonl are to be parsed."""
        found = self._inspect(self.files()[0])
        types = {name: _parsed(found.field(name).type) for name in self.keep}
        for name in self.columns.values():
            types[name] = pa.list_(pa.string()) if pa.types.is_list(found.field(name).type) else pa.string()
        return pa.schema(list(types.items()))

    def _inspect(self, name: str) -> pa.Schema:
        """The schema of a file, which must have the columns that are asked for."""
        with _opened(name) as raw:
            schema = _schema(raw, name)
        for wanted in (*self.columns.values(), *self.keep):
            if wanted not in schema.names:
                raise ConfigError(f"source.columns: {name} has no column {wanted!r}; it has {', '.join(schema.names)}")
        return schema

    def _records(self, batch: pa.RecordBatch, types: pa.Schema) -> Iterator[Record]:
        urls = _values(batch.column(self.columns["url"]))
        captions = (
            _values(batch.column(self.columns["caption"])) if "caption" in self.columns else [None] * batch.num_rows
        )
        kept = {name: _kept(batch.column(name), types.field(name)) for name in self.keep}
        for row, (url, caption) in enumerate(zip(urls, captions, strict=True)):
            extra = {name: values[row] for name, values in kept.items()}
            yield Record("" if url is None else _text(url), _captions(caption), extra)


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """A plain, seekable file."""
    try:
        with open_file(name) as raw, tempfile.TemporaryFile(prefix="tamis-list-") as plain:
            inner, compression = _endings(name)
            if not compression:
                yield raw
            elif inner in {"parquet", "pq"}:
                shutil.copyfileobj(pa.CompressedInputStream(raw, compression), plain, READ_BLOCK_BYTES)
                yield plain
            else:
                yield pa.CompressedInputStream(raw, compression)
    except (pa.ArrowException, OSError) as error:  # Arrow's decompressors raise OSError
        raise ConfigError(f"source.path: {name} cannot be read as its ending says ({error})") from error


def _endings(name: str) -> tuple[str, str]:
    """The ending that says the format, and Arrow's name of the compression around it."""
    stem, _, ending = name.lower().rpartition(".")
    return (stem.rpartition(".")[2], _COMPRESSIONS[ending]) if ending in _COMPRESSIONS else (ending, "")


def _schema(raw: IO[bytes], name: str) -> pa.Schema:
    """Column names, and types as the file declares them or its first block looks."""
    ending = _endings(name)[0]
    if ending in {"parquet", "pq"}:
        return pq.read_schema(raw)
    if ending in {"csv", "tsv"}:
        return pa_csv.open_csv(raw, _CSV_BLOCKS, _csv_parsing(ending)).schema
    if ending in {"jsonl", "ndjson", "json"}:
        return pa_json.open_json(raw, _JSON_BLOCKS).schema
    raise ConfigError(f"source.path: {name} is not parquet, csv, tsv or jsonl (also .gz, .bz2, .zst)")


def _read(raw: IO[bytes], name: str, types: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The columns of ``types``, parsed so where the file declares no types."""
    ending = _endings(name)[0]
    if ending in {"parquet", "pq"}:
        yield from pq.ParquetFile(raw).iter_batches(BATCH_ROWS, columns=types.names)
    elif ending in {"csv", "tsv"}:
        as_text = [pa.string() if pa.types.is_nested(f.type) else f.type for f in types]
        columns = dict(zip(types.names, as_text, strict=True))
        convert = pa_csv.ConvertOptions(column_types=columns, include_columns=types.names)
        for batch in pa_csv.open_csv(raw, _CSV_BLOCKS, _csv_parsing(ending), convert):
            if ending == "tsv":
                _check_lines(batch, name)
            yield batch
    else:
        parse = pa_json.ParseOptions(explicit_schema=types, unexpected_field_behavior="ignore")
        yield from pa_json.open_json(raw, _JSON_BLOCKS, parse)


_CSV_BLOCKS = pa_csv.ReadOptions(block_size=READ_BLOCK_BYTES)
_JSON_BLOCKS = pa_json.ReadOptions(block_size=READ_BLOCK_BYTES)


def _csv_parsing(ending: str) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(delimiter="\t" if ending == "tsv" else ",", newlines_in_values=True)


def _check_lines(batch: pa.RecordBatch, name: str) -> None:
    """Refuse rows that a stray quotation mark ran together: a tsv value of lines and tabs.

    Many tsv lists are written without quoting; a caption that begins with a mark would swallow the rows up to the next.
    """
    for column in (column for column in batch.columns if pa.types.is_string(column.type)):
        found = column.filter(pc.match_substring_regex(column, r"(?s)\n.*\t|\t.*\n"))
        if len(found):
            raise ConfigError(
                f"source.path: {name}: a quotation mark opens the value {found[0].as_py()[:60]!r} and is not closed in "
                "its line: double the marks inside values and close them, or give the list as parquet"
            )


def _parsed(data_type: pa.DataType) -> pa.DataType:
    return data_type if pa.types.is_nested(data_type) else storable(data_type)


def _kept(column: pa.Array, field: pa.Field) -> list[Any]:
    """Values of the type in which a source column is kept."""
    stored = storable(field.type)
    if pa.types.is_string(stored):
        return [None if value is None else _text(value) for value in _values(column)]
    try:
        kept: list[Any] = finite(column.cast(stored)).to_pylist()
    except pa.ArrowException as error:
        raise ConfigError(
            f"source.keep: {field.name!r} is {column.type} in one file of the list, {stored} in the first, and does not "
            f"fit ({error}): give it one type, or do not keep it"
        ) from error
    return kept


def _values(column: pa.Array) -> list[Any]:
    """Python values; text that is not UTF-8, which parquet files may hold, as bytes."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raw = pa.list_(pa.binary()) if pa.types.is_list(column.type) else pa.binary()
        values = column.cast(raw).to_pylist()
    return values


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def _captions(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(_text(v) for v in value if v is not None)
    return (_text(value),)
