"""The index of a shard: a parquet row an item, in tar order, with the byte ranges of its members.

Written last, it is the shard's done-marker, and names its tar with size and digest. Its ``digest`` covers the tar and
the uids; every derived table repeats it, and a reader refuses a table made for another index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .errors import FatalError
from .store import Store
from .tables import read_table, write_table

SOURCE_PREFIX = "source."

FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("uid", pa.string()),
    ("key", pa.string()),
    ("record", pa.int32()),
    ("position", pa.int32()),
    ("kind", pa.string()),
    ("url", pa.string()),
    ("caption", pa.string()),
    ("captions", pa.list_(pa.string())),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("min_side", pa.int32()),
    ("max_side", pa.int32()),
    ("aspect", pa.float32()),
    ("format", pa.string()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("bytes", pa.int64()),
    ("image_sha256", pa.string()),
    ("image_name", pa.string()),
    ("image_offset", pa.int64()),
    ("image_size", pa.int64()),
    ("text_offset", pa.int64()),
    ("text_size", pa.int64()),
    ("json_offset", pa.int64()),
    ("json_size", pa.int64()),
    ("sample_offset", pa.int64()),
    ("sample_end", pa.int64()),
    ("repeat", pa.int32()),
    ("removed", pa.bool_()),
)
"""Index columns and their types. ``*_offset`` is where a member's data begins; ``sample_offset``..``sample_end`` is the
block-aligned range of all members of the record. ``width`` and ``height`` are upright (EXIF orientation applied), and
those of the stored image; ``original_*`` and ``image_sha256`` are of the image that was fetched, before any resizing."""


@dataclass(frozen=True)
class TarFile:
    """The tar that an index describes: a URL (relative to the corpus when it is ours), its size and its BLAKE3 digest."""

    url: str
    size: int
    blake3: str
    ours: bool = True


@dataclass(frozen=True)
class Index:
    """One shard's index in memory."""

    shard: str
    table: pa.Table
    tar: TarFile
    digest: str

    @property
    def num_rows(self) -> int:
        """How many items."""
        return int(self.table.num_rows)

    def tar_url(self, store: Store) -> str:
        """Where the tar can be opened."""
        return store.url(self.tar.url) if self.tar.ours else self.tar.url


def schema_with(source: pa.Schema) -> pa.Schema:
    """The index schema of a corpus whose source keeps these columns."""
    return pa.schema(list(FIELDS) + [(SOURCE_PREFIX + field.name, field.type) for field in source])


def digest_of(tar: TarFile, uids: Iterable[str]) -> str:
    """What derived tables repeat: SHA-256 over the tar's digest and the uids in order."""
    digest = hashlib.sha256(tar.blake3.encode())
    for uid in uids:
        digest.update(uid.encode())
    return digest.hexdigest()


def path_of(shard: str) -> str:
    """Where a shard's index lies in a corpus."""
    return f"shards/{shard}.parquet"


def write_index(store: Store, shard: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, tar: TarFile) -> str:
    """Commit the index of a finished tar; its digest."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    digest = digest_of(tar, table["uid"].to_pylist())
    meta = {"shard": shard, "digest": digest, "tar": tar.__dict__}
    write_table(store, path_of(shard), table, meta)
    return digest


def read_index(store: Store, shard: str, columns: Sequence[str] | None = None) -> Index:
    """Read a shard's index, all columns or some."""
    table, meta = read_table(store, path_of(shard), columns)
    return Index(shard, table, TarFile(**meta["tar"]), meta["digest"])


def check_digest(found: object, expected: str, path: str) -> None:
    """Refuse a derived table that was made for another index.

    Raises:
        FatalError: the digests differ.
    """
    if found != expected:
        raise FatalError(
            f"{path} was made for index {str(found)[:8]}, the shard's index is {expected[:8]}: "
            "the shard was replaced under it; remove that file to have it made again"
        )
