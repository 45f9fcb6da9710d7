"""Posters and memes: pictures that say their caption in letters, the case that a parrot filter is there to find.

Five styles (meme, sale sign, book cover, quote, banner) are lettered in many fonts on drawn grounds, then tilted by up to
12 degrees and put into a mild perspective, as far as their letters stay readable (``lettering``).

Choosing what a poster says (``random_poster``) is apart from drawing it, so that a list of captions costs no picture.
Price: about 8 ms at 320 x 320 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from . import scenes
from .fonts import Font, Fonts
from .lettering import Colour, Ink, Row, blank, contrasting, letter, warp
from .words import ADJECTIVES, NAMES, NOUNS, PHRASES_ZH, VERBS

Style = Literal["meme", "sale", "book", "quote", "banner"]
Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Poster:
    """What a poster looks like and says: ``lines`` as they are drawn, top to bottom, and the caption that parrots them."""

    style: Style
    lines: tuple[str, ...]
    caption: str
    language: Language = "en"


def random_poster(rng: np.random.Generator, language: Language = "en") -> Poster:
    """Choose what a poster says and the caption that repeats it; at least 3/4 of the caption's words are drawn."""
    style: Style = get_args(Style)[int(rng.integers(len(get_args(Style))))]
    if language == "zh":
        lines = tuple(str(phrase) for phrase in rng.choice(PHRASES_ZH, size=int(rng.integers(1, 3)), replace=False))
        return Poster(style, lines, " ".join(lines), language)
    lines = _LINES[style](rng)
    return Poster(style, lines, _caption(style, lines, rng))


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _meme(rng: np.random.Generator) -> tuple[str, ...]:
    top = [
        f"when the {_pick(rng, NOUNS)}",
        f"one does not {_pick(rng, VERBS)}",
        f"{_pick(rng, ADJECTIVES)} {_pick(rng, NOUNS)}",
        f"not sure if {_pick(rng, NOUNS)}",
    ][int(rng.integers(4))]
    bottom = [
        f"{_pick(rng, VERBS)} the {_pick(rng, NOUNS)}",
        f"or just {_pick(rng, ADJECTIVES)}",
        f"you must {_pick(rng, VERBS)}",
    ][int(rng.integers(3))]
    return top.upper(), bottom.upper()


def _sale(rng: np.random.Generator) -> tuple[str, ...]:
    offer = [f"{int(rng.integers(1, 9)) * 10}% OFF", "BUY ONE GET ONE", "HALF PRICE", "BIG SALE"][int(rng.integers(4))]
    what = f"{_pick(rng, ADJECTIVES)} {_pick(rng, NOUNS)}"
    until = ["TODAY ONLY", "THIS WEEK", "ENDS SUNDAY", "WHILE STOCKS LAST"][int(rng.integers(4))]
    return what.title(), offer, until


def _book(rng: np.random.Generator) -> tuple[str, ...]:
    title = [
        (f"The {_pick(rng, ADJECTIVES)}", _pick(rng, NOUNS)),
        (f"{_pick(rng, NOUNS)} of", f"the {_pick(rng, NOUNS)}"),
        (f"How to {_pick(rng, VERBS)}", f"a {_pick(rng, NOUNS)}"),
    ][int(rng.integers(3))]
    return title[0].title(), title[1].title(), _pick(rng, NAMES)


def _quote(rng: np.random.Generator) -> tuple[str, ...]:
    return [
        (f"Never {_pick(rng, VERBS)} a", f"{_pick(rng, ADJECTIVES)} {_pick(rng, NOUNS)}", "without good reason"),
        (
            f"To {_pick(rng, VERBS)} is to",
            f"{_pick(rng, VERBS)} every",
            f"{_pick(rng, ADJECTIVES)} {_pick(rng, NOUNS)}",
        ),
        (f"Every {_pick(rng, NOUNS)} begins", f"with a {_pick(rng, ADJECTIVES)}", _pick(rng, NOUNS)),
    ][int(rng.integers(3))]


