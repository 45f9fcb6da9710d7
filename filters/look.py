"""How a picture looks by its numbers alone: blur, entropy, exposure, contrast, colour, animation.

Every picture is first brought to one size, for all of these change with it (half the size, four times the variance of
the Laplacian): the shorter side to ``side`` px by area averaging, never up. A picture that is smaller to begin with is
measured as it is, so judge ``blur`` beside ``min_side``.

Of 300 photographs none has blur < 150, entropy < 4.7, contrast < 0.07, or dark_share or bright_share > 0.88. Suspicious
are blur < 100 (out of focus), dark_share > 0.9 (black), bright_share > 0.9 and entropy < 3 (placeholders, logos, pages),
contrast < 0.03 (one colour).

Price: 0.5 ms at 256 x 341 px, and as much again to scale a 512 px picture to it. Variance of the Laplacian as focus:
Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from ..corpora.errors import ConfigError
from ..corpora.sniffing import inspect
from .scorer import Column, Device, Needs, Pixels, Sample, Scorer

DARK_BELOW = 26
"""Grey levels below it (a tenth of the range) are counted in ``dark_share``."""

BRIGHT_FROM = 230
"""Grey levels from it on (a tenth of the range) are counted in ``bright_share``."""

_COLUMNS = (
    Column("animated", pa.bool_(), "", "whether the file holds more than one frame; the first one is measured"),
    Column("blur", pa.float32(), "grey levels squared", "variance of the grey Laplacian (4 neighbours); low is blurry"),
    Column("entropy", pa.float32(), "bits", "entropy of the grey histogram of 256 levels, 0 to 8"),
    Column("brightness", pa.float32(), "share", "mean grey, 0 black to 1 white"),
    Column("contrast", pa.float32(), "share", "standard deviation of grey, 0 to 0.5"),
    Column("dark_share", pa.float32(), "share", f"share of pixels with grey below {DARK_BELOW} of 255"),
    Column("bright_share", pa.float32(), "share", f"share of pixels with grey {BRIGHT_FROM} of 255 or more"),
    Column("saturation", pa.float32(), "share", "mean HSV saturation, 0 for a grey picture"),
)


@dataclass(frozen=True)
class Look(Scorer):
    """Measures sharpness, exposure and colour with numpy alone."""

    side: int = 256
    """The shorter side, in px, at which pictures are measured."""

    def __post_init__(self) -> None:
        if self.side < 16:
            raise ConfigError(f"look: side is {self.side}; it must be at least 16")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Whether it moves, and seven statistics."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """Pixels of ``side``, and the bytes, which tell of animation."""
        return Needs(pixels=self.side, encoded=True)

    def prepare(self, sample: Sample) -> dict[str, float | bool]:
        """Measure the picture: there is nothing to gain from a batch."""
        assert sample.pixels is not None
        return {"animated": inspect(sample.encoded).animated, **statistics(_at(sample.pixels, self.side))}

    def score(self, batch: Sequence[dict[str, float | bool] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {column.name: [place[column.name] if place else None for place in batch] for column in _COLUMNS}


def statistics(pixels: Pixels) -> dict[str, float]:
    """Give blur, entropy, brightness, contrast, exposure and saturation of RGB pixels as they are."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))  # ITU-R 601 luma
    histogram = np.bincount(grey.ravel(), minlength=256)
    shares = histogram / grey.size
    present = shares[shares > 0]
    levels = np.arange(256) / 255
    brightness = float((shares * levels).sum())
    return {
        "blur": _laplacian_variance(grey),
        "entropy": float(abs((present * np.log2(present)).sum())),
        "brightness": brightness,
        "contrast": float(np.sqrt((shares * (levels - brightness) ** 2).sum())),
        "dark_share": float(shares[:DARK_BELOW].sum()),
        "bright_share": float(shares[BRIGHT_FROM:].sum()),
        "saturation": _saturation(pixels),
    }


def _laplacian_variance(grey: NDArray[np.uint8]) -> float:
    """The variance over inner pixels; 0 for a picture that has none."""
    if min(grey.shape) < 3:
        return 0.0
    g = grey.astype(np.int16)
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def _saturation(pixels: Pixels) -> float:
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    # By planes: numpy's reduction over an axis of three takes fifty times as long.
    highest = np.maximum(np.maximum(red, green), blue)
    spread = highest - np.minimum(np.minimum(red, green), blue)
    return float(np.divide(spread, np.maximum(highest, 1), dtype=np.float32).mean(dtype=np.float64))


def _at(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    if min(height, width) <= side:
        return pixels
    scale = side / min(height, width)
    return np.asarray(
        Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
    )
