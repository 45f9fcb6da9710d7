import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from tamis.corpora.decoding import decode
from tamis.corpora.drawn import scenes
from tamis.filters.hashes import Hashes, phash, pixels_sha256
from tamis.filters.scorer import Device, Pixels, Sample


def scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    rng = np.random.default_rng(seed)
    return scenes.draw(scenes.random_scene(rng), width, height, rng)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def hashes(encoded: bytes) -> dict[str, str]:
    scorer = Hashes()
    scored = scorer.score([scorer.prepare(Sample({}, encoded, decode(encoded)))], Device())
    return {name: values[0] for name, values in scored.items()}


def bits(first: str, second: str) -> int:
    return (int(first, 16) ^ int(second, 16)).bit_count()


def dct_by_fft(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """DCT-II down the columns: the Fourier transform of the signal and its mirror image, turned by half a sample."""
    length = len(signal)
    spectrum = np.fft.fft(np.concatenate([signal, signal[::-1]]), axis=0)[:length]
    turned = spectrum * np.exp(-0.5j * np.pi * np.arange(length) / length)[:, None]
    real: NDArray[np.float64] = np.real(turned)
    return real


def reference_phash(image: Image.Image) -> str:
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
    low = dct_by_fft(dct_by_fft(grey).T).T[:8, :8]
    number = 0
    for coefficient in low.ravel():
        number = number << 1 | int(coefficient > np.median(low))
    return f"{number:016x}"


@pytest.mark.parametrize("seed", range(20))
def test_phash_equals_the_same_by_fourier_transform(seed: int) -> None:
    image = scene(seed, 200 + 17 * seed, 260)
    assert phash(np.asarray(image)) == reference_phash(image)


def test_phash_of_a_cosine_has_the_bits_that_a_hand_computes() -> None:
    column = np.cos(np.pi * 2 * (2 * np.arange(32) + 1) / 64)
    grey = np.rint(128 + 100 * np.broadcast_to(column, (32, 32))).astype(np.uint8)
    # Across, frequency 2 alone: the mean (bit 0) and the third coefficient of the first row stand above the median.
    assert int(phash(np.repeat(grey[:, :, None], 3, axis=2)), 16) >> 61 == 0b101


@pytest.mark.parametrize("level", [1, 77, 255])
def test_one_colour_has_its_mean_alone_whatever_the_rounding(level: int) -> None:
    assert phash(np.full((50, 70, 3), level, np.uint8)) == "8000000000000000"


def test_copies_are_near_and_other_pictures_far() -> None:
    images = [scene(seed) for seed in range(12)]
    found = [phash(np.asarray(image)) for image in images]
    for image, original in zip(images, found, strict=True):
        assert bits(original, hashes(encode(image, "JPEG", quality=60))["phash"]) <= 6
        assert bits(original, phash(np.asarray(image.resize((200, 150), Image.Resampling.BICUBIC)))) <= 4
    apart = [bits(a, b) for at, a in enumerate(found) for b in found[:at]]
    assert np.median(apart) > 20


def test_lossless_copies_share_pixels_but_not_bytes() -> None:
    image = scene(5)
    found = [
        hashes(encoded)
        for encoded in (
            encode(image, "PNG", compress_level=1),
            encode(image, "PNG", compress_level=9),
            encode(image, "WEBP", lossless=True),
            encode(image, "BMP"),
        )
    ]
    assert len({one["pixels_sha256"] for one in found}) == 1
    assert len({one["sha256"] for one in found}) == 4
    assert hashes(encode(image, "JPEG"))["pixels_sha256"] != found[0]["pixels_sha256"]


def test_a_turned_picture_hashes_as_it_is_seen() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    stored = scene(6)
    turned = hashes(encode(stored, "PNG", exif=tags))
    upright = hashes(encode(stored.transpose(Image.Transpose.ROTATE_270), "PNG"))
    assert (turned["pixels_sha256"], turned["phash"]) == (upright["pixels_sha256"], upright["phash"])


def test_the_shape_belongs_to_the_pixels_hash() -> None:
    row: Pixels = np.arange(36, dtype=np.uint8).reshape(2, 6, 3)
    other: Pixels = row.reshape(3, 4, 3)
    assert pixels_sha256(row) != pixels_sha256(other)
    assert pixels_sha256(row) == hashlib.sha256(bytes([0, 0, 0, 2, 0, 0, 0, 6, *range(36)])).hexdigest()


def test_sha256_is_of_the_bytes_and_columns_fit_their_types() -> None:
    encoded = encode(scene(7), "PNG")
    assert hashes(encoded)["sha256"] == hashlib.sha256(encoded).hexdigest()
    scorer = Hashes()
    scored = scorer.score([None, scorer.prepare(Sample({}, encoded, decode(encoded)))], Device())
    for column in scorer.columns:
        assert pa.array(scored[column.name], column.type).is_valid().to_pylist() == [False, True]