def _banner(rng: np.random.Generator) -> tuple[str, ...]:
    return f"{_pick(rng, VERBS)} and".upper(), f"{_pick(rng, VERBS)} {_pick(rng, NOUNS)}".upper()


_LINES = {"meme": _meme, "sale": _sale, "book": _book, "quote": _quote, "banner": _banner}


def _caption(style: Style, lines: tuple[str, ...], rng: np.random.Generator) -> str:
    """The drawn words once more, cased anew, sometimes with a word about the kind of picture."""
    words = " ".join(lines)
    said = [words, words.lower(), words.capitalize(), words.title()][int(rng.integers(4))]
    if len(said.split()) < 4 or rng.random() < 0.5:
        return said
    return f"{said} {style}" if rng.random() < 0.5 else f'"{said}"'


def draw(poster: Poster, width: int, height: int, rng: np.random.Generator, fonts: Fonts) -> Image.Image:
    """Draw a poster of ``width`` x ``height`` px (200 to 400 is what it is made for) as an RGB picture.

    Raises:
        ValueError: the poster is Chinese and ``fonts`` has no Chinese font.
    """
    font = _font(poster, rng, fonts)
    colour, letters = contrasting(rng)
    ink = Ink((250, 250, 250), (8, 8, 8)) if poster.style == "meme" else Ink(letters)
    hung = poster.style == "book" or (poster.style != "meme" and rng.random() < 0.4)
    sheet = blank(width, height, ink, colour if hung else None)
    if hung:
        frame = int(rng.integers(4, 9))
        ImageDraw.Draw(sheet).rectangle((frame, frame, width - frame - 1, height - frame - 1), outline=letters, width=2)
    rows = [
        Row(line, _box(place, width, height)) for place, line in zip(_PLACES[poster.style], poster.lines, strict=False)
    ]
    smallest_px = letter(sheet, rows, font, ink)
    picture = _ground(poster.style, contrasting(rng)[0] if hung else colour, width, height, rng)
    warped = warp(sheet, smallest_px, rng)
    picture.paste(warped, (0, 0), warped)
    return picture


_PLACES = {
    "meme": ((0.02, 0.28), (0.72, 0.98)),
    "sale": ((0.05, 0.30), (0.34, 0.70), (0.74, 0.94)),
    "book": ((0.10, 0.34), (0.36, 0.60), (0.76, 0.92)),
    "quote": ((0.14, 0.38), (0.38, 0.62), (0.62, 0.86)),
    "banner": ((0.12, 0.48), (0.52, 0.88)),
}
"""Where each style has its lines: top and bottom, as shares of the picture's height."""

_BOLD = ("-Bold", "Bol", "cmb")


def _box(place: tuple[float, float], width: int, height: int) -> tuple[float, float, float, float]:
    return 0.05 * width, place[0] * height, 0.95 * width, place[1] * height


def _font(poster: Poster, rng: np.random.Generator, fonts: Fonts) -> Font:
    """Any font for books and quotes, a bold one for what is to be seen from afar."""
    if poster.language == "zh":
        if fonts.chinese is None:
            raise ValueError("a Chinese poster needs a Chinese font, found none: apt install fonts-wqy-microhei")
        return fonts.chinese
    bold = tuple(font for font in fonts.latin if any(mark in font.name for mark in _BOLD))
    choice = fonts.latin if poster.style in {"book", "quote"} or not bold else bold
    return choice[int(rng.integers(len(choice)))]


def _ground(style: Style, colour: Colour, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A drawn scene under a meme, else a colour with soft patches and a ramp of light."""
    if style == "meme":
        return scenes.draw(scenes.random_scene(rng), width, height, rng)
    patches = Image.fromarray(rng.normal(0, 9, (4, 4)).astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    ramp = np.linspace(-1, 1, height)[:, None] * rng.uniform(-18, 18)
    levels = np.array(colour) + (np.asarray(patches) + ramp)[..., None]
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
