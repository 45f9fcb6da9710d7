"""From stored bytes to upright RGB pixels: the one decoder that all scorers of a row share.

How far a JPEG is scaled while it is decoded (inside the DCT, at 1/2, 1/4 or 1/8) depends on its size and on the need of
the scorer alone, never on who else asks, so that a column is the same whether its scorer runs alone or in company.

JPEG goes through simplejpeg with libjpeg-turbo's exact DCT and smooth upsampling, the same pixels as Pillow's, at
0.7 ms for 512 x 384 (Pillow 0.9 ms); what simplejpeg does not take (CMYK) and the other formats go through Pillow's own
class of that format. Pillow's registry is not asked: it would offer hostile bytes to forty parsers, Ghostscript's among
them. EXIF orientation is applied, transparency is laid on white, an animation gives its first frame, 16 bits give their
high 8, and colour profiles are not applied. The header's size is judged before a pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import simplejpeg
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..corpora.errors import DataError
from .scorer import FULL, Pixels

MAX_PIXELS = 1 << 26
"""67 megapixels: above it an image is refused, for 200 MB of RGB is more than a worker should give one row."""

MAX_JPEG_SCANS = 100
"""An honest progressive JPEG has about ten scans; thousands of empty ones cost minutes a kilobyte."""

_MAX_JPEG_SEGMENTS = 256
_ORIENTATION_TAG = 0x0112

_Opener = Callable[[io.BytesIO], ImageFile.ImageFile]

_SIGNATURES: tuple[tuple[int, bytes, _Opener], ...] = (
    (0, b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (0, b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (0, b"GIF8", GifImagePlugin.GifImageFile),
    (8, b"WEBP", WebPImagePlugin.WebPImageFile),
    (4, b"ftypavi", AvifImagePlugin.AvifImageFile),
    (0, b"BM", BmpImagePlugin.BmpImageFile),
    (0, b"II*\0", TiffImagePlugin.TiffImageFile),
    (0, b"MM\0*", TiffImagePlugin.TiffImageFile),
)
"""Where the signature stands, the signature, and the class that reads the rest."""

_PILLOW_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's parsers raise on hostile bytes, by fuzzing; they promise nothing narrower."""

_WARNINGS = threading.Lock()


def scale_for(width: int, height: int, format: str, need: int) -> int:
    """Give the DCT denominator (1, 2, 4 or 8) to decode with: the largest that leaves the shorter side ``need`` px."""
    if need == FULL or format.lower() not in {"jpeg", "jpg"}:
        return 1
    return next((d for d in (8, 4, 2) if min(width, height) // d >= need), 1)


def decode(encoded: bytes, denominator: int = 1, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode to upright RGB, shape (height, width, 3), scaled by ``1 / denominator`` if it is a JPEG.

    Raises:
        DataError: ``too_many_pixels`` by the header, ``truncated``, or ``broken_image`` for everything else.
    """
    opener = next((o for at, sign, o in _SIGNATURES if encoded.startswith(sign, at)), None)
    if opener is None:
        raise DataError("broken_image", f"no known image signature in {encoded[:12]!r}")
    if opener is JpegImagePlugin.JpegImageFile:
        return _decode_jpeg(encoded, denominator, max_pixels)
    with _pillow_faults():
        return _decode_pillow(opener, encoded, max_pixels)


def _decode_jpeg(encoded: bytes, denominator: int, max_pixels: int) -> Pixels:
    if encoded.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise DataError("broken_image", f"a JPEG of more than {MAX_JPEG_SCANS} scans")
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        _check_size(width, height, max_pixels)
        least_height, least_width = -(-height // denominator), -(-width // denominator)
        if colours == "CMYK":
            with _pillow_faults():
                pixels = _decode_cmyk(encoded, (least_width, least_height))
        else:
            pixels = simplejpeg.decode_jpeg(encoded, "RGB", False, False, least_height, least_width, denominator)
    except ValueError as error:
        raise _data_error(error) from error
    return _upright(pixels, _orientation(_jpeg_exif(encoded)))


def _decode_cmyk(encoded: bytes, size: tuple[int, int]) -> Pixels:
    with _silent():
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(encoded))
    image.draft("CMYK", size)
    return np.asarray(image.convert("RGB"))


def _decode_pillow(opener: _Opener, encoded: bytes, max_pixels: int) -> Pixels:
    with _silent():
        image = opener(io.BytesIO(encoded))
        _check_size(*image.size, max_pixels)
        if image.format == "TIFF":  # warns while it loads; also turns itself upright, so that no orientation is left
            image.load()
    image.load()
    pixels = _on_white(image)
    exif = image.info.get("exif", b"")
    upright = image.format == "TIFF" or not isinstance(exif, bytes)
    return pixels if upright else _upright(pixels, _orientation(exif.removeprefix(b"Exif\0\0")))


def _on_white(image: ImageFile.ImageFile) -> Pixels:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise DataError("broken_image", f"{image.format} of mode {image.mode}: 32-bit values have no declared range")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", rgba.size, "white")
        canvas.paste(rgba, mask=rgba)
        return np.asarray(canvas)
    return np.asarray(image.convert("RGB"))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DataError("too_many_pixels", f"{width} x {height} px is more than {max_pixels} pixels")


def _jpeg_exif(encoded: bytes) -> bytes:
    """The TIFF block of the first EXIF segment before the first scan, or nothing."""
    at = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        marker, length = encoded[at : at + 2], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker[:1] != b"\xff" or marker == b"\xff\xda" or length < 2:
            break
        if marker == b"\xff\xe1" and encoded.startswith(b"Exif\0\0", at + 4):
            return encoded[at + 10 : at + 2 + length]
        at += 2 + length
    return b""


def _orientation(tiff: bytes) -> int:
    """EXIF orientation, 1 to 8, from the first directory of a TIFF block; 1 when there is none or it makes no sense."""
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"
    start = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[start : start + 2], order)
    for at in range(start + 2, min(start + 2 + 12 * entries, len(tiff)), 12):
        if int.from_bytes(tiff[at : at + 2], order) == _ORIENTATION_TAG:
            value = int.from_bytes(tiff[at + 8 : at + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in {3, 4, 7, 8} else 1
    columns = -1 if orientation in {2, 3, 6, 7} else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


@contextmanager
def _pillow_faults() -> Iterator[None]:
    try:
        yield
    except _PILLOW_FAULTS as error:
        raise _data_error(error) from error


def _data_error(error: BaseException) -> DataError:
    told = f"{type(error).__name__}: {error}"
    cut = isinstance(error, EOFError) or "truncated" in told.lower() or "Premature end of JPEG" in told
    return DataError("truncated" if cut else "broken_image", told)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Pillow's warnings about hostile metadata from the user; the filters are the process's, hence the lock."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
