"""What image headers say, format by format: stored size, animation, EXIF orientation, and where complete bytes end.

One function a format, each a bounded walk over the file's outer structure; no pixel is decoded and no library is asked.
Every reading is checked against the length of the body, so hostile bytes give ``truncated`` or ``bad_header``, never
another exception, and never more than ``MAX_STEPS`` steps.

    JPEG   markers up to the first scan; complete when an end marker follows it (entropy data cannot hold one)
    PNG    chunks up to the image data; complete when an end chunk follows
    GIF    blocks up to the trailer
    WebP   RIFF chunks; complete when the body is as long as the RIFF size says
    BMP    header; complete when the uncompressed rows are all there
    TIFF   first directory
    AVIF, HEIC   boxes: the largest ``ispe`` is the picture (the others are its tiles and thumbnails)

Sources: ITU T.81, PNG 3rd edition, GIF89a, RFC 9649, MS-WMF, TIFF 6.0, ISO/IEC 23008-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .errors import DataError

ByteOrder = Literal["little", "big"]

MAX_STEPS = 200_000
"""Segments, chunks or blocks in one file. An honest 25 MB GIF has half as many; a hostile one, millions."""

_UPRIGHT = 1
_TIFF_SHORT, _TIFF_LONG, _TIFF_LONG8 = 3, 4, 16
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274


@dataclass(frozen=True)
class Reading:
    """What one header says: size in px as stored, whether there is more than one frame, EXIF orientation (1 to 8)."""

    width: int
    height: int
    animated: bool = False
    orientation: int = _UPRIGHT


def _number(body: bytes, at: int, size: int, order: ByteOrder) -> int:
    if at + size > len(body):
        raise _torn(body)
    return int.from_bytes(body[at : at + size], order)


def _torn(body: bytes) -> DataError:
    return DataError("truncated", f"the body ends at byte {len(body)}, inside the image's structure")


def _steps(what: str) -> Iterator[int]:
    yield from range(MAX_STEPS)
    raise DataError("bad_header", f"more than {MAX_STEPS} {what}")


def read_jpeg(body: bytes) -> Reading:
    """Read segments up to the first scan: the frame header gives the size, the first EXIF block the orientation."""
    at, size, orientation = 2, (0, 0), 0
    for _ in _steps("JPEG segments"):
        at = body.find(b"\xff", at)  # decoders skip what stands between segments, and fill bytes
        if at < 0 or at + 4 > len(body):
            raise _torn(body)
        marker = body[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # no marker, or one without a length
            at += 2
            continue
        if marker in {0xDA, 0xD9}:
            break
        length = body[at + 2] << 8 | body[at + 3]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            size = _number(body, at + 7, 2, "big"), _number(body, at + 5, 2, "big")
        elif marker == 0xE1 and not orientation and body.startswith(b"Exif\0\0", at + 4):
            orientation = exif_orientation(body[at + 10 : at + 2 + length])
        at += 2 + max(length, 2)
    if body.rfind(b"\xff\xd9", at) < 0:
        raise DataError("truncated", "no end-of-image marker after the first scan of the JPEG")
    return Reading(*size, orientation=orientation or _UPRIGHT)


def read_png(body: bytes) -> Reading:
    """Read chunks up to the image data; ``acTL`` makes it an animation, ``eXIf`` may turn it."""
    if body[12:16] != b"IHDR":
        raise DataError("truncated" if len(body) < 24 else "bad_header", "a PNG begins with the chunk IHDR")
    width, height = _number(body, 16, 4, "big"), _number(body, 20, 4, "big")
    animated, orientation, at = False, _UPRIGHT, 8
    for _ in _steps("PNG chunks"):
        length, kind = _number(body, at, 4, "big"), body[at + 4 : at + 8]
        if kind in {b"IDAT", b"IEND"}:
            break
        animated |= kind == b"acTL"
        if kind == b"eXIf":
            orientation = exif_orientation(body[at + 8 : at + 8 + length])
        at += 12 + length
    if body.rfind(b"IEND\xaeB`\x82", at) < 0:
        raise DataError("truncated", "no end chunk in the PNG")
    return Reading(width, height, animated, orientation)


def read_gif(body: bytes) -> Reading:
    """Read blocks up to the trailer and count the frames."""
    width, height = _number(body, 6, 2, "little"), _number(body, 8, 2, "little")
    at, frames = 13 + _palette_bytes(_number(body, 10, 1, "little")), 0
    steps = _steps("GIF blocks")
    for _ in steps:
        kind = _number(body, at, 1, "little")
        if kind == 0x3B:
            break
        if kind == 0x2C:
            frames += 1
            at += 11 + _palette_bytes(_number(body, at + 9, 1, "little"))
        elif kind == 0x21:
            at += 2
        elif kind == 0:  # stray padding, which browsers skip too
            at += 1
            continue
        else:
            raise DataError("bad_header", f"no GIF block begins with {kind:#04x}, at byte {at}")
        length = 1
        while length:
            next(steps)
            if at >= len(body):
                raise _torn(body)
            length = body[at]
            at += 1 + length
    if not frames:
        raise DataError("bad_header", "a GIF without a frame")
    return Reading(width, height, animated=frames > 1)


def _palette_bytes(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def read_webp(body: bytes) -> Reading:
    """Read the first chunk's size; the extended form adds animation and an ``EXIF`` chunk at the end."""
    end = 8 + _number(body, 4, 4, "little")
    if end > len(body):
        raise DataError("truncated", f"the WebP says {end} bytes and has {len(body)}")
    kind = body[12:16]
    if kind == b"VP8 ":
        if body[23:26] != b"\x9d\x01\x2a":
            raise DataError("bad_header", "a VP8 frame without its start code")
        return Reading(_number(body, 26, 2, "little") & 0x3FFF, _number(body, 28, 2, "little") & 0x3FFF)
    if kind == b"VP8L":
        bits = _number(body, 21, 4, "little")
        return Reading(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind != b"VP8X":
        raise DataError("bad_header", f"a WebP begins with VP8, VP8L or VP8X, not {kind!r}")
    flags, sides = _number(body, 20, 1, "little"), _number(body, 24, 6, "little")
    orientation = _webp_orientation(body, end) if flags & 0x08 else _UPRIGHT
    return Reading(1 + (sides & 0xFFFFFF), 1 + (sides >> 24), bool(flags & 0x02), orientation)


def _webp_orientation(body: bytes, end: int) -> int:
    at = 12
    for _ in _steps("WebP chunks"):
        if at + 8 > end:
            return _UPRIGHT
        length = _number(body, at + 4, 4, "little")
        if body.startswith(b"EXIF", at):
            return exif_orientation(body[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + (length & 1)
    return _UPRIGHT


def read_bmp(body: bytes) -> Reading:
    """Read the bitmap header; a negative height stores the rows from the top."""
    header_bytes = _number(body, 14, 4, "little")
    if header_bytes == 12:
        width, height, depth = (_number(body, at, 2, "little") for at in (18, 20, 24))
        packed = False
    elif header_bytes in {16, 40, 52, 56, 64, 108, 124}:
        width, height = _signed32(body, 18), abs(_signed32(body, 22))
        depth = _number(body, 28, 2, "little")
        packed = _number(body, 30, 4, "little") not in {0, 3}
    else:
        raise DataError("bad_header", f"no BMP header has {header_bytes} bytes")
    rows = -(-max(width, 0) * depth // 32) * 4 * height
    if not packed and _number(body, 10, 4, "little") + rows > len(body):
        raise DataError("truncated", f"the rows of the BMP take {rows} bytes; the body has {len(body)} in all")
    return Reading(max(width, 0), height)


def _signed32(body: bytes, at: int) -> int:
    value = _number(body, at, 4, "little")
    return value - (1 << 32) if value >> 31 else value


def read_tiff(body: bytes) -> Reading:
    """Read the first directory of a TIFF or BigTIFF."""
    tags = dict(_directory(body))
    orientation = tags.get(_TIFF_ORIENTATION, _UPRIGHT)
    width, height = tags.get(_TIFF_WIDTH, 0), tags.get(_TIFF_HEIGHT, 0)
    return Reading(width, height, orientation=orientation if 1 <= orientation <= 8 else _UPRIGHT)


def exif_orientation(tiff: bytes) -> int:
    """Read EXIF orientation, 1 to 8, from a TIFF block; 1 when there is none or it makes no sense."""
    if tiff[:4] not in {b"II*\0", b"MM\0*"}:
        return _UPRIGHT
    try:
        orientation = dict(_directory(tiff)).get(_TIFF_ORIENTATION, _UPRIGHT)
    except DataError:  # a torn EXIF block spoils the orientation, not the image
        return _UPRIGHT
    return orientation if 1 <= orientation <= 8 else _UPRIGHT


def _directory(body: bytes) -> Iterator[tuple[int, int]]:
    """The tags of the first directory that hold one whole number, with that number."""
    order: ByteOrder = "little" if body.startswith(b"II") else "big"
    big = _number(body, 2, 2, order) == 43
    start = _number(body, 8, 8, order) if big else _number(body, 4, 4, order)
    counter, entry, pointer = (8, 20, 8) if big else (2, 12, 4)
    sizes = {_TIFF_SHORT: 2, _TIFF_LONG: 4, _TIFF_LONG8: 8}
    for index, _ in zip(range(_number(body, start, counter, order)), _steps("TIFF tags"), strict=False):
        at = start + counter + index * entry
        tag, kind = _number(body, at, 2, order), _number(body, at + 2, 2, order)
        size = sizes.get(kind, 0)
        if 0 < size <= pointer and _number(body, at + 4, pointer, order) == 1:
            yield tag, _number(body, at + 4 + pointer, size, order)


def read_heif(body: bytes) -> Reading:
    """Read an AVIF or HEIC: boxes as far as the metadata, and the largest picture in them."""
    at, meta, has_media = 0, b"", False
    for _ in _steps("HEIF boxes"):
        if at == len(body):
            break
        size, kind = _box(body, at)
        if kind == b"meta":
            meta = body[at : at + size]
        has_media |= kind == b"mdat"
        at += size
    if not has_media and b"idat" not in meta:
        raise _torn(body)
    sizes = [_extents(meta, at) for at in _places(meta, b"ispe") if at + 16 <= len(meta)]
    width, height = max(sizes, key=lambda sides: sides[0] * sides[1], default=(0, 0))
    turns = {meta[at + 4] & 3 for at in _places(meta, b"irot") if at + 4 < len(meta)}
    # irot counts quarter turns anticlockwise; as EXIF orientations these are 8, 3 and 6.
    orientation = (_UPRIGHT, 8, 3, 6)[turns.pop()] if len(turns) == 1 else _UPRIGHT
    return Reading(width, height, animated=body[8:12] in {b"avis", b"hevc", b"msf1"}, orientation=orientation)


def _box(body: bytes, at: int) -> tuple[int, bytes]:
    size, kind = _number(body, at, 4, "big"), body[at + 4 : at + 8]
    if size == 1:
        size = _number(body, at + 8, 8, "big")
    elif size == 0:  # to the end of the file
        size = len(body) - at
    if size < 8:
        raise DataError("bad_header", f"a box of {size} bytes at byte {at}")
    if at + size > len(body):
        raise DataError("truncated", f"a box of {size} bytes at byte {at}; the body has {len(body)}")
    return size, kind


def _places(meta: bytes, kind: bytes) -> Iterator[int]:
    at = meta.find(kind)
    for _ in _steps(f"{kind!r} boxes"):
        if at < 0:
            return
        yield at
        at = meta.find(kind, at + 4)


def _extents(meta: bytes, at: int) -> tuple[int, int]:
    return _number(meta, at + 8, 4, "big"), _number(meta, at + 12, 4, "big")
