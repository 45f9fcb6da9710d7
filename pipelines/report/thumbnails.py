"""Thumbnails: a hostile image becomes a small JPEG of our own, as a data URI.

The stored bytes never reach the page: they are decoded by the project's one decoder, scaled to at most ``LONGEST`` px and
encoded again, so that what a browser parses was written here. Price: 1 to 3 ms and about 6 kB a sample.
"""

from __future__ import annotations

import base64

import numpy as np
import simplejpeg
from PIL import Image

from ...corpora.decoding import decode, scale_for

LONGEST = 160
"""The longer side of a thumbnail, in px."""

QUALITY = 80


def thumbnail(encoded: bytes, width: int, height: int, format: str) -> tuple[str, int, int]:
    """A data URI, and the width and height of the picture in it; ``width`` and ``height`` are the original's.

    Raises:
        DataError: the image cannot be decoded.
    """
    need = max(1, LONGEST * min(width, height) // max(width, height, 1))
    pixels = decode(encoded, scale_for(width, height, format, need))
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=None)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), QUALITY, "RGB", "420")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), image.width, image.height
