"""From stored bytes to upright RGB pixels: the one decoder, for scorers, thumbnails and what is resized while it is fetched.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import simplejpeg
from numpy.typing import NDArray
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

from .errors import DataError
from .sniffing import MAX_PIXELS, ImageHeader, inspect

Pixels = NDArray[np.uint8]
"""Decoded RGB, shape (height, width, 3)."""

MAX_JPEG_SCANS = 100
"""An honest progressive JPEG has about ten scans; thousands of empty ones cost minutes a kilobyte."""

_OPENERS: Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "avif": AvifImagePlugin.AvifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}

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
    """Give the DCT denominator (1, 2, 4 or 8) to decode with: the largest that leaves the shorter side ``need`` px.

    A need of 0 is that of the full resolution.
    """
    if need == 0 or format.lower() not in {"jpeg", "jpg"}:
        return 1
    return next((d for d in (8, 4, 2) if min(width, height) // d >= need), 1)


def decode(encoded: bytes, denominator: int = 1, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode to upright RGB, shape (height, width, 3), scaled by ``1 / denominator`` if it is a JPEG.

    A JPEG in which libjpeg finds damage is broken, though viewers show it (with a smear, mostly).

    Raises:
        DataError: ``too_many_pixels`` by the header, ``truncated``, or ``broken_image`` for everything else.
    """
    header = _inspect(encoded, max_pixels)
    if header.format == "jpeg":
        return _upright(_decode_jpeg(encoded, denominator, max_pixels), header.orientation)
    with _pillow_faults():
        return _decode_pillow(encoded, header, max_pixels)


def _inspect(encoded: bytes, max_pixels: int) -> ImageHeader:
    try:
        header = inspect(encoded, max_pixels)
    except DataError as error:
        if error.reason in {"too_many_pixels", "truncated"}:
            raise
        raise DataError("broken_image", str(error)) from error
    if header.format not in _OPENERS:
        raise DataError("broken_image", f"there is no decoder for {header.format}")
    return header


def _decode_jpeg(encoded: bytes, denominator: int, max_pixels: int) -> Pixels:
    if encoded.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise DataError("broken_image", f"a JPEG of more than {MAX_JPEG_SCANS} scans")
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        _check_size(width, height, max_pixels)
        least_height, least_width = -(-height // denominator), -(-width // denominator)
        if colours != "CMYK":
            pixels: Pixels = simplejpeg.decode_jpeg(
                encoded, "RGB", min_height=least_height, min_width=least_width, min_factor=denominator
            )
            return pixels
    except ValueError as error:
        raise _data_error(error) from error
    with _pillow_faults():
        return _decode_cmyk(encoded, (least_width, least_height))


def _decode_cmyk(encoded: bytes, size: tuple[int, int]) -> Pixels:
    with _silent():
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(encoded))
    image.draft("CMYK", size)
    return np.array(image.convert("RGB"))


def _decode_pillow(encoded: bytes, header: ImageHeader, max_pixels: int) -> Pixels:
    tiff = header.format == "tiff"
    with _silent():
        image = _OPENERS[header.format](io.BytesIO(encoded))
        _check_size(*image.size, max_pixels)
        if tiff:  # warns while it loads, and turns itself upright
            image.load()
    image.load()
    return _on_white(image) if tiff else _upright(_on_white(image), header.orientation)


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
        return np.array(canvas)
    return np.array(image.convert("RGB"))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DataError("too_many_pixels", f"{width} x {height} px is more than {max_pixels} pixels")


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
