import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tamis.corpora.drawn.fonts import find_fonts
from tamis.corpora.drawn.scenes import random_scene
from tamis.corpora.errors import DataError
from tamis.corpora.sniffing import inspect
from tamis.pipelines.demo import bodies
from tamis.pipelines.demo.bodies import BOMB_SIDE_PX, Body, Format, Photograph, Picture, bomb, make, stock

FONTS = find_fonts()
SCENE = Picture(random_scene(np.random.default_rng(0)), 240, 200, (0, 0))
CAT = Picture(Photograph("chelsea.png"), 220, 210, (0, 1))


@pytest.mark.parametrize("picture_format", ["jpeg", "png", "webp", "gif"])
@pytest.mark.parametrize("picture", [SCENE, CAT, replace(CAT, subject=Photograph("moon.png"))])
def test_a_body_is_an_image_of_its_format_and_size(picture_format: Format, picture: Picture) -> None:
    content = make(Body(picture, picture_format, 80), FONTS)
    header = inspect(content)
    assert (header.format, header.width, header.height) == (picture_format, picture.width, picture.height)
    told = Image.open(io.BytesIO(content))
    told.load()
    assert told.format == picture_format.upper()


def test_quality_and_scale_make_another_file_of_the_same_picture() -> None:
    good, poor, small = (make(Body(SCENE, "jpeg", q, s), FONTS) for q, s in ((90, 1.0), (30, 1.0), (90, 0.5)))
    assert len(poor) < len(good) / 2
    shown = [Image.open(io.BytesIO(content)) for content in (good, poor, small)]
    assert shown[2].size == (120, 100)
    whole, other, shrunk = (np.asarray(picture.resize((120, 100)).convert("L"), dtype=int) for picture in shown)
    assert np.abs(whole - other).mean() < 6
    assert np.abs(whole - shrunk).mean() < 6


def test_some_jpegs_are_progressive() -> None:
    assert b"\xff\xc2" in make(Body(SCENE, "jpeg", 80), FONTS)
    assert b"\xff\xc0" in make(Body(SCENE, "jpeg", 81), FONTS)


def test_equal_bodies_are_equal_bytes_and_another_seed_is_another_picture() -> None:
    assert make(Body(SCENE), FONTS) == make(Body(replace(SCENE)), FONTS)
    assert make(Body(SCENE), FONTS) != make(Body(replace(SCENE, seed=(0, 9))), FONTS)


def test_a_sign_is_drawn_into_any_picture() -> None:
    for picture in (SCENE, replace(CAT, subject=Photograph("moon.png"))):
        plain, signed = (bodies.draw(p, FONTS).convert("RGB") for p in (picture, replace(picture, sign="EXIT")))
        changed = np.abs(np.asarray(plain, dtype=int) - np.asarray(signed, dtype=int)).max(axis=2) > 30
        assert 0.02 < changed.mean() < 0.2


@pytest.mark.parametrize(("damage", "reason"), [("cut", "truncated"), ("html", "html"), ("bomb", "too_many_pixels")])
def test_a_damaged_body_is_refused_for_what_it_is(damage: bodies.Damage, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        inspect(make(Body(SCENE, "jpeg", damage=damage), FONTS))
    assert caught.value.reason == reason


def test_a_cut_body_is_the_first_half_and_does_not_decode() -> None:
    whole, cut = make(Body(SCENE), FONTS), make(Body(SCENE, damage="cut"), FONTS)
    assert cut == whole[: len(whole) // 2]
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(cut)).load()


def test_a_bomb_is_a_correct_png_whatever_its_side() -> None:
    for side_px in (1, 8, 61):
        picture = Image.open(io.BytesIO(bomb(side_px)))
        picture.load()
        assert picture.size == (side_px, side_px)
        assert not np.asarray(picture).any()


def test_a_small_bomb_claims_what_no_machine_should_decode() -> None:
    content = make(Body(SCENE, "png", damage="bomb"), FONTS)
    assert len(content) < 200_000
    assert content[12:16] == b"IHDR"
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    assert (width, height, depth, colour) == (BOMB_SIDE_PX, BOMB_SIDE_PX, 1, 0)
    assert zlib.crc32(content[12:29]) == struct.unpack(">I", content[29:33])[0]
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(content))


def test_stock_makes_equal_bodies_once_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"a.jpeg": Body(SCENE), "b.png": Body(SCENE, "png"), "c.jpeg": Body(SCENE)}
    assert list(stock(wanted, tmp_path, workers=1)) == [2, 3]
    assert (tmp_path / "a.jpeg").read_bytes() == (tmp_path / "c.jpeg").read_bytes() == make(Body(SCENE), FONTS)
    assert inspect((tmp_path / "b.png").read_bytes()).format == "png"
    (tmp_path / "a.jpeg").write_bytes(b"kept")
    assert list(stock(wanted, tmp_path)) == [3]
    assert (tmp_path / "a.jpeg").read_bytes() == b"kept"
    monkeypatch.setattr("PIL.__version__", "another")
    assert list(stock(wanted, tmp_path, workers=1)) == [2, 3]
    assert (tmp_path / "a.jpeg").read_bytes() != b"kept"
