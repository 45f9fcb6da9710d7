import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tamis.corpora.decoding import decode, scale_for
from tamis.corpora.drawn import scenes
from tamis.corpora.errors import ConfigError
from tamis.filters.look import Look, statistics
from tamis.filters.scorer import Device, Pixels, Sample


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return scenes.draw(scenes.random_scene(rng), width, height, rng)


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def look(encoded: bytes, scorer: Look | None = None) -> dict[str, Any]:
    scorer = scorer or Look()
    image = Image.open(io.BytesIO(encoded))
    assert image.format is not None
    assert scorer.needs.pixels is not None
    scale = scale_for(image.width, image.height, image.format, scorer.needs.pixels)
    prepared = scorer.prepare(Sample({}, encoded, decode(encoded, scale)))
    return {name: values[0] for name, values in scorer.score([prepared], Device()).items()}


def grey(levels: list[list[int]]) -> Pixels:
    return np.repeat(np.array(levels, np.uint8)[:, :, None], 3, axis=2)


def test_a_dot_has_the_blur_that_a_hand_computes() -> None:
    levels = [[0] * 5 for _ in range(5)]
    levels[2][2] = 10
    # Over the inner 3 x 3: the dot gives -40, its four neighbours 10 each, the corners 0.
    assert statistics(grey(levels))["blur"] == pytest.approx((40**2 + 4 * 10**2) / 9)


def test_two_equal_halves_have_one_bit_and_known_moments() -> None:
    found = statistics(grey([[0, 0, 255, 255]] * 4))
    assert found["entropy"] == pytest.approx(1.0)
    assert found["brightness"] == pytest.approx(0.5)
    assert found["contrast"] == pytest.approx(0.5)
    assert (found["dark_share"], found["bright_share"]) == (0.5, 0.5)


def test_all_levels_once_are_eight_bits_and_the_exposure_bounds_are_exact() -> None:
    found = statistics(grey(np.arange(256).reshape(16, 16).tolist()))
    assert found["entropy"] == pytest.approx(8.0)
    assert found["dark_share"] == 26 / 256
    assert found["bright_share"] == 26 / 256


def test_saturation_is_hsv() -> None:
    pixels = np.array([[(200, 0, 0), (200, 100, 150), (90, 90, 90), (0, 0, 0)]], np.uint8)
    assert statistics(pixels)["saturation"] == pytest.approx((1 + 0.5) / 4)


def test_one_colour_has_neither_blur_nor_entropy_nor_contrast() -> None:
    found = statistics(np.full((9, 9, 3), 77, np.uint8))
    assert (found["blur"], found["entropy"], found["saturation"]) == (0, 0, 0)
    assert found["contrast"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (2, 3)])
def test_pictures_without_inner_pixels_have_no_blur(shape: tuple[int, int]) -> None:
    assert statistics(np.zeros((*shape, 3), np.uint8))["blur"] == 0


def test_blurring_lowers_blur_and_dimming_lowers_brightness() -> None:
    sharp = photograph(400, 300)
    values = [look(encode(sharp.filter(ImageFilter.GaussianBlur(radius))))["blur"] for radius in (0, 1, 3, 8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 100 < values[0]
    dim = look(encode(sharp.point(lambda level: level // 8)))
    assert dim["dark_share"] > 0.9
    assert dim["brightness"] < look(encode(sharp))["brightness"] / 7


def test_numbers_compare_across_sizes_and_formats() -> None:
    base = photograph(640, 480, 3).filter(ImageFilter.GaussianBlur(1))
    large = base.resize((1280, 960), Image.Resampling.BICUBIC)
    first, second, third = look(encode(base)), look(encode(large)), look(encode(large, "JPEG", quality=95))
    for other in (second, third):
        assert other["blur"] == pytest.approx(first["blur"], rel=0.25)
        for name in ("entropy", "brightness", "contrast", "dark_share", "bright_share", "saturation"):
            assert other[name] == pytest.approx(first[name], rel=0.03, abs=0.01), name


def test_detail_too_fine_for_the_size_is_averaged_away() -> None:
    checks = np.indices((512, 512)).sum(axis=0) % 2 * 255
    found = look(encode(Image.fromarray(checks.astype(np.uint8))))
    assert found["blur"] == 0
    assert found["brightness"] == pytest.approx(0.5, abs=0.01)


def test_small_pictures_are_measured_as_they_are() -> None:
    small = photograph(90, 70)
    found = look(encode(small))
    assert {name: found[name] for name in statistics(np.asarray(small))} == statistics(np.asarray(small))
    assert look(encode(small), Look(side=32))["blur"] != found["blur"]


def test_animation_is_told_by_the_bytes() -> None:
    first, second = photograph(60, 40, 1).quantize(16), photograph(60, 40, 2).quantize(16)
    assert look(encode(first, "GIF", save_all=True, append_images=[second]))["animated"] is True
    assert look(encode(first, "GIF"))["animated"] is False
    assert look(encode(photograph(60, 40), "JPEG"))["animated"] is False


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_number_is_finite_and_in_its_range(width: int, height: int, seed: int) -> None:
    found = statistics(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert all(np.isfinite(value) for value in found.values())
    assert 0 <= found["entropy"] <= 8
    assert 0 <= found["contrast"] <= 0.5 + 1e-9
    for name in ("brightness", "dark_share", "bright_share", "saturation"):
        assert 0 <= found[name] <= 1 + 1e-9


def test_unreadable_places_stay_empty_and_columns_fit_their_types() -> None:
    scorer = Look()
    encoded = encode(photograph(50, 50))
    prepared = scorer.prepare(Sample({}, encoded, decode(encoded)))
    scored = scorer.score([None, prepared], Device())
    for column in scorer.columns:
        assert pa.array(scored[column.name], column.type).is_valid().to_pylist() == [False, True]


def test_a_side_too_small_to_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="side is 8; it must be at least 16"):
        Look(side=8)
