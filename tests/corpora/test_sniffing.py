"""Headers agree with a real decoder; cut bodies are found; hostile bytes do no harm."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.errors import DataError
from tamis.corpora.image_headers import MAX_STEPS
from tamis.corpora.sniffing import MAX_PIXELS, inspect

SIZE = (37, 21)
REASONS = {"empty", "html", "not_an_image", "truncated", "bad_header", "too_many_pixels"}


def picture(size: tuple[int, int] = SIZE, mode: str = "RGB", shift: int = 0) -> Image.Image:
    """A gradient, so that no format stores it in nothing."""
    width, height = size
    across = Image.frombytes(
        "L", size, bytes((5 * x + 3 * y + shift) % 256 for y in range(height) for x in range(width))
    )
    return across.convert(mode)


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, format, **options)
    return out.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def turned(format: str, orientation: int, **options: Any) -> bytes:
    return encoded(format, exif=exif(orientation), **options)


def frames(format: str, **options: Any) -> bytes:
    return encoded(format, save_all=True, append_images=[picture(shift=40)], duration=50, **options)


@cache
def bodies() -> dict[str, bytes]:
    """One of each, by what it is."""
    return {
        "jpeg": encoded("JPEG"),
        "jpeg progressive": encoded("JPEG", progressive=True),
        "jpeg grey": encoded("JPEG", picture(mode="L")),
        "jpeg cmyk": encoded("JPEG", picture(mode="CMYK")),
        "jpeg turned": turned("JPEG", 6),
        "png": encoded("PNG"),
        "png palette": encoded("PNG", picture(mode="P")),
        "png animated": frames("PNG"),
        "png turned": turned("PNG", 8),
        "webp lossy": encoded("WEBP"),
        "webp lossless": encoded("WEBP", lossless=True),
        "webp alpha": encoded("WEBP", picture(mode="RGBA"), lossless=False, exact=True),
        "webp animated": frames("WEBP"),
        "webp turned": turned("WEBP", 3),
        "gif": encoded("GIF"),
        "gif animated": frames("GIF"),
        "bmp": encoded("BMP"),
        "bmp grey": encoded("BMP", picture(mode="L")),
        "bmp bits": encoded("BMP", picture(mode="1")),
        "tiff": encoded("TIFF"),
        "tiff deflated": encoded("TIFF", compression="tiff_deflate"),
        "tiff big": encoded("TIFF", big_tiff=True),
        "avif": encoded("AVIF"),
        "avif animated": frames("AVIF"),
        "avif turned": turned("AVIF", 6),
    }


KINDS = tuple(bodies())
ENDED = tuple(kind for kind in KINDS if not kind.startswith("tiff"))  # a TIFF's directory may stand anywhere


def reason_of(body: bytes) -> str | None:
    try:
        inspect(body)
    except DataError as error:
        return error.reason
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_header_says_what_the_decoder_says(kind: str) -> None:
    header = inspect(bodies()[kind])
    with Image.open(io.BytesIO(bodies()[kind])) as image:
        frames = getattr(image, "n_frames", 1)
        found = (image.size, image.format, frames > 1)
    assert ((header.width, header.height), header.format.upper(), header.animated) == found
    assert header.mime == f"image/{kind.split()[0]}"
    assert header.extension == {"jpeg": "jpg"}.get(header.format, header.format)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_size_follows_exif(format: str, orientation: int) -> None:
    header = inspect(turned(format, orientation))
    assert (header.width, header.height, header.orientation) == (*SIZE, orientation)
    assert header.upright == (SIZE if orientation < 5 else SIZE[::-1])


@pytest.mark.parametrize(("orientation", "upright"), [(1, SIZE), (3, SIZE), (6, SIZE[::-1]), (8, SIZE[::-1])])
def test_avif_says_its_turns_in_boxes(orientation: int, upright: tuple[int, int]) -> None:
    header = inspect(turned("AVIF", orientation))
    assert (header.orientation, header.upright) == (orientation, upright)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_is_read_in_both_byte_orders(order: str) -> None:
    mark = "<" if order == "II" else ">"
    block = order.encode() + struct.pack(f"{mark}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 7, 0, 0)
    assert inspect(with_segment(0xE1, b"Exif\0\0" + block)).orientation == 7


def with_segment(marker: int, content: bytes, body: bytes | None = None) -> bytes:
    body = body or bodies()["jpeg"]
    return body[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content + body[2:]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_upright(value: int) -> None:
    block = b"II" + struct.pack("<HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, value, 0, 0)
    assert inspect(with_segment(0xE1, b"Exif\0\0" + block)).orientation == 1


def test_torn_exif_spoils_the_orientation_and_not_the_image() -> None:
    header = inspect(with_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    assert (header.width, header.height, header.orientation) == (*SIZE, 1)


def test_thumbnail_inside_exif_is_not_the_image() -> None:
    thumbnail = encoded("JPEG", picture((8, 6)))
    header = inspect(with_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail))
    assert (header.width, header.height) == SIZE
    cut = with_segment(0xE1, b"Exif\0\0" + thumbnail)[:-2]
    assert reason_of(cut) == "truncated"


@pytest.mark.parametrize("kind", ENDED)
def test_every_cut_is_found(kind: str) -> None:
    body = bodies()[kind]
    told = {reason_of(body[:length]) for length in range(16, len(body))}
    assert told <= {"truncated", "bad_header"}
    assert reason_of(body[: len(body) * 2 // 3]) == "truncated"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("avif")])
def test_bytes_after_the_end_do_no_harm(kind: str) -> None:
    assert inspect(bodies()[kind] + b"\r\n<!-- served by -->") == inspect(bodies()[kind])


def test_padding_between_jpeg_segments_is_skipped() -> None:
    body = bodies()["jpeg"]
    assert inspect(body[:2] + b"\xff\xff\xff" + body[2:]) == inspect(body)
    assert inspect(body[:20] + b"\0\xff\0\0" + body[20:]) == inspect(body)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><title>Not found</title>",
        b"\xef\xbb\xbf \r\n<!doctype HTML PUBLIC",
        b"<html lang=en>",
        b"<HEAD><title>",
        b"<script>location='/'</script>",
        b"<!-- hello --><html>",
        b"<?xml version='1.0'?><!DOCTYPE html><html xmlns='http://www.w3.org/1999/xhtml'>",
    ],
)
def test_web_page_is_told_apart(page: bytes) -> None:
    assert reason_of(page) == "html"


@pytest.mark.parametrize(
    "body",
    [
        *(b"these are some words", b'{"error": 1}', b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"),
        *(b"RIFF\x24\0\0\0WAVEfmt ", b"\0\0\0\x20ftypisom\0\0\0\0", b"\xff\xd8", b"\x89PNG\r\n", b"GIF88a" + bytes(20)),
        *(b"\0\0\x01\0\x01\0", bytes(100), b"XXXX\x24\0\0\0WEBPVP8 "),
    ],
)
def test_other_files_are_no_images(body: bytes) -> None:
    assert reason_of(body) == "not_an_image"


def test_no_bytes_are_empty() -> None:
    assert reason_of(b"") == "empty"


def bomb_png(width: int, height: int) -> bytes:
    """A well-formed PNG that claims to be large and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_pixels_are_counted_before_anything_is_decoded() -> None:
    assert reason_of(bomb_png(30_000, 30_000)) == "too_many_pixels"
    assert reason_of(bomb_png(MAX_PIXELS, 1)) is None
    assert reason_of(bomb_png(MAX_PIXELS + 1, 1)) == "too_many_pixels"
    assert inspect(bodies()["png"], max_pixels=SIZE[0] * SIZE[1]).width == SIZE[0]
    with pytest.raises(DataError, match="37 x 21 px is more than 776 pixels"):
        inspect(bodies()["png"], max_pixels=SIZE[0] * SIZE[1] - 1)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    assert reason_of(bomb_png(*size)) == "bad_header"


