from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.errors import DataError
from tamis.pipelines.report.thumbnails import LONGEST, thumbnail


def encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


@settings(max_examples=25)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_every_size_and_format_becomes_a_small_jpeg_of_the_same_shape(width: int, height: int, format: str) -> None:
    data = encoded(Image.new("RGB", (width, height), (200, 30, 60)), format)
    uri, shown_width, shown_height = thumbnail(data, width, height, format.lower())
    shown = opened(uri)
    assert (shown.format, shown.size) == ("JPEG", (shown_width, shown_height))
    assert max(shown.size) == min(LONGEST, max(width, height))
    scale = max(width, height) / max(shown.size)
    assert (
        abs(min(shown.size) - max(1, min(width, height) / scale)) < 2
    )  # rounded once by the decoder, once by the resize
    assert np.abs(np.asarray(shown).mean((0, 1)) - [200, 30, 60]).max() < 12


def test_what_was_hidden_in_the_original_is_not_in_the_thumbnail() -> None:
    data = encoded(Image.new("RGB", (300, 200)), "JPEG")
    segment = b"<script>alert(1)</script>"
    marked = data[:2] + b"\xff\xfe" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    uri, *_ = thumbnail(marked, 300, 200, "jpeg")
    assert segment not in base64.b64decode(uri.partition(",")[2])


def test_an_image_that_cannot_be_decoded_says_why() -> None:
    with pytest.raises(DataError) as told:
        thumbnail(b"GIF89a<script>", 10, 10, "gif")
    assert told.value.reason == "broken_image"
