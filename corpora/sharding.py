"""A shard being filled: responses arrive in any order, the tar is written in slot order when every slot is terminal.

Bodies wait in one spool file a shard on local disk, so memory holds a few numbers a slot and a straggler holds up nobody.
Closing writes, in this order: the tar (named after its digest), the fetch ledger, the index. The index is the done-marker.

Price: each body is written twice, once to the spool and once to the tar.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from .errors import DataError
from .fetching import Fetched
from .index import SOURCE_PREFIX, TarFile, schema_with, write_index
from .opt_outs import OptOuts
from .sniffing import ImageHeader, inspect
from .store import Store
from .tables import write_table
from .tars import TarWriter

LEDGER_SCHEMA = pa.schema(
    [
        ("slot", pa.int32()),
        ("uid", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("http_status", pa.int32()),
        ("tries", pa.int32()),
        ("seconds", pa.float32()),
        ("bytes", pa.int64()),
        ("finished_at", pa.string()),
        ("supersedes", pa.string()),
    ]
)
FETCHED, FAILED = "fetched", "failed"
_NOBODY = OptOuts()


@dataclass(frozen=True)
class _Body:
    """A spooled image; size and hash of the original are those before resizing."""

    offset: int
    size: int
    header: ImageHeader
    original: ImageHeader
    sha256: str


class OpenShard:
    """Collects what came of each slot of one shard."""

    def __init__(
        self,
        store: Store,
        shard: str,
        slots: Sequence[Mapping[str, Any]],
        source_schema: pa.Schema,
        opt_outs: OptOuts = _NOBODY,
    ) -> None:
        """Open a shard for its planned ``slots`` (rows of the plan, in slot order)."""
        self._store = store
        self._shard = shard
        self._slots = slots
        self._schema = schema_with(source_schema)
        self._opt_outs = opt_outs
        self._spool = tempfile.TemporaryFile(prefix="tamis-bodies-")  # noqa: SIM115 - lives until close()
        self._spooled = 0
        self._bodies: dict[int, _Body] = {}
        self._ledger: dict[int, dict[str, Any]] = {}

    @property
    def complete(self) -> bool:
        """Whether every slot is terminal."""
        return len(self._ledger) == len(self._slots)

    def take(self, fetched: Fetched, slot: int, resized: bytes | DataError | None = None) -> None:
        """Record what became of a slot; an image's bytes go to the spool, those that it was ``resized`` to or its own."""
        reason = fetched.reason
        if fetched.body is not None:
            try:
                self._bodies[slot] = self._keep(fetched.body, resized)
            except DataError as error:
                reason = error.reason
        self._ledger[slot] = {
            "slot": slot,
            "uid": self._slots[slot]["uid"],
            "url": self._slots[slot]["url"],
            "caption": caption_of(self._slots[slot]["captions"]),
            "status": FAILED if reason else FETCHED,
            "reason": reason,
            "http_status": fetched.http_status,
            "tries": fetched.tries,
            "seconds": fetched.seconds,
            "bytes": fetched.bytes,
            "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "supersedes": self._slots[slot].get("supersedes"),
        }

    def _keep(self, body: bytes, resized: bytes | DataError | None) -> _Body:
        """Look at what came, and spool it if it is an image that nobody has opted out."""
        original = inspect(body)
        sha256 = hashlib.sha256(body).hexdigest()
        if self._opt_outs.names_image(sha256):
            raise DataError("opted_out", f"the list of opt-outs names the image {sha256}")
        if isinstance(resized, DataError):
            raise resized
        kept, header = (body, original) if resized is None else (resized, inspect(resized))
        offset = self._spooled
        self._spool.seek(offset)
        self._spool.write(kept)
        self._spooled += len(kept)
        return _Body(offset, len(kept), header, original, sha256)

    def close(self) -> dict[str, Any]:
        """Write tar, ledger and index; how the slots ended, and the bytes ``written`` to the tar."""
        rows: list[dict[str, Any]] = []
        tar_file: list[TarFile] = []
        with self._spool, self._store.commit(lambda: tar_file[0].url) as target:
            tar = TarWriter(target)
            for slot in sorted(self._bodies):
                rows.append(self._add_sample(tar, slot, len(rows)))
            digest = tar.close()
            tar_file.append(TarFile(tar_path(self._shard, digest), tar.size, digest))
        ledger = [self._ledger[slot] for slot in sorted(self._ledger)]
        write_table(self._store, f"fetch/{self._shard}.parquet", pa.Table.from_pylist(ledger, schema=LEDGER_SCHEMA), {})
        write_index(self._store, self._shard, rows, self._schema, tar_file[0])
        return {**account(ledger), "written": tar_file[0].size}

    def discard(self) -> None:
        """Give up: what has come is thrown away."""
        self._spool.close()

    def _add_sample(self, tar: TarWriter, slot: int, record: int) -> dict[str, Any]:
        body, planned = self._bodies[slot], self._slots[slot]
        self._spool.seek(body.offset)
        image = self._spool.read(body.size)
        source = {name: value for name, value in planned.items() if name.startswith(SOURCE_PREFIX)}
        described = describe(
            planned["uid"], planned["url"], planned["captions"] or [], body.header, body.sha256, source, body.original
        )
        return add_sample(tar, described, image, record)


