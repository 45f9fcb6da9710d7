"""WebDataset tars that exist already (img2dataset, DataComp, open_clip's), adopted without being rewritten.

A sample is a run of members with one key (the name up to the first dot of its last part, as WebDataset has it). Adopting
reads each tar once: the index gets the members' ranges in the foreign tar, our uids, and the caption and columns that the
``.txt`` and ``.json`` members hold. Nothing is written beside foreign tars. A gzipped tar is unpacked once into the corpus.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

import fsspec
import pyarrow as pa

from ..errors import ConfigError, DataError
from ..index import SOURCE_PREFIX, TarFile
from ..records import uid_of
from ..sharding import FAILED, FETCHED, describe
from ..sniffing import inspect
from ..tars import Member, walk

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm"})
MAX_TEXT_BYTES = 1 << 20
MAX_IMAGE_BYTES = 256 << 20
BLOCK_BYTES = 4 << 20
PROBED_SAMPLES = 256


@dataclass(frozen=True)
class TarSource:
    """Foreign tars: a path or a glob on any fsspec file system, and the JSON fields that become ``source.<name>``."""

    path: str
    keep: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """The tars, sorted.

        Raises:
            ConfigError: there is none.
        """
        fs, path = fsspec.core.url_to_fs(self.path)
        if fs.isdir(path):
            path = f"{path.rstrip('/')}/*.tar*"
        found = sorted(str(name) for name in fs.glob(path)) if fsspec.core.has_magic(path) else [path]
        found = [name for name in found if fs.isfile(name)]
        if not found:
            raise ConfigError(f"source.path: no tar matches {self.path!r}; give a tar, a folder of tars or a glob")
        return [str(fs.unstrip_protocol(name)).removeprefix("file://") for name in found]

    def schema(self) -> pa.Schema:
        """The kept fields, typed by the first samples of the first tar: bool, int64, double, else string.

        Raises:
            ConfigError: none of those samples has such a field.
        """
        seen: dict[str, set[type]] = {}
        with open_tar(self.files()[0]) as tar:
            for number, group in enumerate(groups(tar)):
                if number == PROBED_SAMPLES:
                    break
                for name, value in group.fields(tar).items():
                    seen.setdefault(name, set()).add(type(value))
        for name in self.keep:
            if name not in seen:
                raise ConfigError(
                    f"source.keep: no field {name!r} in {self.files()[0]}; it has {', '.join(sorted(seen))}"
                )
        return pa.schema([(name, _arrow_type(seen[name] - {type(None)})) for name in self.keep])

    def fingerprint(self) -> str:
        """A digest of the tars' names and sizes, and of the fields kept."""
        fs, _ = fsspec.core.url_to_fs(self.path)
        sizes = [[name, fs.size(name)] for name in self.files()]
        return hashlib.sha256(json.dumps([sizes, self.keep]).encode()).hexdigest()


