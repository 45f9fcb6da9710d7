"""The samples of a WebDataset tar: runs of members with one key.

The key is the name up to the first dot of its last part, as WebDataset has it; a member without a dot, or that begins
with one, belongs to no sample. Everything is read by range: a sample is a few numbers until a member is asked for.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from blake3 import blake3

from ..errors import DataError
from ..filesystems import filesystem, is_local
from ..index import TarFile
from ..ranges import open_file
from ..tars import Member, walk

MAX_TEXT_BYTES = 1 << 20
BLOCK_BYTES = 4 << 20
MAX_UNPACKED_RATIO = 64
"""Images hardly shrink; an archive that grows more than this is taken for a bomb."""

_FREE_UNPACKED_BYTES = 64 << 20
_UNPACKED_AT_ONCE = 1 << 16
_IN_SAMPLE = re.compile(r"(?:.*/)?[^./]+\.[^/]*", re.DOTALL)
"""A key, a dot, an ending: ``README`` and ``._0001.jpg``, which macOS puts between members, are in no sample."""


@dataclass(frozen=True)
class Group:
    """The members of one sample."""

    key: str
    members: tuple[Member, ...]

    def member(self, extensions: frozenset[str]) -> Member | None:
        """The first member with one of these endings; ``key.jpg`` comes before ``key.mask.jpg``."""
        named = [(m.name[len(self.key) + 1 :].lower(), m) for m in self.members]
        exact = (m for ending, m in named if ending in extensions)
        return next(exact, next((m for ending, m in named if ending.rsplit(".", 1)[-1] in extensions), None))

    def text(self, tar: IO[bytes], ending: str) -> str:
        """A small text member, or the empty string."""
        found = self.member(frozenset({ending}))
        if found is None or found.size > MAX_TEXT_BYTES:
            return ""
        return bytes_of(tar, found).decode("utf-8", "replace")

    def fields(self, tar: IO[bytes]) -> dict[str, Any]:
        """The ``.json`` member's fields; none when it is missing or not an object."""
        try:
            value = json.loads(self.text(tar, "json") or "{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def bytes_of(tar: IO[bytes], member: Member) -> bytes:
    """The data of a member."""
    tar.seek(member.offset)
    return tar.read(member.size)


def open_tar(url: str) -> IO[bytes]:
    """A seekable reader of a foreign tar."""
    return open_file(url)


@contextmanager
def whole_tar(url: str) -> Iterator[IO[bytes]]:
    """A foreign tar to be read more than once: where it is on this machine, else as a copy of it."""
    with open_tar(url) as tar, tempfile.TemporaryFile(prefix="tamis-tar-") as copy:
        if is_local(filesystem(url)[0]):
            yield tar
            return
        shutil.copyfileobj(tar, copy, BLOCK_BYTES)
        yield copy


def unpack(url: str, target: IO[bytes], enough: float = math.inf) -> None:
    """Write the plain tar inside a gzipped one, or its beginning of ``enough`` bytes.

    Raises:
        DataError: it is not gzip, damaged, cut short, or grows beyond all measure.
    """
    size = 0
    try:
        with open_tar(url) as raw, gzip.open(raw) as plain:
            while size < enough and (
                block := plain.read1(_UNPACKED_AT_ONCE)
            ):  # read() would lose what stands before a cut
                size += len(block)
                if size > max(MAX_UNPACKED_RATIO * raw.tell(), _FREE_UNPACKED_BYTES):
                    raise DataError("too_large", f"{url} unpacks to more than {MAX_UNPACKED_RATIO} times its size")
                target.write(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError("truncated_tar", f"{url}: {error}") from error


def groups(tar: IO[bytes]) -> Iterator[Group]:
    """The samples of a tar, in order; raises what ``walk`` raises, after the samples before the fault.

    The sample that stands at the fault may be cut itself: it counts when it has as many members as the one before it,
    and so the first of a tar never does.
    """
    before: int | None = None
    members: list[Member] = []
    try:
        for member in walk(tar):
            if not _IN_SAMPLE.fullmatch(member.name):
                continue
            if members and key_of(member.name) != key_of(members[0].name):
                yield _group(members)
                before, members = len(members), []
            members.append(member)
    except DataError:
        if before is not None and len(members) >= before:
            yield _group(members)
        raise
    if members:
        yield _group(members)


def _group(members: list[Member]) -> Group:
    return Group(key_of(members[0].name), tuple(members))


def key_of(name: str) -> str:
    """WebDataset's key: the path with its last part cut at the first dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


def hash_tar(url: str, tar: IO[bytes], ours: bool) -> TarFile:
    """Size and BLAKE3 digest of a tar."""
    digest, size = blake3(), 0
    tar.seek(0)
    while block := tar.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return TarFile(url, size, digest.hexdigest(), ours)