def tar_path(shard: str, digest: str) -> str:
    """Where a shard's tar lies: its name carries its digest, so another content is another file."""
    return f"shards/{shard}-{digest[:8]}.tar"


def caption_of(captions: Sequence[str] | None) -> str:
    """The first caption, or the empty string."""
    return captions[0] if captions else ""


def account(ledger: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many were asked for, fetched and failed (by reason), and the bytes that came."""
    failed = Counter(str(row["reason"]) for row in ledger if row["status"] == FAILED)
    return {
        "asked": len(ledger),
        "fetched": len(ledger) - sum(failed.values()),
        "failed": dict(sorted(failed.items())),
        "bytes": sum(row["bytes"] or 0 for row in ledger),
    }


def describe(
    uid: str,
    url: str,
    captions: Sequence[str],
    header: ImageHeader,
    sha256: str,
    source: Mapping[str, Any],
    original: ImageHeader | None = None,
) -> dict[str, Any]:
    """The index columns of a pair that do not depend on where it stands; ``original`` is what it was before resizing."""
    width, height = header.upright
    original_width, original_height = (original or header).upright
    return {
        "uid": uid,
        "key": uid,
        "position": 0,
        "kind": "pair",
        "url": url,
        "caption": caption_of(captions),
        "captions": list(captions),
        "width": width,
        "height": height,
        "min_side": min(width, height),
        "max_side": max(width, height),
        "aspect": max(width, height) / max(1, min(width, height)),
        "format": header.format,
        "original_width": original_width,
        "original_height": original_height,
        "image_sha256": sha256,
        "image_name": f"{uid}.{header.extension}",
        "repeat": 1,
        "removed": False,
        **source,
    }


def member_json(row: Mapping[str, Any]) -> bytes:
    """The ``.json`` member: source columns under their own names, then img2dataset's columns and ours."""
    source = {name.removeprefix(SOURCE_PREFIX): value for name, value in row.items() if name.startswith(SOURCE_PREFIX)}
    own = {
        "uid": row["uid"],
        "key": row["uid"],
        "url": row["url"],
        "caption": row["caption"],
        "captions": list(row["captions"]),
        "status": "success",
        "error_message": None,
        "width": row["width"],
        "height": row["height"],
        "original_width": row["original_width"],
        "original_height": row["original_height"],
        "format": row["format"],
        "sha256": row["image_sha256"],
    }
    return json.dumps({**source, **own}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def add_sample(
    tar: TarWriter, row: Mapping[str, Any], image: bytes, record: int, text: str | None = None
) -> dict[str, Any]:
    """Append a pair's three members; its full index row. ``text`` replaces the caption in the ``.txt``."""
    start = tar.size
    extension = row["image_name"].rsplit(".", 1)[-1]
    image_name = f"{row['uid']}.{extension}"
    picture = tar.add(image_name, image)
    words = tar.add(f"{row['uid']}.txt", (row["caption"] if text is None else text).encode("utf-8", "replace"))
    about = tar.add(f"{row['uid']}.json", member_json(row))
    return {
        **row,
        "record": record,
        "bytes": picture.size,
        "image_name": image_name,
        "image_offset": picture.offset,
        "image_size": picture.size,
        "text_offset": words.offset,
        "text_size": words.size,
        "json_offset": about.offset,
        "json_size": about.size,
        "sample_offset": start,
        "sample_end": tar.size,
    }
