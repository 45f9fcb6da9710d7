"""WebDataset tars that exist already (img2dataset, DataComp, open_clip's), adopted without being rewritten.

The index gets the members' ranges in the foreign tar, our uids, and the caption and columns that the ``.txt`` and ``.json``
members hold. Nothing is written beside foreign tars. A gzipped tar is unpacked once into the corpus.

Price: a tar is read twice, once for its samples and once for its SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import pyarrow as pa

from ..errors import ConfigError, DataError
from ..filesystems import files_at
from ..index import SOURCE_PREFIX
from ..records import uid_of
from ..sharding import FAILED, FETCHED, describe
from ..sniffing import inspect
from .samples import Group, bytes_of, groups, open_tar, unpack

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"})
MAX_IMAGE_BYTES = 256 << 20
PROBED_SAMPLES = 256
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
COMPRESSED = (".tar.gz", ".tgz")
_PROBED_BYTES = 64 << 20


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
        return list(self._sizes())

    def _sizes(self) -> dict[str, int]:
        found = files_at(self.path, TAR_ENDINGS)
        if not found:
            raise ConfigError(f"source.path: no tar matches {self.path!r}; give a tar, a folder of tars or a glob")
        return found

    def schema(self) -> pa.Schema:
        """The kept fields, typed by the first samples of the first tar that has any: bool, int64, double, else string.

        Raises:
            ConfigError: none of those samples has such a field.
        """
        if not self.keep:
            return pa.schema([])
        files = self.files()
        probed = ((name, _probe(name)) for name in files)
        name, seen = next(((name, seen) for name, seen in probed if seen), (files[0], {}))
        for wanted in self.keep:
            if wanted not in seen:
                raise ConfigError(
                    f"source.keep: no field {wanted!r} in {name}; it has {', '.join(sorted(seen)) or 'none'}"
                )
        return pa.schema([(wanted, _arrow_type(seen[wanted] - {type(None)})) for wanted in self.keep])

    def fingerprint(self) -> str:
        """A digest of the tars' names and sizes, and of the fields kept."""
        sizes = [[name, size] for name, size in self._sizes().items()]
        return hashlib.sha256(json.dumps([sizes, self.keep]).encode()).hexdigest()


def _probe(url: str) -> dict[str, set[type]]:
    """The fields of a tar's first samples and the types of their values; none where there is no sample to read."""
    seen: dict[str, set[type]] = {}
    with open_tar(url) as raw, tempfile.TemporaryFile(prefix="tamis-tar-") as plain:
        packed = url.lower().endswith(COMPRESSED)
        if packed:
            with contextlib.suppress(DataError):
                unpack(url, plain, _PROBED_BYTES)
        with contextlib.suppress(DataError):
            for group in islice(groups(plain if packed else raw), PROBED_SAMPLES):
                for name, value in group.fields(plain if packed else raw).items():
                    seen.setdefault(name, set()).add(type(value))
    return seen


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
    image = bytes_of(tar, picture)
    header = inspect(image)
    fields = group.fields(tar)
    caption = group.text(tar, "txt") or _storable(fields.get("caption") or "")
    url = _storable(fields.get("url") or "")
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
        return _storable(value)
    if pa.types.is_boolean(data_type):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if pa.types.is_integer(data_type):
        return value if isinstance(value, int) and abs(value) < 1 << 63 else None
    return float(value) if abs(value) <= sys.float_info.max else None


def _storable(value: Any) -> str:
    """Text as it is, other values as JSON; half of a surrogate pair, which JSON can spell, becomes ``?``."""
    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return told.encode("utf-8", "replace").decode("utf-8")


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
