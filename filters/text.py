"""Which words stand in the picture, and how much of the caption they spell: the parrot rate.

``words``, ``boxes`` and ``confidences`` run in parallel, in reading order. A word is a run of characters without a space,
so a line of Chinese is one word; a box is its line's quadrangle cut in proportion to the characters. Words without a
letter or digit are left out. Circles, crosses and stars read as "O", "+" and "10": a picture in which no word has
``min_letters`` letters or digits (an ideograph counts twice) has no text, while beside a longer word short ones count.

Price, one thread: 15 ms for a 224 px photograph, 50 ms for a 300 px poster (``models/spotting.py``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from ..corpora.errors import ConfigError
from ..models.spotting import ENGINES, Pixels, Word, load_spotter, weights_digest
from .parrot import cotr, cotr_fuzzy
from .scorer import Column, Device, Needs, Sample, Scorer

_COLUMNS = (
    Column("words", pa.list_(pa.string()), "", "spotted words, line by line from the top"),
    Column(
        "boxes",
        pa.list_(pa.list_(pa.float32())),
        "share",
        "a word's corners x1 y1 .. x4 y4, clockwise from its own top left, as shares of the picture's width and height",
    ),
    Column("confidences", pa.list_(pa.float32()), "", "the spotter's confidence in the line of each word, 0 to 1"),
    Column("num_words", pa.int32(), "words", "the length of words"),
    Column("truncated", pa.bool_(), "", "whether more words than max_words were spotted"),
    Column("has_text", pa.bool_(), "", "whether any word was spotted"),
    Column("text_area", pa.float32(), "share", "the boxes' areas added up, as a share of the picture's, at most 1"),
    Column("parrot_rate", pa.float32(), "share", "share of the caption's distinct words that are spotted"),
    Column("parrot_rate_fuzzy", pa.float32(), "share", "the same, with spelling slips and joined words forgiven"),
)


@dataclass(frozen=True)
class Text(Scorer):
    """Spots text; the rates are null for a caption without words."""

    engine: str = "rapidocr"
    min_confidence: float = 0.7
    """Lines below are not text: on photographs they are nearly all mistaken; above, recall was the same up to 0.8."""

    min_letters: int = 3
    max_side: int = 1280
    """A longer picture is scaled down to it, in px; none is ever scaled up."""

    max_words: int = 200

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"text: engine is {self.engine!r}; known: {', '.join(ENGINES)}")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"text: min_confidence is {self.min_confidence}; it must lie between 0 and 1")
        for name, least in (("min_letters", 1), ("max_side", 32), ("max_words", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"text: {name} is {getattr(self, name)}; it must be at least {least}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The words, where they are, and what they share with the caption."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """Pixels up to ``max_side``, and the caption."""
        return Needs(pixels=self.max_side, columns=("caption",), extra="ocr")

    def model_digest(self) -> str:
        """SHA-256 over the spotter's weights."""
        return weights_digest(self.engine)

    def setup(self, device: Device) -> None:
        """Load the spotter, once a process."""
        load_spotter(self.engine)

    def prepare(self, sample: Sample) -> tuple[Pixels, str]:
        """Give the pixels within ``max_side``, and the caption."""
        assert sample.pixels is not None
        return _within(sample.pixels, self.max_side), sample.row["caption"] or ""

    def score(self, batch: Sequence[tuple[Pixels, str] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Spot the words of each picture in turn."""
        spotter = load_spotter(self.engine)
        rows = [self._row(spotter.spot(place[0]), *place) if place else {} for place in batch]
        return {column.name: [row.get(column.name) for row in rows] for column in _COLUMNS}

    def _row(self, spotted: Sequence[Word], pixels: Pixels, caption: str) -> dict[str, Any]:
        found = [word for word in spotted if word.confidence >= self.min_confidence and _letters(word.text)]
        if not any(_letters(word.text) >= self.min_letters for word in found):
            found = []
        kept = found[: self.max_words]
        boxes = _relative(kept, pixels)
        text = " ".join(word.text for word in kept)
        return {
            "words": [word.text for word in kept],
            "boxes": boxes.reshape(-1, 8).tolist(),
            "confidences": [word.confidence for word in kept],
            "num_words": len(kept),
            "truncated": len(found) > len(kept),
            "has_text": bool(kept),
            "text_area": min(1.0, float(_areas(boxes).sum())),
            "parrot_rate": cotr(caption, text),
            "parrot_rate_fuzzy": cotr_fuzzy(caption, text),
        }


def _letters(word: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1 for c in word if c.isalnum())


def _relative(words: Sequence[Word], pixels: Pixels) -> NDArray[np.float32]:
    """The words' corners as shares of the picture's width and height, shape (words, 4, 2)."""
    height, width = pixels.shape[:2]
    corners = np.array([word.box for word in words]).reshape(-1, 4, 2) / (width, height)
    return corners.clip(0, 1).astype(np.float32)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The areas of quadrangles, shape (words, 4, 2), by the shoelace formula."""
    x, y = boxes[:, :, 0], boxes[:, :, 1]
    signed: NDArray[np.float32] = (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1) / 2
    return np.abs(signed)


def _within(pixels: Pixels, max_side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
