import io
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tamis.corpora.decoding import MAX_JPEG_SCANS, Pixels, decode, scale_for
from tamis.corpora.errors import DataError
from tamis.filters.scorer import FULL


def picture(width: int = 61, height: int = 47, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 4), dtype=np.uint8), "RGBA")
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 3000))
def test_scale_keeps_the_need_and_touches_only_sources_of_twice_the_need(width: int, height: int, need: int) -> None:
    denominator = scale_for(width, height, "jpeg", need)
    short = min(width, height)
    assert denominator in {1, 2, 4, 8}
    assert denominator == 1 or short // denominator >= need
    assert denominator == 8 or short // (2 * denominator) < need
    assert (denominator == 1) == (short < 2 * need)


def test_full_need_and_other_formats_are_never_scaled() -> None:
    assert scale_for(8000, 8000, "jpeg", FULL) == 1
    assert scale_for(8000, 8000, "png", 100) == 1
    assert scale_for(8000, 8000, "JPEG", 100) == 8


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_pixels_equal_pillows_at_every_scale(denominator: int, subsampling: int, progressive: bool) -> None:
    encoded = encode(picture(163, 117), "JPEG", quality=85, subsampling=subsampling, progressive=progressive)
    other = Image.open(io.BytesIO(encoded))
    other.draft("RGB", (163 // denominator, 117 // denominator))
    np.testing.assert_array_equal(decode(encoded, denominator), np.asarray(other))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_give_their_exact_pixels(format: str) -> None:
    source = picture().quantize(64).convert("RGB")
    encoded = encode(source, format, **({"lossless": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(decode(encoded), np.asarray(source))


def test_avif_and_grey_jpeg_give_three_channels_near_the_source() -> None:
    source = picture()
    assert np.abs(decode(encode(source, "AVIF", quality=95)).astype(int) - np.asarray(source)).mean() < 6
    grey = source.convert("L")
    pixels = decode(encode(grey, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - np.asarray(grey)[:, :, None]).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_as_pillow_does(orientation: int, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    encoded = encode(picture(), format, exif=exif(orientation), **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
    np.testing.assert_array_equal(decode(encoded), np.asarray(upright))


def test_big_endian_orientation_is_read_and_nonsense_is_upright() -> None:
    tags = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    assert decode(encode(picture(), "JPEG", exif=b"Exif\0\0" + tags)).shape == (61, 47, 3)
    nonsense = tags.replace(b"\0\x06", b"\0\x63")
    assert decode(encode(picture(), "JPEG", exif=b"Exif\0\0" + nonsense)).shape == (47, 61, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new(mode, (3, 1), 0)
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (100, alpha) if mode == "LA" else (100, 100, 100, alpha))
    assert decode(encode(image, "PNG"))[0, :, 0].tolist() == [255, 177, 100]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_palettes_transparent_entry_is_white(format: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    encoded = encode(image, format, transparency=1)
    assert decode(encoded).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_sixteen_bits_give_their_high_eight() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    assert decode(encode(Image.fromarray(values), "PNG"))[0, :, 2].tolist() == [0, 0, 1, 128, 255]
    assert decode(encode(Image.fromarray(values), "TIFF"))[0, :, 2].tolist() == [0, 0, 1, 128, 255]


def test_cmyk_jpeg_is_converted_and_scaled() -> None:
    encoded = encode(picture(160, 120).convert("CMYK"), "JPEG", quality=95)
    reference = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode(encoded), reference)
    assert decode(encoded, 4).shape == (30, 40, 3)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        encoded = encode(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)
        assert (decode(encoded) == [255, 0, 0]).all(), format


def test_pixel_limit_is_read_from_the_header_before_decoding() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    size = (60_000).to_bytes(4, "big") * 2
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    jpeg = bytearray(encode(picture(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    for encoded in (bomb, bytes(jpeg)):
        with pytest.raises(DataError) as caught:
            decode(encoded)
        assert caught.value.reason == "too_many_pixels"
    with pytest.raises(DataError, match="61 x 47"):
        decode(encode(picture(), "PNG"), max_pixels=61 * 47 - 1)
    assert decode(encode(picture(), "PNG"), max_pixels=61 * 47).shape == (47, 61, 3)


def test_a_cut_file_is_truncated_and_a_foreign_one_broken() -> None:
    for format in ("JPEG", "PNG", "TIFF", "GIF"):
        encoded = encode(picture(), format)
        with pytest.raises(DataError) as caught:
            decode(encoded[: len(encoded) * 2 // 3])
        assert caught.value.reason == "truncated", format
    for foreign in (b"", b"<html>not found</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff"):
        with pytest.raises(DataError) as caught:
            decode(foreign)
        assert caught.value.reason in {"broken_image", "truncated"}


def test_a_jpeg_with_damaged_pixels_is_broken() -> None:
    encoded = bytearray(encode(picture(160, 120), "JPEG", quality=90))
    del encoded[-60:-20]
    with pytest.raises(DataError) as caught:
        decode(bytes(encoded))
    assert caught.value.reason == "broken_image"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_pixels_are_contiguous_and_writable(format: str) -> None:
    flags = decode(encode(picture(), format)).flags
    assert flags["C_CONTIGUOUS"]
    assert flags["WRITEABLE"]


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    encoded = encode(picture(), "JPEG", progressive=True)
    at = encoded.rindex(b"\xff\xda")
    scan = encoded[at:-2]
    with pytest.raises(DataError, match="scans"):
        decode(encoded[:at] + scan * (MAX_JPEG_SCANS + 1) + encoded[-2:])


def decoded_or_reason(encoded: bytes, denominator: int) -> Pixels | str:
    try:
        return decode(encoded, denominator, max_pixels=1 << 20)
    except DataError as error:
        return error.reason


SEEDS = [
    encode(picture(), "JPEG", exif=exif(6)),
    encode(picture(), "JPEG", progressive=True),
    encode(picture().convert("CMYK"), "JPEG"),
    encode(picture(mode="RGBA"), "PNG", exif=exif(3)),
    encode(picture(), "PNG", save_all=True, append_images=[picture(mode="RGB").rotate(90)]),
    encode(picture().quantize(16), "GIF", save_all=True, append_images=[picture().quantize(8)]),
    encode(picture(mode="RGBA"), "WEBP", exif=exif(8)),
    encode(picture(), "BMP"),
    encode(picture(), "TIFF", exif=exif(5)),
    encode(picture(), "TIFF", compression="tiff_lzw"),
    encode(picture(), "AVIF", quality=50),
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_hostile_bytes_raise_nothing_but_data_errors(seed: bytes, data: st.DataObject) -> None:
    mutated = bytearray(seed)
    places = st.integers(0, len(seed) - 1) | st.integers(0, min(200, len(seed) - 1))
    for at, value in data.draw(st.lists(st.tuples(places, st.binary(min_size=1, max_size=4)), max_size=6)):
        mutated[at : at + len(value)] = value
    cut = data.draw(st.none() | places)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = decoded_or_reason(bytes(mutated[:cut]), data.draw(st.sampled_from([1, 2, 4, 8])))
    if isinstance(outcome, str):
        assert outcome in {"broken_image", "truncated", "too_many_pixels"}
    else:
        assert outcome.dtype == np.uint8
        assert outcome.shape[2] == 3
        assert outcome.shape[0] * outcome.shape[1] <= 1 << 20