def test_bmp_from_the_top_has_its_height() -> None:
    body = bodies()["bmp"]
    flipped = body[:22] + struct.pack("<i", -SIZE[1]) + body[26:]
    assert (inspect(flipped).width, inspect(flipped).height) == SIZE


def test_heic_is_known_by_its_brand_and_its_largest_picture() -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    sizes = b"".join(box(b"ispe", struct.pack(">III", 0, *size)) for size in [(512, 512), (4032, 3024), (320, 240)])
    turn = box(b"irot", b"\3")
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", sizes + turn)))
    header = inspect(box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + meta + box(b"mdat", bytes(50)))
    assert (header.format, header.width, header.height, header.upright) == ("heic", 4032, 3024, (3024, 4032))


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"\xff\xd8\xff" + b"\xe0\0\2\xff" * (MAX_STEPS + 9), id="jpeg segments"),
        pytest.param(b"\xff\xd8" + b"\xff" * (MAX_STEPS + 9), id="jpeg fill"),
        pytest.param(b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * (MAX_STEPS + 9), id="gif sub-blocks"),
        pytest.param(b"GIF89a" + bytes(7 + MAX_STEPS + 9), id="gif padding"),
        pytest.param(bomb_png(9, 9)[:33] + bytes(12) * (MAX_STEPS + 9), id="png chunks"),
        pytest.param(
            b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 1 << 60) + bytes(20 * MAX_STEPS + 99), id="bigtiff tags"
        ),
        pytest.param(b"\0\0\0\x0cftypavif" + b"\0\0\0\x08free" * (MAX_STEPS + 9), id="avif boxes"),
    ],
)
def test_endless_structure_is_given_up(flood: bytes) -> None:
    assert reason_of(flood) == "bad_header"


STARTS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"\0\0\0\x0cftypavif"]
STARTS += [b"RIFF\x40\0\0\0WEBP" + kind for kind in (b"VP8 ", b"VP8L", b"VP8X")]


@given(st.sampled_from([b"", *STARTS]), st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_data_errors(start: bytes, rest: bytes) -> None:
    assert reason_of(start + rest) in {None, *REASONS}


@given(st.sampled_from(KINDS), st.data())
def test_mutated_images_raise_nothing_but_data_errors(kind: str, data: st.DataObject) -> None:
    body = bytearray(bodies()[kind])
    # the structure that is read stands at the front, a few of its bytes at the end
    places = st.one_of(st.integers(0, min(255, len(body) - 1)), st.integers(0, len(body) - 1))
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        body[at] = value
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    assert reason_of(bytes(body)) in {None, *REASONS}
