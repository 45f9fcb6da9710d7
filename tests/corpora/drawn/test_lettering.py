import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.drawn.fonts import find_fonts
from tamis.corpora.drawn.lettering import MIN_TEXT_PX, Ink, Row, blank, contrasting, letter, perspective, warp

FONT = find_fonts().latin[0]
BLACK = Ink((0, 0, 0))


def _extent(sheet: Image.Image) -> tuple[int, int, int, int]:
    box = sheet.getchannel("A").getbbox()
    assert box is not None
    return box


@given(st.text("abcdefgh IJKL", min_size=1, max_size=24).filter(str.strip), st.integers(60, 300), st.integers(24, 120))
@settings(max_examples=40, deadline=None)
def test_letters_stay_in_their_box(text: str, width: int, height: int) -> None:
    sheet = blank(width + 40, height + 40, BLACK)
    letter(sheet, [Row(text, (20, 20, 20 + width, 20 + height))], FONT, BLACK)
    left, top, right, bottom = _extent(sheet)
    assert left >= 18
    assert top >= 18
    assert right <= width + 22
    assert bottom <= height + 22


def test_a_long_row_is_broken_in_two_when_that_gives_larger_letters() -> None:
    wide, tall = (blank(200, 200, BLACK) for _ in range(2))
    narrow_px = letter(wide, [Row("good morning", (0, 0, 200, 24))], FONT, BLACK)
    broken_px = letter(tall, [Row("good morning", (0, 0, 200, 200))], FONT, BLACK)
    assert narrow_px == 20
    assert broken_px > 40
    assert _extent(tall)[3] - _extent(tall)[1] > 1.5 * broken_px


def test_the_smallest_row_decides_how_large_the_letters_are_said_to_be() -> None:
    rows = [Row("a", (0, 0, 200, 60)), Row("b", (0, 60, 200, 84))]
    assert letter(blank(200, 100, BLACK), rows, FONT, BLACK) == 20


def test_an_outline_surrounds_the_letters() -> None:
    sheet = blank(100, 60, Ink((255, 255, 255), (0, 0, 0)))
    letter(sheet, [Row("O", (0, 0, 100, 60))], FONT, Ink((255, 255, 255), (0, 0, 0)))
    opaque = np.asarray(sheet)[np.asarray(sheet)[..., 3] == 255]
    assert {0, 255} <= set(opaque[:, 0].tolist())


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_letters_contrast_with_their_ground(seed: int) -> None:
    ground, letters = contrasting(np.random.default_rng(seed))
    luma = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in (ground, letters)]
    assert abs(luma[0] - luma[1]) >= 80


def test_perspective_maps_each_corner_to_its_place() -> None:
    corners = np.array([(3, 5), (90, 11), (97, 70), (8, 66)], dtype=np.float64)
    flat = np.array([(0, 0), (100, 0), (100, 80), (0, 80)], dtype=np.float64)
    a, b, c, d, e, f, g, h = perspective(corners, flat)
    for (x, y), place in zip(corners, flat, strict=True):
        depth = g * x + h * y + 1
        assert ((a * x + b * y + c) / depth, (d * x + e * y + f) / depth) == pytest.approx(tuple(place), abs=1e-9)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_warp_keeps_letters_readable_and_the_sheet_in_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sheet = blank(200, 120, BLACK)
    side = 20
    for left, top in ((0, 0), (200 - side, 0), (0, 120 - side), (200 - side, 120 - side)):
        sheet.paste((255, 255, 255, 255), (left, top, left + side, top + side))
    opaque = np.asarray(warp(sheet, MIN_TEXT_PX / 0.9, rng).getchannel("A")) > 127
    kept = opaque.sum() / (4 * side * side)
    assert kept >= 0.75  # no side shrinks to less than 0.9, so an area keeps about 0.81 of itself, and none leaves


def test_letters_that_are_small_already_are_not_warped() -> None:
    sheet = blank(200, 120, BLACK)
    letter(sheet, [Row("small", (0, 0, 200, 24))], FONT, BLACK)
    assert warp(sheet, MIN_TEXT_PX, np.random.default_rng(0)) is sheet
    assert warp(sheet, 2 * MIN_TEXT_PX, np.random.default_rng(0)) is not sheet
