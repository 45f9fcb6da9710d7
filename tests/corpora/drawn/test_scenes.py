from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tamis.corpora.drawn.scenes import (
    COLOURS,
    GROUNDS,
    SHAPES,
    Figure,
    Scene,
    describe,
    draw,
    other_caption,
    random_scene,
)

SEEDS = st.integers(0, 2**32 - 1)


def figures_of(caption: str) -> set[Figure]:
    """The figures that a caption names."""
    return {Figure(*words) for words in re.findall(r"(small|large) (\w+) (\w+)", caption.lower())}


def ground_of(caption: str) -> str:
    """The ground that a caption names."""
    [ground] = re.findall(r"(\w+) (?:ground|background)\b", caption.lower())
    return str(ground)


def middle_of(pixels: NDArray[np.uint8], colour: str) -> NDArray[np.float64]:
    """The mean (x, y) of the pixels that are nearest to a colour."""
    far = np.abs(pixels.astype(int) - COLOURS[colour]).sum(axis=2)
    y, x = np.argwhere(far < 90).mean(axis=0)
    return np.array([x, y])


@given(SEEDS)
def test_the_same_seed_gives_the_same_scene_picture_and_captions(seed: int) -> None:
    one, two = np.random.default_rng(seed), np.random.default_rng(seed)
    scene = random_scene(one)
    assert scene == random_scene(two)
    assert draw(scene, 70, 64, one).tobytes() == draw(scene, 70, 64, two).tobytes()
    assert (describe(scene, one), other_caption(scene, one)) == (describe(scene, two), other_caption(scene, two))


@given(SEEDS)
def test_a_caption_says_its_figures_and_its_ground(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng)
    caption = describe(scene, rng)
    assert figures_of(caption) == {scene.first, scene.second}
    assert ground_of(caption) == scene.ground


@given(SEEDS)
def test_another_caption_shares_no_colour_no_shape_and_no_ground(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng)
    caption = other_caption(scene, rng)
    others, own = figures_of(caption), (scene.first, scene.second)
    assert len(others) == 2
    assert not {figure.colour for figure in others} & {figure.colour for figure in own}
    assert not {figure.shape for figure in others} & {figure.shape for figure in own}
    assert ground_of(caption) != scene.ground


@given(SEEDS)
def test_the_colours_of_a_scene_can_be_told_apart(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed))
    assert len({scene.first.colour, scene.second.colour, scene.ground}) == 3
    assert scene.first.shape != scene.second.shape


def test_captions_vary_in_phrasing() -> None:
    rng = np.random.default_rng(0)
    scene = random_scene(rng)
    assert len({describe(scene, rng) for _ in range(60)}) > 20


@pytest.mark.parametrize(
    ("relation", "across", "down"), [("above", 0, -1), ("below", 0, 1), ("left of", -1, 0), ("right of", 1, 0)]
)
def test_the_first_figure_lies_where_the_relation_says(relation: str, across: int, down: int) -> None:
    scene = Scene(Figure("large", "red", "circle"), relation, Figure("small", "blue", "star"), "white")
    pixels = np.asarray(draw(scene, 180, 120, np.random.default_rng(1)))
    x, y = middle_of(pixels, "red") - middle_of(pixels, "blue")
    assert (across * x + down * y) > 40
    assert abs(across * y + down * x) < 15


@pytest.mark.parametrize(("first", "swapped"), [("above", "below"), ("left of", "right of")])
def test_either_figure_may_come_first_with_its_relation_inverted(first: str, swapped: str) -> None:
    rng = np.random.default_rng(2)
    scene = Scene(Figure("large", "red", "circle"), first, Figure("small", "blue", "star"), "white")
    for caption in (describe(scene, rng).lower() for _ in range(100)):
        said = [relation for relation in (first, swapped) if f" {relation} " in caption]
        assert len(said) == 1
        subject_is_star = caption.index("star") < caption.index("circle")
        if "ground with a " in caption:  # "a star on a white ground with a circle below it"
            subject_is_star = not subject_is_star
        assert said[0] == (swapped if subject_is_star else first)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("width", "height"), [(64, 64), (200, 90)])
def test_every_figure_lies_whole_in_the_central_square(shape: str, width: int, height: int) -> None:
    scene = Scene(Figure("large", "red", shape), "left of", Figure("large", "blue", "square"), "white")
    for seed in range(8):
        picture = draw(scene, width, height, np.random.default_rng(seed))
        assert (picture.size, picture.mode) == ((width, height), "RGB")
        far = np.abs(np.asarray(picture).astype(int) - COLOURS["red"]).sum(axis=2)
        columns = np.flatnonzero((far < 90).any(axis=0))
        assert (width - height) / 2 <= columns.min()
        assert columns.max() <= (width + height) / 2


def test_two_drawings_of_a_scene_differ_in_light_and_place() -> None:
    scene = random_scene(np.random.default_rng(3))
    one, two = (np.asarray(draw(scene, 96, 96, np.random.default_rng(seed))).astype(int) for seed in (4, 5))
    assert np.abs(one - two).mean() > 4


def test_every_ground_is_light_or_dark_enough_for_all_other_colours() -> None:
    nearest = {
        (ground, colour): np.abs(np.array(rgb) - COLOURS[colour]).sum()
        for ground, rgb in GROUNDS.items()
        for colour in COLOURS
        if colour != ground
    }
    assert min(nearest.values()) > 60
