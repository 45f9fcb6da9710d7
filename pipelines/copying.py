"""Writing one export shard: runs of bytes from source tars into a new tar, and the new index by shifting offsets.

Rows that stand in a source tar one after another are one read. The offsets of the new index are the old ones moved by
the distance that their sample moved, computed for all rows at once. Price: a read, a BLAKE3 and a write of the bytes;
about 5 us a row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..corpora.filesystems import filesystem, is_local
from ..corpora.index import TarFile, digest_of, schema_with
from ..corpora.metering import Meter
from ..corpora.ranges import RangeReader, each
from ..corpora.sharding import add_sample
from ..corpora.store import REQUESTS_AT_ONCE, Store
from ..corpora.tables import read_table, write_table
from ..corpora.tars import TarWriter
from ..corpora.write_behind import WriteBehind

BUFFER_BYTES = 1 << 18
PIECE_BYTES = 4 << 20
"""The most that is asked for in one request; ``REQUESTS_AT_ONCE`` of them bound the memory of a copy from afar."""

MAX_OPEN_TARS = 256
_OFFSETS = ("image_offset", "text_offset", "json_offset", "sample_offset", "sample_end")


@dataclass(frozen=True)
class ExportTask:
    """Writes the shards of one export."""

    source: Store
    target: Store
    folder: str
    digest: str
    source_schema: pa.Schema

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Write one shard: its tar, then its index."""
        meter = Meter()
        table = _located(read_table(self.source, f"{self.folder}/{item}.parquet")[0], self.source)
        path = f"{item}.tar"
        with self.target.commit(path) as sink, WriteBehind(sink) as behind, closing(_Readers(table["tar"])) as readers:
            tar = TarWriter(behind)
            index = (_copy_whole if _laid_out_by_us(table) else _rewrite)(tar, table, readers, meter)
            digest = tar.close()
        tar_file = TarFile(path, tar.size, digest)
        index = index.select(schema_with(self.source_schema).names).cast(schema_with(self.source_schema))
        meta = {
            "shard": item,
            "digest": digest_of(tar_file, index["uid"].to_pylist()),
            "tar": tar_file.__dict__,
            "export": self.digest,
            "samples": index.num_rows,
        }
        meter.bytes_out += tar.size + write_table(self.target, f"{item}.parquet", index, meta)
        meter.lap("write")
        return {"samples": index.num_rows, **meter.told()}


def _located(table: pa.Table, source: Store) -> pa.Table:
    """The list with tars as they can be opened: ours are told relative to the corpus, which may have been moved."""
    tars = zip(table["tar"].to_pylist(), table["ours"].to_pylist(), strict=True)
    located = pa.array([source.url(url) if ours else url for url, ours in tars], pa.string())
    return table.set_column(table.column_names.index("tar"), "tar", located)


def _laid_out_by_us(table: pa.Table) -> bool:
    """Whether samples can be copied as they stand; an unpacked foreign tar is ours to open, but has foreign keys."""
    return bool(pc.all(pc.and_(table["ours"], pc.equal(table["key"], table["uid"]))).as_py())


class _Readers:
    """Open source tars, the least recently used closed first."""

    def __init__(self, urls: pa.ChunkedArray) -> None:
        """Nothing is open yet; the first of ``urls`` says where they all are."""
        self.far = any(not is_local(filesystem(url)[0]) for url in urls.slice(0, 1).to_pylist())
        self._open: OrderedDict[str, RangeReader] = OrderedDict()

    def of(self, url: str) -> RangeReader:
        if url not in self._open:
            if len(self._open) == MAX_OPEN_TARS:
                self._open.popitem(last=False)[1].close()
            self._open[url] = RangeReader(url)
        self._open.move_to_end(url)
        return self._open[url]

    def close(self) -> None:
        for reader in self._open.values():
            reader.close()


def _copy_whole(tar: TarWriter, table: pa.Table, readers: _Readers, meter: Meter) -> pa.Table:
    """Copy samples of our own tars, header to padding; the rows with offsets into the new tar."""
    starts = table["sample_offset"].to_numpy()
    ends = table["sample_end"].to_numpy()
    runs = _runs(table["tar"].to_pylist(), starts, ends)
    if readers.far:
        _copy_from_afar(tar, _pieces(readers, runs), meter)
    else:
        _copy(tar, readers, runs, meter)
    sizes = ends - starts
    meter.bytes_in += int(sizes.sum())
    moved = np.cumsum(sizes) - sizes - starts
    for name in _OFFSETS:
        column = pc.add(table[name], pa.array(moved))
        table = table.set_column(table.column_names.index(name), name, column)
    record = pa.array(np.arange(table.num_rows, dtype=np.int32))
    return table.set_column(table.column_names.index("record"), "record", record)


def _copy_from_afar(tar: TarWriter, pieces: Iterator[_Piece], meter: Meter) -> None:
    """Copy ranges that are requests, the next ones asked for while one is written."""
    for data in each(_Piece.read, pieces, REQUESTS_AT_ONCE):
        meter.lap("read")
        tar.append(data)
        meter.lap("write")


@dataclass(frozen=True)
class _Piece:
    """A range of a source tar."""

    reader: RangeReader
    start: int
    size: int

    def read(self) -> bytes:
        return self.reader.read(self.start, self.size)


def _pieces(readers: _Readers, runs: Iterator[tuple[str, int, int]]) -> Iterator[_Piece]:
    for url, start, end in runs:
        for begin in range(start, end, PIECE_BYTES):
            yield _Piece(readers.of(url), begin, min(PIECE_BYTES, end - begin))


def _copy(tar: TarWriter, readers: _Readers, runs: Iterator[tuple[str, int, int]], meter: Meter) -> None:
    """Copy ranges through one buffer that stays in the cache: many small ones in one write, a large one in several."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    filled = 0
    for url, start, end in runs:
        reader = readers.of(url)
        while start < end:
            size = min(end - start, BUFFER_BYTES - filled)
            reader.read_into(buffer[filled : filled + size], start)
            start, filled = start + size, filled + size
            if filled == BUFFER_BYTES:
                meter.lap("read")
                tar.append(buffer)
                meter.lap("write")
                filled = 0
    meter.lap("read")
    tar.append(buffer[:filled])


def _runs(tars: list[str], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[tuple[str, int, int]]:
    """Neighbouring samples of one tar as one range."""
    open_url, open_start, open_end = "", 0, 0
    for url, start, end in zip(tars, starts.tolist(), ends.tolist(), strict=True):
        if url == open_url and start == open_end:
            open_end = end
            continue
        if open_url:
            yield open_url, open_start, open_end
        open_url, open_start, open_end = url, start, end
    if open_url:
        yield open_url, open_start, open_end


def _rewrite(tar: TarWriter, table: pa.Table, readers: _Readers, meter: Meter) -> pa.Table:
    """Write samples of foreign tars: the image's bytes as they are, text and JSON made anew."""
    rows = []
    listed = table.to_pylist()
    pieces = (_Piece(readers.of(row["tar"]), row["image_offset"], row["image_size"]) for row in listed)
    images = each(_Piece.read, pieces, REQUESTS_AT_ONCE if readers.far else 1)
    for record, (row, image) in enumerate(zip(listed, images, strict=True)):
        meter.bytes_in += len(image)
        meter.lap("read")
        rows.append(add_sample(tar, row, image, record) | {"key": row["uid"]})
        meter.lap("write")
    return pa.Table.from_pylist(rows, schema=table.schema)
