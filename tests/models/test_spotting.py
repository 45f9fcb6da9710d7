import importlib.util
import logging
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tamis.corpora.errors import ConfigError
from tamis.models import spotting
from tamis.models.spotting import MIN_SIDE, Pixels, RapidOcr, load_spotter, weights_digest


def sheet(*lines: str, size: tuple[int, int] = (320, 160)) -> Image.Image:
    image = Image.new("RGB", size, (236, 228, 210))
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((24, 18 + 60 * row), line, (24, 24, 60), ImageFont.load_default(38))
    return image


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image)


def texts(image: Image.Image) -> list[str]:
    return [word.text for word in load_spotter("rapidocr").spot(pixels(image))]


def test_words_are_read_line_by_line_with_confidence() -> None:
    words = load_spotter("rapidocr").spot(pixels(sheet("Fresh coffee", "every morning")))
    assert [word.text for word in words] == ["Fresh", "coffee", "every", "morning"]
    assert all(0.9 < word.confidence <= 1 for word in words)
    assert words[0].confidence == words[1].confidence


def test_a_words_box_holds_its_ink_and_not_its_neighbours() -> None:
    image = sheet("Fresh coffee")
    ink = np.argwhere((pixels(image) < 100).all(axis=2))[:, ::-1]
    split = ImageDraw.Draw(image).textlength("Fresh ", ImageFont.load_default(38)) + 24
    first, second = (np.array(word.box) for word in load_spotter("rapidocr").spot(pixels(image)))
    for box, inside in ((first, ink[ink[:, 0] < split - 4]), (second, ink[ink[:, 0] > split])):
        (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
        assert left - 8 < inside[:, 0].min() < left + 16
        assert right - 16 < inside[:, 0].max() < right + 8
        assert top <= inside[:, 1].min()
        assert bottom >= inside[:, 1].max()
    assert first[1, 0] < second[0, 0]


@pytest.mark.parametrize("degrees", [-15, 15])
def test_tilted_lines_are_read_and_their_boxes_tilt(degrees: int) -> None:
    image = sheet("Fresh coffee", "every morning").rotate(
        degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(236, 228, 210)
    )
    words = load_spotter("rapidocr").spot(pixels(image))
    assert {word.text for word in words} == {"Fresh", "coffee", "every", "morning"}
    for word in words:
        (x1, y1), (x2, y2) = word.box[:2]
        assert np.degrees(np.arctan2(y1 - y2, x2 - x1)) == pytest.approx(degrees, abs=4)


def test_a_line_in_perspective_is_read() -> None:
    quad = (0, 0, -30, 160, 350, 130, 320, 20)
    image = sheet("Fresh coffee", "every morning").transform(
        (320, 160), Image.Transform.QUAD, quad, Image.Resampling.BICUBIC, fillcolor=(236, 228, 210)
    )
    assert texts(image) == ["Fresh", "coffee", "every", "morning"]


def test_a_line_that_stands_upright_starts_its_boxes_where_it_starts() -> None:
    words = load_spotter("rapidocr").spot(pixels(sheet("Fresh coffee").rotate(-90, expand=True)))
    assert [word.text for word in words] == ["Fresh", "coffee"]
    (x1, y1), (x2, y2), _, (x4, _) = words[0].box
    assert y2 > y1 + 50
    assert abs(x2 - x1) < 5
    assert x4 < x1
    assert words[1].box[0][1] > y2


def test_the_networks_are_given_blue_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Pixels] = []

    def engine(image: Pixels) -> SimpleNamespace:
        given.append(image)
        return SimpleNamespace(txts=None, boxes=None)

    spotter = RapidOcr()
    monkeypatch.setattr(spotter, "_engine", engine)
    spotter.spot(np.full((20, 20, 3), (1, 2, 3), np.uint8))
    assert given[0][0, 0].tolist() == [3, 2, 1]


def test_nothing_is_read_where_nothing_stands() -> None:
    rng = np.random.default_rng(0)
    spotter = load_spotter("rapidocr")
    assert spotter.spot(np.full((200, 200, 3), 130, np.uint8)) == []
    assert spotter.spot(rng.integers(120, 136, (96, 200, 3), dtype=np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (MIN_SIDE - 1, 900), (MIN_SIDE, MIN_SIDE), (17, 1200), (1200, 17)])
def test_tiny_and_narrow_pictures_raise_nothing(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert all(word.confidence < 0.7 for word in load_spotter("rapidocr").spot(noise))


def test_two_spotters_read_the_same_twice() -> None:
    image = pixels(sheet("Fresh coffee", "every morning"))
    first, second = RapidOcr(threads=1), RapidOcr(threads=1)
    assert first.spot(image) == first.spot(image) == second.spot(image)


def test_loading_and_reading_ask_no_network_and_say_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(logging.getLogger("RapidOCR"), "handlers", [caplog.handler])
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    spotter = RapidOcr()
    assert spotter.spot(pixels(sheet("Fresh")))[0].text == "Fresh"
    assert spotter.spot(np.full((64, 64, 3), 9, np.uint8)) == []
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
    assert (root.level, list(root.handlers)) == before


def test_a_spotter_is_loaded_once_a_process() -> None:
    assert load_spotter("rapidocr") is load_spotter("rapidocr")


def test_the_digest_changes_with_any_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch("[0-9a-f]{64}", weights_digest("rapidocr"))
    files = tmp_path / "a", tmp_path / "b"
    digests = set()
    for contents in ((b"x", b"y"), (b"x", b"z"), (b"z", b"y"), (b"x", b"y")):
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        monkeypatch.setattr(spotting, "_model_files", lambda: files)
        digests.add(weights_digest.__wrapped__("rapidocr"))
    assert len(digests) == 3


def test_an_unknown_engine_and_a_missing_extra_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown text spotting engine 'tesseract'; known: rapidocr"):
        load_spotter("tesseract")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'tamis[ocr]'")):
        RapidOcr()


def test_a_wheel_without_the_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("rapidocr", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match="carries no PP-OCRv6_det_small"):
        RapidOcr()
