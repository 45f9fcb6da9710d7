"""What is the same picture: to the byte, to the pixel, and to the eye.

``sha256`` is of the stored bytes. ``pixels_sha256`` is of the decoded picture and its shape, so a PNG, its re-compression
and its lossless WebP agree, and so do a turned JPEG and its upright pixels. ``phash`` is the 64-bit perceptual hash: grey,
Lanczos to 32 x 32, DCT-II, the 8 x 8 lowest frequencies against their median; scaled and re-encoded copies differ in a few
bits. It equals ``imagehash.phash`` of the upright RGB picture (J. Buchner; after N. Krawetz, "Looks Like It", 2011), but
for pictures whose coefficients tie with their median, such as one-coloured ones, where that one depends on rounding.

Price: 1 ms at 300 x 400 px, beside decoding at full scale.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from .scorer import FULL, Column, Device, Needs, Pixels, Sample, Scorer

_COLUMNS = (
    Column("sha256", pa.string(), "64 hex digits", "SHA-256 of the stored bytes"),
    Column("pixels_sha256", pa.string(), "64 hex digits", "SHA-256 of height, width and upright 8-bit RGB pixels"),
    Column("phash", pa.string(), "16 hex digits", "64-bit DCT perceptual hash; near copies differ in few bits"),
)

_SIDE = 32
_LOW = 8
_DCT: NDArray[np.float64] = np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))
"""The first rows of the DCT-II matrix, all to one scale, as in scipy without normalisation."""

_DECIMALS = 6  # coefficients are sums of 1,024 grey levels: what lies below is rounding, and would decide flat pictures


@dataclass(frozen=True)
class Hashes(Scorer):
    """Hashes bytes, pixels and appearance; has no settings."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Three hashes in hexadecimal."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """The bytes, and all of the pixels."""
        return Needs(pixels=FULL, encoded=True)

    def prepare(self, sample: Sample) -> tuple[str, str, str]:
        """Hash one picture: there is nothing to gain from a batch."""
        assert sample.pixels is not None
        return hashlib.sha256(sample.encoded).hexdigest(), pixels_sha256(sample.pixels), phash(sample.pixels)

    def score(self, batch: Sequence[tuple[str, str, str] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {c.name: [place[at] if place else None for place in batch] for at, c in enumerate(_COLUMNS)}


def pixels_sha256(pixels: Pixels) -> str:
    """Give the SHA-256 of height and width (two big-endian uint32) followed by the pixels, row by row."""
    height, width = pixels.shape[:2]
    return hashlib.sha256(struct.pack(">II", height, width) + pixels.tobytes()).hexdigest()


def phash(pixels: Pixels) -> str:
    """Give the 64-bit perceptual hash of RGB pixels; bits row by row from the lowest frequency, the first one highest."""
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = np.round(_DCT @ np.asarray(grey, np.float64) @ _DCT.T, _DECIMALS)
    return np.packbits(low > np.median(low)).tobytes().hex()
