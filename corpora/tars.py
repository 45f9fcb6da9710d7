"""Standard, uncompressed WebDataset tars: a writer whose bytes depend on the members alone, and a header walker.

A member is a 512-byte ustar header, its data, and zeros up to the next multiple of 512; two zero blocks end the archive:

    [header|image|pad][header|txt|pad][header|json|pad] ... [1024 zeros]

Owner, mode and time are constants, so a sample's bytes are the same in whichever tar it stands, and whole samples are
copied by range. Archives are named by BLAKE3, which is three times as fast as SHA-256 here: an export copies at the
speed of its digest. Price: 32 us a sample to write (python's tarfile 116), header reads only to walk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from blake3 import blake3

from .errors import DataError

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_EXTENDED_BYTES = 64 * 1024
"""A longer extended header (GNU long name, pax records) is taken for a hostile archive."""

MAX_MEMBER_BYTES = 8**11
"""What a ustar header cannot say any more."""

_FILES = frozenset({b"0", b"\0", b"7"})
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
"""Links, devices, folders: a size in their header means nothing."""

_PAX_RECORD = re.compile(rb"(\d{1,5}) ([^=]+)=")


@dataclass(frozen=True)
class Member:
    """One regular file in a tar: where its header begins, and its data."""

    name: str
    header_offset: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset after the padding."""
        return padded(self.offset + self.size)


def padded(size: int) -> int:
    """``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """The ustar header of a regular file; ``name`` at most 100 bytes, as every ``<uid>.<ext>`` is."""
    encoded = name.encode()
    if len(encoded) > 100:
        raise DataError("name_too_long", f"{name!r} has {len(encoded)} bytes; a ustar name has at most 100")
    if size >= MAX_MEMBER_BYTES:
        raise DataError("too_large", f"{name!r} has {size} bytes; a ustar member has less than {MAX_MEMBER_BYTES}")
    fields = encoded.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0"
    rest = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
    checksum = sum(fields) + 8 * 32 + sum(rest)
    return fields + b"%06o\0 " % checksum + rest


class Sink(Protocol):
    """What a tar is written to."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take bytes."""


class TarWriter:
    """Writes members in the order given, and hashes the whole archive on the way."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = blake3()
        self.size = 0

    def add(self, name: str, data: bytes) -> Member:
        """Append a file."""
        start = self.size
        self.append(b"".join((header(name, len(data)), data, bytes(padded(len(data)) - len(data)))))
        return Member(name, start, start + BLOCK, len(data))

    def append(self, members: bytes | memoryview) -> None:
        """Append whole members as they are (a range of another of our tars)."""
        self._sink.write(members)
        self._digest.update(members)
        self.size += len(members)

    def close(self) -> str:
        """End the archive; its BLAKE3 digest in hex."""
        self.append(END)
        return self._digest.hexdigest()


def walk(source: IO[bytes]) -> Iterator[Member]:
    """The regular files of a tar in order, by headers alone (ustar, GNU long names, pax paths and sizes, base-256 sizes).

    Raises:
        DataError: ``truncated_tar`` or ``broken_tar``; members before the fault have been given.
    """
    size = source.seek(0, 2)
    position = 0
    told: dict[bytes, bytes] = {}  # what extended headers say of the member after them
    while position + BLOCK <= size:
        source.seek(position)
        block = source.read(BLOCK)
        if not block.strip(b"\0"):
            return
        kind, data = block[156:157], position + BLOCK
        length = _length(block, kind, told, position)
        if data + length > size:
            raise DataError(
                "truncated_tar", f"a member at offset {position} says {length} bytes, {size - data} are left"
            )
        if kind in {b"L", b"x"}:
            told |= _extended(source, kind, length, position)
        elif kind not in {b"K", b"g"}:
            if kind in _FILES:
                yield Member(_name(block, told), position, data, length)
            told = {}
        position = padded(data + length)
    raise DataError("truncated_tar", f"the archive ends at offset {size}, before its end-of-archive block")


def _length(block: bytes, kind: bytes, told: dict[bytes, bytes], position: int) -> int:
    """How many bytes of data follow, after the header's checksum has been found right."""
    try:
        checksum, length = _number(block[148:156]), _number(block[124:136])
        if kind in _FILES and b"size" in told:
            length = _decimal(told[b"size"])
    except ValueError as error:
        raise DataError("broken_tar", f"no tar header at offset {position}") from error
    if checksum != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise DataError("broken_tar", f"the header at offset {position} fails its checksum")
    return 0 if kind in _WITHOUT_DATA else length


def _number(field: bytes) -> int:
    """A number field: octal digits, or base 256 when its first bit is set."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise ValueError("negative")
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):  # int() takes signs and underscores, too
        raise ValueError("not octal")
    return int(digits or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError("not decimal")
    return int(digits)


def _name(block: bytes, told: dict[bytes, bytes]) -> str:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    found = told.get(b"path", prefix + b"/" + name if prefix else name)
    return found.decode("utf-8", "backslashreplace")  # two names stay two names


def _extended(source: IO[bytes], kind: bytes, length: int, position: int) -> dict[bytes, bytes]:
    """What an extended header says: a GNU long name as ``path``, or pax records."""
    if length > MAX_EXTENDED_BYTES:
        raise DataError("broken_tar", f"an extended header of {length} bytes at offset {position}")
    data = source.read(length)
    if kind == b"L":
        return {b"path": data.split(b"\0", 1)[0]}
    records: dict[bytes, bytes] = {}
    at = 0
    while at < length:
        found = _PAX_RECORD.match(data, at)
        end = at + int(found[1]) if found else 0
        if found is None or not found.end() < end <= length:
            raise DataError("broken_tar", f"the pax header at offset {position} has no record at its byte {at}")
        records[found[2]] = data[found.end() : end - 1]
        at = end
    return records
