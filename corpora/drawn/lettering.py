"""Letters on a picture: fitted to a box, laid out flat on a sheet, then warped over the ground.

The sheet is transparent but for the letters (or an opaque board), in the colour of the letters' edge, so that warping
mixes no foreign colour into them. A warp is a tilt and a mild perspective: the sheet's four corners are turned, pulled
by some per cent, and shrunk until all of them lie in the picture. It is weakened until the smallest line is still
``MIN_TEXT_PX`` high. Price: about 3 ms for a 320 x 320 px sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .fonts import Font

MIN_TEXT_PX = 16.0
"""The least size of letters (the em square's side) after warping: what spotters read without upscaling."""

MAX_TILT_DEGREES = 12.0
MAX_PULL = 0.06
"""How far perspective pulls a corner, as a share of the sheet's sides."""

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST_CONTRAST = 80  # grey levels between letters and ground
_LINE_HEIGHT = 1.2  # of the font's size


@dataclass(frozen=True)
class Row:
    """Text and the box that it is fitted to and centred in: left, top, right, bottom in px."""

    text: str
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class Ink:
    """The colour of letters, and of the outline around them (None for no outline)."""

    fill: Colour
    outline: Colour | None = None


def contrasting(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Choose a ground and a colour for letters that can be read on it."""
    while True:
        ground, letters = rng.integers(0, 256, (2, 3))
        if abs(float((ground - letters) @ _LUMA)) >= _LEAST_CONTRAST:
            return _colour(ground), _colour(letters)


def _colour(levels: NDArray[np.int64]) -> Colour:
    red, green, blue = (int(level) for level in levels)
    return red, green, blue


def blank(width: int, height: int, ink: Ink, board: Colour | None = None) -> Image.Image:
    """Start a sheet: opaque in the colour of ``board``, or transparent."""
    edge = ink.outline or ink.fill
    return Image.new("RGBA", (width, height), (*board, 255) if board else (*edge, 0))


def letter(sheet: Image.Image, rows: Sequence[Row], font: Font, ink: Ink) -> int:
    """Write each row as large as its box allows, on one line or on two, and return the smallest size in px."""
    pen = ImageDraw.Draw(sheet)
    smallest_px = max(sheet.size)
    for row in rows:
        left, top, right, bottom = row.box_px
        lines, size_px = _fit(row.text, font, right - left, bottom - top)
        stroke_px = max(1, size_px // 14) if ink.outline else 0
        first = (top + bottom) / 2 - (len(lines) - 1) * size_px * _LINE_HEIGHT / 2
        for place, line in enumerate(lines):
            at = ((left + right) / 2, first + place * size_px * _LINE_HEIGHT)
            pen.text(
                at,
                line,
                font=font.at(size_px),
                anchor="mm",
                fill=ink.fill,
                stroke_width=stroke_px,
                stroke_fill=ink.outline,
            )
        smallest_px = min(smallest_px, size_px)
    return smallest_px


def _fit(text: str, font: Font, width_px: float, height_px: float) -> tuple[list[str], int]:
    """The break into at most two lines that allows the largest letters, and their size."""
    words = text.split()
    breaks = [[text], *([" ".join(words[:cut]), " ".join(words[cut:])] for cut in range(1, len(words)))]
    sizes = [_size(lines, font, width_px, height_px) for lines in breaks]
    best = max(range(len(breaks)), key=sizes.__getitem__)
    return breaks[best], sizes[best]


def _size(lines: Sequence[str], font: Font, width_px: float, height_px: float) -> int:
    """The largest size at which the centred ``lines`` fit; widths grow in proportion to the size."""
    reference_px = 40
    boxes = [font.at(reference_px).getbbox(line, anchor="mm") for line in lines]
    widest = max(2 * max(-left, right) for left, _, right, _ in boxes)
    return int(min(reference_px * width_px / widest, height_px / (_LINE_HEIGHT * len(lines))))


def warp(sheet: Image.Image, smallest_px: float, rng: np.random.Generator) -> Image.Image:
    """Tilt the sheet and put it into perspective, as far as its smallest letters stay readable."""
    tilt = math.radians(rng.uniform(-MAX_TILT_DEGREES, MAX_TILT_DEGREES)) if rng.random() < 0.7 else 0.0
    pull = rng.uniform(-MAX_PULL, MAX_PULL, (4, 2))
    flat = np.array([(0, 0), (sheet.width, 0), sheet.size, (0, sheet.height)], dtype=np.float64)
    for strength in (1.0, 0.6, 0.3):
        corners = _turned(flat, tilt * strength, pull * strength)
        if smallest_px * _least_scale(flat, corners) >= MIN_TEXT_PX:
            return sheet.transform(
                sheet.size, Image.Transform.PERSPECTIVE, perspective(corners, flat), Image.Resampling.BICUBIC
            )
    return sheet


def _turned(flat: Points, tilt: float, pull: Points) -> Points:
    """The corners turned about the middle, pulled, and shrunk until they lie inside the flat ones."""
    size_px = flat[2]
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    offsets = (flat - size_px / 2) @ turn + pull * size_px
    shrink = min(1.0, float((size_px / 2 / np.abs(offsets).max(axis=0)).min()))
    corners: Points = size_px / 2 + offsets * shrink
    return corners


def _least_scale(flat: Points, corners: Points) -> float:
    """By how much the warp shrinks the sheet's most shrunken side."""
    before, after = (np.linalg.norm(np.roll(p, -1, axis=0) - p, axis=1) for p in (flat, corners))
    return float((after / before).min())


def perspective(corners: Points, flat: Points) -> tuple[float, ...]:
    """The eight coefficients that Pillow's PERSPECTIVE takes: they map each of ``corners`` to its place in ``flat``.

    (x, y) goes to ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)); four points give eight equations.
    """
    rows, places = [], []
    for (x, y), (u, v) in zip(corners, flat, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        places += [u, v]
    return tuple(float(value) for value in np.linalg.solve(np.array(rows), np.array(places)))
