from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.drawn.fonts import Fonts, find_fonts
from tamis.corpora.drawn.posters import Poster, Style, draw, random_poster
from tamis.filters.parrot import cotr

FONTS = find_fonts()


def _poster(seed: int) -> Poster:
    return random_poster(np.random.default_rng(seed))


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_caption_repeats_what_is_drawn(seed: int) -> None:
    poster = _poster(seed)
    rate = cotr(poster.caption, " ".join(poster.lines))
    assert rate is not None
    assert rate >= 0.75


def test_chinese_posters_say_and_draw_the_same_phrases() -> None:
    poster = random_poster(np.random.default_rng(5), "zh")
    assert cotr(poster.caption, " ".join(poster.lines)) == 1.0
    assert all("\u4e00" <= character <= "\u9fff" for character in "".join(poster.lines))


def test_every_style_occurs_and_posters_seldom_repeat() -> None:
    posters = [_poster(seed) for seed in range(200)]
    assert {poster.style for poster in posters} == set(get_args(Style))
    assert len({poster.caption for poster in posters}) >= 195


def test_captions_change_case_and_sometimes_add_a_word() -> None:
    captions = [_poster(seed).caption for seed in range(200)]
    assert any(caption.islower() for caption in captions)
    assert any(caption.startswith('"') for caption in captions)
    assert any(caption.endswith((" book", " quote", " banner", " sale", " meme")) for caption in captions)


@pytest.mark.parametrize("style", get_args(Style))
def test_a_poster_is_drawn_at_its_size_with_lettering_that_stands_out(style: Style) -> None:
    poster = next(found for found in map(_poster, range(100)) if found.style == style)
    lettered = np.asarray(draw(poster, 320, 280, np.random.default_rng(1), FONTS), dtype=np.float64)
    wordless = Poster(style, (), "")
    bare = np.asarray(draw(wordless, 320, 280, np.random.default_rng(1), FONTS), dtype=np.float64)
    assert lettered.shape == (280, 320, 3)
    changed = (np.abs(lettered - bare).max(axis=2) > 60).mean()
    assert 0.01 < changed < 0.5


def test_drawing_is_a_function_of_the_seed() -> None:
    first, again, other = (draw(_poster(3), 300, 260, np.random.default_rng(seed), FONTS) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_posters_use_many_fonts() -> None:
    asked: set[str] = set()

    class Counted(tuple):  # type: ignore[type-arg]
        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            asked.add(super().__getitem__(place).name)
            return super().__getitem__(place)

    poster = Poster("quote", ("one word",), "one word")
    for seed in range(60):
        draw(poster, 300, 240, np.random.default_rng(seed), Fonts(Counted(FONTS.latin), None))
    assert len(asked) >= 8


def test_a_chinese_poster_without_a_chinese_font_is_refused() -> None:
    poster = random_poster(np.random.default_rng(0), "zh")
    with pytest.raises(ValueError, match="Chinese font, found none"):
        draw(poster, 300, 300, np.random.default_rng(0), Fonts(FONTS.latin, None))


def test_a_chinese_poster_is_lettered_in_the_chinese_font() -> None:
    poster = Poster("banner", ("O",), "O", "zh")
    fonts = [Fonts(FONTS.latin[:1], font) for font in (FONTS.latin[0], FONTS.latin[5])]
    first, second = (draw(poster, 300, 240, np.random.default_rng(0), given).tobytes() for given in fonts)
    assert first != second
