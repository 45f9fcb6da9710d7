"""What the demo's server answers with: pictures drawn from a description, and bodies that are broken on purpose.

A ``Body`` is a value: equal bodies are equal bytes, whatever URL they lie under, so exact copies are made by saying the
same thing twice. Bytes are a function of the value alone; ``stock`` makes them ahead, into a folder that a later run takes
over. Price: about 20 ms a body, most of it drawing; 15 s for the demo's 1,400 on two cores.
"""

from __future__ import annotations

import hashlib
import io
import math
import multiprocessing
import struct
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from ...corpora.drawn import posters, scenes, signs
from ...corpora.drawn.fonts import Fonts, find_fonts
from . import photographs

Format = Literal["jpeg", "png", "webp", "gif"]

Damage = Literal["none", "cut", "html", "bomb"]
"""What is wrong with a body: nothing; its second half is missing; it is a web page; it is a decompression bomb."""

BOMB_SIDE_PX = 30_000
"""A bomb's side: 900 million pixels, 2.7 GB as RGB, from about 110 KB."""

_STOCKED = "stocked.sha256"


@dataclass(frozen=True)
class Photograph:
    """A photograph, by its file name."""

    name: str


@dataclass(frozen=True)
class Picture:
    """What is to be seen: a subject at a size, with a sign in it unless ``sign`` is empty; drawn from ``seed``."""

    subject: scenes.Scene | posters.Poster | Photograph
    width: int
    height: int
    seed: tuple[int, int]
    sign: str = ""


@dataclass(frozen=True)
class Body:
    """A picture as a file: its format, quality (of JPEG and WebP) and size relative to the picture's."""

    picture: Picture
    format: Format = "jpeg"
    quality: int = 90
    scale: float = 1.0
    damage: Damage = "none"


def make(body: Body, fonts: Fonts) -> bytes:
    """The bytes of a body."""
    if body.damage == "html":
        return b"<!DOCTYPE html>\n<title>Not here</title>\n<p>This picture has moved to another page.</p>\n"
    if body.damage == "bomb":
        return bomb(BOMB_SIDE_PX)
    whole = encode(draw(body.picture, fonts), body)
    return whole[: len(whole) // 2] if body.damage == "cut" else whole


def draw(picture: Picture, fonts: Fonts) -> Image.Image:
    """Draw a picture (RGB, or grey when it is a grey photograph)."""
    rng = np.random.default_rng(picture.seed)
    subject, width, height = picture.subject, picture.width, picture.height
    match subject:
        case scenes.Scene():
            drawn = scenes.draw(subject, width, height, rng)
        case posters.Poster():
            drawn = posters.draw(subject, width, height, rng, fonts)
        case Photograph():
            drawn = photographs.shot(subject.name, width, height, rng)
    return signs.hang(drawn.convert("RGB"), picture.sign, rng, fonts) if picture.sign else drawn


def encode(picture: Image.Image, body: Body) -> bytes:
    """Write a picture in the format and at the scale that ``body`` says."""
    size_px = (round(picture.width * body.scale), round(picture.height * body.scale))
    sized = picture if size_px == picture.size else picture.resize(size_px, Image.Resampling.LANCZOS)
    written = io.BytesIO()
    match body.format:
        case "jpeg":
            sized.save(written, "JPEG", quality=body.quality, progressive=body.quality % 4 == 0)
        case "webp":
            sized.save(written, "WEBP", quality=body.quality, method=2)
        case "png":
            sized.save(written, "PNG", compress_level=3)
        case "gif":
            colours = Image.Quantize.FASTOCTREE  # five times as fast as the median cut
            sized.convert("RGB").quantize(256, colours, dither=Image.Dither.NONE).save(written, "GIF")
    return written.getvalue()


def bomb(side_px: int) -> bytes:
    """A small, correct PNG of enormous size: one bit a pixel, all black (PNG specification, chunks IHDR IDAT IEND)."""
    row = bytes(1 + math.ceil(side_px / 8))
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for _ in range(side_px)), packer.flush()])
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def stock(bodies: Mapping[str, Body], folder: Path, workers: int = 2) -> Iterator[int]:
    """Make the files of ``folder``, named by the keys of ``bodies``; yield now and then how many are there.

    A folder that was stocked with the same bodies, fonts and Pillow is left as it is.
    """
    marker, fingerprint = folder / _STOCKED, _fingerprint(bodies)
    if marker.exists() and marker.read_text() == fingerprint:
        yield len(bodies)
        return
    folder.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    names: dict[Body, list[str]] = {}
    for name, body in bodies.items():
        names.setdefault(body, []).append(name)
    made = 0
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for body, content in zip(names, pool.map(_make, names, chunksize=16), strict=True):
            for name in names[body]:
                (folder / name).write_bytes(content)
            made += len(names[body])
            yield made
    marker.write_text(fingerprint)


def _make(body: Body) -> bytes:
    return make(body, find_fonts())


def _fingerprint(bodies: Mapping[str, Body]) -> str:
    fonts = find_fonts()
    made_from = [PIL.__version__, *(str(font) for font in (*fonts.latin, fonts.chinese)), *map(str, bodies.items())]
    return hashlib.sha256("\n".join(made_from).encode()).hexdigest()
