"""Signs in a picture: text that the picture's caption does not say, which a parrot filter must leave alone.

A board with one or two words of ``words.SIGNS`` is hung at the top or the bottom edge of a picture. Those words share
nothing with the words of scenes' captions, so the true parrot rate of such a pair is 0, exact and fuzzy.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .fonts import Fonts
from .lettering import Ink, Row, blank, contrasting, letter, warp
from .words import SIGNS


def random_sign(rng: np.random.Generator) -> str:
    """Choose what a sign says: a word, two words, or a word and a number."""
    first, second = (str(word) for word in rng.choice(SIGNS, size=2, replace=False))
    return [first, f"{first} {second}", f"{first} {int(rng.integers(10, 100))}"][int(rng.integers(3))]


def hang(picture: Image.Image, text: str, rng: np.random.Generator, fonts: Fonts) -> Image.Image:
    """Return the picture with a board that says ``text`` across its top or bottom sixth."""
    font = fonts.latin[int(rng.integers(len(fonts.latin)))]
    board, letters = contrasting(rng)
    width, height = int(picture.width * rng.uniform(0.75, 0.95)), picture.height // 6
    ink = Ink(letters)
    sheet = blank(width, height, ink, board)
    smallest_px = letter(sheet, [Row(text, (0.05 * width, 0.08 * height, 0.95 * width, 0.92 * height))], font, ink)
    warped = warp(sheet, smallest_px, rng)
    left = int(rng.integers(picture.width - width + 1))
    hung = picture.copy()
    hung.paste(warped, (left, 0 if rng.random() < 0.5 else picture.height - height), warped)
    return hung
