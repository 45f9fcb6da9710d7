"""WebDataset tars as other programs write them: img2dataset's layout, and any members in any order."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Files = Iterable[tuple[str, bytes]]


def picture(seed: int = 0, width: int = 24, height: int = 16, kind: str = "JPEG") -> bytes:
    """A small picture, another for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def packed(files: Files, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of these files, by Python's tarfile."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tar_format) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def img2dataset_sample(number: int, **changes: Any) -> list[tuple[str, bytes]]:
    """The three members that img2dataset writes for a sample; ``changes`` to the fields of its ``.json``."""
    about: Mapping[str, Any] = {
        "url": f"http://a.example/{number}.jpg",
        "caption": f"caption {number}",
        "key": f"{number:09d}",
        "status": "success",
        "error_message": None,
        "width": 24,
        "height": 16,
        "similarity": number / 8,
        "WIDTH": 24 * number,
        "nsfw": number % 2 == 1,
        **changes,
    }
    caption = str(about["caption"])
    files = {"jpg": picture(number), "json": json.dumps(about).encode(), "txt": caption.encode()}
    return [(f"{number:09d}.{ending}", data) for ending, data in files.items()]


def img2dataset_tar(path: Path, numbers: Iterable[int], **changes: Any) -> Path:
    """A tar of such samples."""
    path.write_bytes(packed(file for number in numbers for file in img2dataset_sample(number, **changes)))
    return path
