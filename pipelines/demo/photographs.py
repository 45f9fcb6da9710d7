"""Real photographs for the demo: the ones that scikit-image's wheel carries, each told in a few honest captions.

They are read by path with Pillow (``skimage.data`` would bring its download machinery along), then cropped, turned a
little and lit anew, so that a few pictures make many. No caption has a word that could be read in its picture.
Price: about 60 ms a file once a process, then about 4 ms a picture.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ...corpora.errors import ConfigError

CAPTIONS = {
    "astronaut.png": (
        "a smiling woman in an orange space suit beside a flag",
        "portrait of an astronaut holding her helmet",
    ),
    "brick.png": ("a wall of long bricks in black and white", "brickwork with pale mortar, seen from nearby"),
    "camera.png": ("a man in a dark coat peers through a film camera on a tripod", "photographer at work on a lawn"),
    "chelsea.png": ("a tabby cat gazes past the lens", "portrait of a ginger cat with green eyes"),
    "coffee.png": ("an espresso in a red cup on a wooden desk", "a cup and a spoon on a saucer, seen from above"),
    "coins.png": ("rows of old metal discs on a dark cloth", "antique money laid out in four rows"),
    "grass.png": ("blades of grass in black and white", "a dense lawn seen from above"),
    "gravel.png": ("a heap of small grey pebbles", "crushed rock for a garden path"),
    "hubble_deep_field.jpg": ("distant galaxies in the night sky", "hundreds of galaxies on black"),
    "moon.png": ("craters on the surface of the moon", "the moon seen from orbit, in grey"),
    "motorcycle_left.png": ("a red motorbike parked in a workshop", "old motorbike in front of shelves and boxes"),
    "retina.jpg": ("blood vessels at the back of an eye", "medical photograph of a retina"),
    "rocket.jpg": ("a spaceship stands ready for launch at dusk", "floodlit launch pad with towers in the evening"),
}
"""The file names of the photographs, and what is seen in them."""

_LONGEST_PX = 700  # a larger file is read at half or a quarter: crops of it would alias
_MAX_TURN_DEGREES = 6


@cache
def folder() -> Path:
    """Where scikit-image keeps its pictures.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("the demo needs the photographs in scikit-image's wheel: pip install 'tamis[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


@cache
def _photograph(name: str) -> Image.Image:
    with Image.open(folder() / name) as picture:
        picture.load()
        return picture.reduce(math.ceil(max(picture.size) / _LONGEST_PX))


def shot(name: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Crop a photograph to the shape of ``width`` x ``height`` px, turned by up to 6 degrees, in another light."""
    whole = _photograph(name)
    turn = math.radians(rng.uniform(-_MAX_TURN_DEGREES, _MAX_TURN_DEGREES))
    cos, sin = math.cos(turn), math.sin(turn)
    upright = np.array([width * cos + height * abs(sin), width * abs(sin) + height * cos])  # the turned crop's own box
    scale = float((np.array(whole.size) / upright).min()) * rng.uniform(0.6, 1.0)
    room = np.array(whole.size) - upright * scale
    x, y = upright * scale / 2 + rng.random(2) * room
    across, down = scale * width / 2, scale * height / 2
    affine = (
        *(scale * cos, -scale * sin, x - across * cos + down * sin),
        *(scale * sin, scale * cos, y - across * sin - down * cos),
    )
    cropped = whole.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return _relit(cropped, rng)


def _relit(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change brightness and contrast by a curve of its own for each channel."""
    levels = np.arange(256) / 255
    gain, gamma = rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.3)
    tints = rng.uniform(0.95, 1.05, len(picture.getbands()))
    curve = np.concatenate([np.clip(gain * tint * levels**gamma * 255, 0, 255) for tint in tints])
    return picture.point([round(level) for level in curve.tolist()])