@dataclass(frozen=True)
class Group:
    """The members of one sample."""

    key: str
    members: tuple[Member, ...]

    def member(self, extensions: frozenset[str]) -> Member | None:
        """The first member with one of these endings."""
        return next((m for m in self.members if m.name.rsplit(".", 1)[-1].lower() in extensions), None)

    def text(self, tar: IO[bytes], ending: str) -> str:
        """A small text member, or the empty string."""
        found = self.member(frozenset({ending}))
        if found is None or found.size > MAX_TEXT_BYTES:
            return ""
        return _bytes_of(tar, found).decode("utf-8", "replace")

    def fields(self, tar: IO[bytes]) -> dict[str, Any]:
        """The ``.json`` member's fields; none when it is missing or not an object."""
        try:
            value = json.loads(self.text(tar, "json") or "{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def open_tar(url: str) -> IO[bytes]:
    """A seekable reader of a foreign tar."""
    return fsspec.open(url, "rb").open()  # type: ignore[no-any-return]


def unpack(url: str, target: IO[bytes]) -> None:
    """Write the plain tar inside a gzipped one.

    Raises:
        DataError: it is not gzip, or cut short.
    """
    try:
        with open_tar(url) as raw, gzip.open(raw) as plain:
            while block := plain.read(BLOCK_BYTES):
                target.write(block)
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError("truncated_tar", f"{url}: {error}") from error


def groups(tar: IO[bytes]) -> Iterator[Group]:
    """The samples of a tar, in order; raises what ``walk`` raises, after the samples before the fault."""
    for key, members in groupby(walk(tar), key=lambda member: key_of(member.name)):
        yield Group(key, tuple(members))


def key_of(name: str) -> str:
    """WebDataset's key: the path with its last part cut at the first dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


def hash_tar(url: str, tar: IO[bytes], ours: bool) -> TarFile:
    """Size and SHA-256 of a tar."""
    digest, size = hashlib.sha256(), 0
    tar.seek(0)
    while block := tar.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return TarFile(url, size, digest.hexdigest(), ours)


def adopt(tar: IO[bytes], schema: pa.Schema) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read a foreign tar: the index rows of its pairs, and a ledger row for each sample found (and for a cut end)."""
    rows: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    try:
        for slot, group in enumerate(groups(tar)):
            entry = {"slot": slot, "url": "", "caption": "", "status": FETCHED, "tries": 1, "bytes": 0}
            try:
                row = _row(tar, group, schema)
            except DataError as error:
                entry |= {"status": FAILED, "reason": error.reason, "url": group.key}
            else:
                rows.append(row)
                entry |= {name: row[name] for name in ("uid", "url", "caption", "bytes")}
            ledger.append(entry)
    except DataError as fault:
        ledger.append(
            {"slot": len(ledger), "url": "", "caption": "", "status": FAILED, "reason": fault.reason, "bytes": 0}
        )
    return rows, ledger


def _row(tar: IO[bytes], group: Group, schema: pa.Schema) -> dict[str, Any]:
    picture = group.member(IMAGE_EXTENSIONS)
    if picture is None:
        raise DataError("no_image")
    if picture.size > MAX_IMAGE_BYTES:
        raise DataError("too_large")
    image = _bytes_of(tar, picture)
    header = inspect(image)
    fields = group.fields(tar)
    caption = group.text(tar, "txt") or str(fields.get("caption") or "")
    url = str(fields.get("url") or "")
    sha256 = hashlib.sha256(image).hexdigest()
    uid = uid_of("url", url, caption) if url else uid_of("image", sha256, caption)
    source = {SOURCE_PREFIX + f.name: _as_type(fields.get(f.name), f.type) for f in schema}
    words, about = group.member(frozenset({"txt"})), group.member(frozenset({"json"}))
    return {
        **describe(uid, url, [caption] if caption else [], header, sha256, source),
        "key": group.key,
        "bytes": picture.size,
        "image_name": picture.name.rsplit("/", 1)[-1],
        "image_offset": picture.offset,
        "image_size": picture.size,
        "text_offset": words.offset if words else None,
        "text_size": words.size if words else None,
        "json_offset": about.offset if about else None,
        "json_size": about.size if about else None,
        "sample_offset": group.members[0].header_offset,
        "sample_end": group.members[-1].end,
    }


def _bytes_of(tar: IO[bytes], member: Member) -> bytes:
    tar.seek(member.offset)
    return tar.read(member.size)


def _arrow_type(types: set[type]) -> pa.DataType:
    if types == {bool}:
        return pa.bool_()
    if types == {int}:
        return pa.int64()
    if types and types <= {int, float}:
        return pa.float64()
    return pa.string()


def _as_type(value: Any, data_type: pa.DataType) -> Any:
    """The value as the column has it; null when it is of another type."""
    if value is None:
        return None
    if pa.types.is_string(data_type):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pa.types.is_boolean(data_type):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if pa.types.is_integer(data_type):
        return value if isinstance(value, int) and abs(value) < 1 << 63 else None
    return float(value)


def without_duplicates(
    rows: Sequence[Mapping[str, Any]], ledger: Sequence[Mapping[str, Any]], taken: set[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Drop rows whose uid an earlier row or shard (``taken``) has, and say so in the ledger."""
    seen = set(taken)
    kept: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    adopted = iter(rows)
    for entry in ledger:
        if entry["status"] != FETCHED:
            told.append(dict(entry))
            continue
        row = next(adopted)
        if row["uid"] in seen:
            told.append({**entry, "status": FAILED, "reason": "duplicate_uid"})
            continue
        seen.add(row["uid"])
        kept.append({**row, "record": len(kept)})
        told.append(dict(entry))
    return kept, told
