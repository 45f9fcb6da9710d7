"""URL lists of the LAION kind: parquet, csv, tsv or jsonl (also .gz, .bz2, .zst), one file or a glob.

``columns`` maps our words (``url``, ``caption``) to the list's; the caption may be a list of captions. ``keep`` passes
columns through as ``source.<name>``. Read in record batches, so memory is bounded by a batch, not by the list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from ..corpus import storable
from ..errors import ConfigError
from ..records import Record

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
        fs, path = fsspec.core.url_to_fs(self.path)
        found = sorted(str(name) for name in fs.glob(path)) if fsspec.core.has_magic(path) else [path]
        found = [name for name in found if fs.isfile(name)]
        if not found:
            raise ConfigError(
                f"source.path: no file matches {self.path!r}; give a parquet, csv, tsv or jsonl file or a glob"
            )
        return [fs.unstrip_protocol(name) for name in found]

    def schema(self) -> pa.Schema:
        """The kept columns, as the first file types them."""
        for batch in self._batches(self.files()[0]):
            return pa.schema([(name, storable(batch.schema.field(name).type)) for name in self.keep])
        return pa.schema([(name, pa.string()) for name in self.keep])

    def fingerprint(self) -> str:
        """SHA-256 over the files' bytes and the column mapping."""
        digest = hashlib.sha256(json.dumps([dict(self.columns), self.keep], sort_keys=True).encode())
        for name in self.files():
            with fsspec.open(name, "rb") as file:
                while block := file.read(READ_BLOCK_BYTES):
                    digest.update(block)
            digest.update(b"|")
        return digest.hexdigest()

    def records(self) -> Iterator[Record]:
        """The records in list order; a row without a URL has an empty one."""
        for name in self.files():
            for batch in self._batches(name):
                yield from self._records(batch)

    def _records(self, batch: pa.RecordBatch) -> Iterator[Record]:
        urls = batch.column(self.columns["url"]).to_pylist()
        captions = (
            batch.column(self.columns["caption"]).to_pylist() if "caption" in self.columns else [None] * len(urls)
        )
        kept = {name: batch.column(name).to_pylist() for name in self.keep}
        for row, (url, caption) in enumerate(zip(urls, captions, strict=True)):
            extra = {name: values[row] for name, values in kept.items()}
            yield Record("" if url is None else str(url), _captions(caption), extra)

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        with fsspec.open(name, "rb") as raw:
            try:
                for batch in _read(raw, name):
                    self._check_columns(batch.schema, name)
                    yield batch
            except pa.ArrowInvalid as error:
                raise ConfigError(f"source.path: {name} cannot be read as its ending says ({error})") from error

    def _check_columns(self, schema: pa.Schema, name: str) -> None:
        for wanted in (*self.columns.values(), *self.keep):
            if wanted not in schema.names:
                raise ConfigError(f"source.columns: {name} has no column {wanted!r}; it has {', '.join(schema.names)}")


def _captions(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(str(v) for v in value if v is not None)
    return (str(value),)


def _read(raw: IO[bytes], name: str) -> Iterator[pa.RecordBatch]:
    stem, _, ending = name.lower().rpartition(".")
    source: Any = raw
    if ending in _COMPRESSIONS:
        source = pa.CompressedInputStream(raw, _COMPRESSIONS[ending])
        ending = stem.rpartition(".")[2]
    if ending in {"parquet", "pq"}:
        yield from pq.ParquetFile(source).iter_batches(batch_size=BATCH_ROWS)
    elif ending in {"csv", "tsv"}:
        parse = pa_csv.ParseOptions(delimiter="\t" if ending == "tsv" else ",", newlines_in_values=True)
        options = pa_csv.ReadOptions(block_size=READ_BLOCK_BYTES)
        yield from pa_csv.open_csv(source, read_options=options, parse_options=parse)
    elif ending in {"jsonl", "ndjson", "json"}:
        options = pa_json.ReadOptions(block_size=READ_BLOCK_BYTES)
        yield from pa_json.open_json(source, read_options=options)
    else:
        raise ConfigError(f"source.path: {name} is not parquet, csv, tsv or jsonl (also .gz, .bz2, .zst)")
