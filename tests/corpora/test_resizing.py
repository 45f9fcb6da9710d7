"""Resizing: exact pixels for images that can be worked out by hand, the same bytes for what is left alone."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.decoding import Pixels, decode
from tamis.corpora.errors import DataError
from tamis.corpora.resizing import ResizeSettings, resize, target_size
from tamis.corpora.sniffing import MAX_PIXELS, inspect


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg_of(pixels: Pixels, quality: int = 90) -> bytes:
    return bytes(
        simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorspace="RGB", colorsubsampling="420")
    )


def flat(*rgb: int, size: tuple[int, int] = (8, 8)) -> Pixels:
    return np.full((size[1], size[0], 3), rgb, np.uint8)


def blocks(side: int) -> tuple[Pixels, Pixels]:
    """An image of ``side`` blocks of 2 x 2 px a side, and the mean of each block."""
    pixels = np.random.default_rng(side).integers(0, 64, (2 * side, 2 * side, 3), np.uint8) * 4
    means = pixels.reshape(side, 2, side, 2, 3).astype(int).sum((1, 3))
    return pixels, ((means + 2) // 4).astype(np.uint8)


EIGHT = ResizeSettings(pixels=8)


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ((1024, 768), {"pixels": 512}, (512, 384)),
        ((768, 1024), {"pixels": 512}, (384, 512)),
        ((1024, 768), {"pixels": 512, "side": "shortest"}, (683, 512)),
        ((512, 384), {"pixels": 256, "side": "shortest"}, (341, 256)),
        ((512, 512), {"pixels": 512}, None),
        ((512, 513), {"pixels": 512}, (511, 512)),
        ((300, 200), {"pixels": 512}, None),
        ((300, 200), {"pixels": 512, "only_if_bigger": False}, (512, 341)),
        ((512, 512), {"pixels": 512, "only_if_bigger": False}, (512, 512)),
        ((9000, 3), {"pixels": 100}, (100, 1)),
        ((3, 2), {"pixels": 1}, (1, 1)),
    ],
)
def test_the_side_that_is_named_becomes_so_long(
    size: tuple[int, int], settings: dict[str, object], expected: tuple[int, int] | None
) -> None:
    assert target_size(*size, ResizeSettings(**settings)) == expected  # type: ignore[arg-type]


def test_area_is_the_mean_of_what_a_pixel_covers() -> None:
    pixels, means = blocks(8)
    assert resize(encoded(Image.fromarray(pixels), "PNG"), EIGHT) == jpeg_of(means)
    assert resize(encoded(Image.fromarray(pixels), "BMP"), ResizeSettings(pixels=8, quality=55)) == jpeg_of(means, 55)


def test_bicubic_is_pillow_s_antialiased_one() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    small = Image.fromarray(pixels).resize((16, 12), Image.Resampling.BICUBIC)
    settings = ResizeSettings(pixels=16, resampling="bicubic")
    assert resize(encoded(Image.fromarray(pixels), "PNG"), settings) == jpeg_of(np.asarray(small))


def test_a_jpeg_is_scaled_while_it_is_decoded_as_far_as_that_goes() -> None:
    body = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)), "JPEG")
    assert resize(body, ResizeSettings(pixels=32)) == jpeg_of(decode(body, 4))
    half = Image.fromarray(decode(body, 2)).resize((40, 30), Image.Resampling.BOX)
    assert resize(body, ResizeSettings(pixels=40)) == jpeg_of(np.asarray(half))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_is_not_bigger_keeps_its_bytes_with_all_that_is_in_them(format: str) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    body = encoded(Image.fromarray(flat(9, 8, 7)), format, exif=tags)
    assert resize(body, EIGHT) is body
    assert inspect(body).orientation == 6


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_what_is_encoded_anew_stands_upright_and_says_nothing_of_it(orientation: int, turns: int) -> None:
    pixels, means = blocks(8)
    tags = Image.Exif()
    tags[0x0112] = orientation
    made = resize(encoded(Image.fromarray(pixels[:, :12]), "PNG", exif=tags), EIGHT)
    assert made == jpeg_of(np.rot90(means[:, :6], turns))
    assert (inspect(made).orientation, b"Exif" in made) == (1, False)


def test_sixteen_bits_give_their_high_eight() -> None:
    grey = np.full((16, 16), 0xABCD, np.uint16)
    assert resize(encoded(Image.fromarray(grey), "PNG"), EIGHT) == jpeg_of(flat(0xAB, 0xAB, 0xAB))


def test_a_palette_gives_its_colours_and_transparency_is_white() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([10, 20, 30, 200, 100, 0])
    assert resize(encoded(image, "PNG"), EIGHT) == jpeg_of(flat(200, 100, 0))
    assert resize(encoded(image, "PNG", transparency=1), EIGHT) == jpeg_of(flat(255, 255, 255))


def test_alpha_is_laid_on_white() -> None:
    for alpha, expected in ((0, (255, 255, 255)), (128, (255, 127, 127)), (255, (255, 0, 0))):
        image = Image.new("RGBA", (16, 16), (255, 0, 0, alpha))
        assert resize(encoded(image, "PNG"), EIGHT) == jpeg_of(flat(*expected))
    half = Image.new("LA", (16, 16), (0, 128))
    assert resize(encoded(half, "PNG"), EIGHT) == jpeg_of(flat(127, 127, 127))


def test_cmyk_becomes_rgb() -> None:
    body = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert resize(body, EIGHT) == jpeg_of(decode(body, 2))
    np.testing.assert_allclose(decode(resize(body, EIGHT)), flat(255, 0, 0), atol=3)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    body = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert inspect(body).animated
    assert resize(body, EIGHT) == jpeg_of(flat(255, 0, 0))


def test_webp_is_written_where_it_is_wanted() -> None:
    pixels, means = blocks(8)
    made = resize(encoded(Image.fromarray(pixels), "PNG"), ResizeSettings(pixels=8, format="webp", quality=70))
    assert made == encoded(Image.fromarray(means), "WEBP", quality=70)
    assert (inspect(made).format, inspect(made).upright) == ("webp", (8, 8))


def test_small_images_are_enlarged_where_that_is_wanted() -> None:
    small = Image.fromarray(blocks(2)[0])
    settings = ResizeSettings(pixels=8, only_if_bigger=False)
    assert resize(encoded(small, "PNG"), settings) == jpeg_of(
        np.asarray(small.resize((8, 8), Image.Resampling.BICUBIC))
    )
    same = encoded(Image.fromarray(flat(1, 2, 3)), "PNG")
    assert resize(same, settings) == jpeg_of(flat(1, 2, 3))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (png_header(16_000, 16_000), "too_many_pixels"),
        (png_header(100, 100), "truncated"),
        (encoded(Image.fromarray(flat(1, 2, 3, size=(64, 64))), "JPEG")[:-40], "truncated"),
        (b"<html></html>", "html"),
    ],
)
def test_what_cannot_be_resized_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(DataError) as told:
        resize(body, EIGHT)
    assert told.value.reason == reason


def test_a_thread_is_not_enlarged_to_a_gigapixel() -> None:
    body = encoded(Image.new("L", (1, 30_000)), "PNG")
    with pytest.raises(DataError, match=f"512 x 15360000 px, more than {MAX_PIXELS}") as told:
        resize(body, ResizeSettings(side="shortest", pixels=512, only_if_bigger=False))
    assert told.value.reason == "too_many_pixels"


@how(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.sampled_from(["longest", "shortest"]))
def test_the_result_has_the_size_that_was_asked_for(width: int, height: int, pixels: int, side: str) -> None:
    settings = ResizeSettings(side=side, pixels=pixels, only_if_bigger=False)  # type: ignore[arg-type]
    for format in ("JPEG", "PNG"):
        made = resize(encoded(Image.new("RGB", (width, height)), format), settings)
        assert inspect(made).upright == target_size(width, height, settings)
