"""What the bytes of a response are: judged by the bytes, never by the Content-Type or the URL.

Web servers answer 200 with an HTML page, with nothing, or with the first half of an image. All of that is found here
from the outer structure alone, before a decoder is asked: a megabyte that unpacks to a gigapixel costs nothing.

Price: 6 us for a JPEG; a GIF, the only format that must be walked to its end, costs 0.2 us for every 255 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import DataError
from .image_headers import Reading, read_bmp, read_gif, read_heif, read_jpeg, read_png, read_tiff, read_webp

MAX_PIXELS = 1 << 26
"""67 megapixels, 200 MB of RGB: more than any camera in wide use, and what the decoder takes too."""

_HTML_PROBE = 1024


@dataclass(frozen=True)
class _Format:
    name: str
    offset: int
    signature: bytes
    read: Callable[[bytes], Reading]
    extension: str


_FORMATS = (
    _Format("jpeg", 0, b"\xff\xd8\xff", read_jpeg, "jpg"),
    _Format("png", 0, b"\x89PNG\r\n\x1a\n", read_png, "png"),
    _Format("webp", 8, b"WEBP", read_webp, "webp"),
    _Format("gif", 0, b"GIF87a", read_gif, "gif"),
    _Format("gif", 0, b"GIF89a", read_gif, "gif"),
    _Format("bmp", 0, b"BM", read_bmp, "bmp"),
    _Format("tiff", 0, b"II*\0", read_tiff, "tiff"),
    _Format("tiff", 0, b"MM\0*", read_tiff, "tiff"),
    _Format("tiff", 0, b"II+\0", read_tiff, "tiff"),
    _Format("tiff", 0, b"MM\0+", read_tiff, "tiff"),
    _Format("avif", 4, b"ftypavif", read_heif, "avif"),
    _Format("avif", 4, b"ftypavis", read_heif, "avif"),
    *(
        _Format("heic", 4, b"ftyp" + brand, read_heif, "heic")
        for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
    ),
)


@dataclass(frozen=True)
class ImageHeader:
    """What an image says of itself. ``width`` and ``height`` in px as stored; ``orientation`` is EXIF's, 1 to 8."""

    format: str
    width: int
    height: int
    animated: bool
    orientation: int
    extension: str

    @property
    def mime(self) -> str:
        """The media type, such as ``image/jpeg``."""
        return f"image/{self.format}"

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer sees them, after the EXIF orientation has been applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect(body: bytes, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Tell what image this is.

    Raises:
        DataError: ``empty``, ``html``, ``not_an_image``, ``truncated``, ``bad_header`` or ``too_many_pixels``; hostile
            bytes raise nothing else.
    """
    if not body:
        raise DataError("empty", "the body has no bytes")
    known = next((f for f in _FORMATS if body.startswith(f.signature, f.offset)), None)
    if known is None or (known.name == "webp" and not body.startswith(b"RIFF")):
        raise _no_image(body)
    read = known.read(body)
    if read.width < 1 or read.height < 1:
        raise DataError("bad_header", f"a {known.name} of {read.width} x {read.height} px")
    if read.width * read.height > max_pixels:
        raise DataError("too_many_pixels", f"{read.width} x {read.height} px is more than {max_pixels} pixels")
    return ImageHeader(known.name, read.width, read.height, read.animated, read.orientation, known.extension)


def _no_image(body: bytes) -> DataError:
    start = body[:_HTML_PROBE].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    markup = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<meta", b"<title", b"<!--")
    if start.startswith(markup) or (start.startswith(b"<") and b"<html" in start):
        return DataError("html", "a web page where an image was expected")
    return DataError("not_an_image", f"no known image begins with {body[:12]!r}")
