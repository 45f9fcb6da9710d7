"""What the tests of the report look at: generated tars, and a scorer that reads the spotted words off the caption."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tamis.corpora.engine import Outcome, Resources, Task, attempt, here
from tamis.corpora.store import Store
from tamis.pipelines.job import Job
from tamis.pipelines.logs import Entry
from tamis.pipelines.recipe import parse_recipe

from ..running import GroupsByMaps

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}</title>"
"""A caption, an example of a failure and a spotted word that try to be more than text."""

SCORER = '''
from dataclasses import dataclass

import pyarrow as pa

from tamis.corpora.errors import DataError
from tamis.filters.scorer import Column, Needs, Scorer


@dataclass(frozen=True)
class Spots(Scorer):
    """Says that a picture reads what its caption says after "reads "."""

    @property
    def columns(self):
        return (
            Column("words", pa.list_(pa.string()), "", "words"),
            Column("boxes", pa.list_(pa.list_(pa.float32())), "share", "boxes"),
            Column("rate", pa.float32(), "share", "one if it reads anything"),
        )

    @property
    def needs(self):
        return Needs(columns=("caption",))

    def prepare(self, sample):
        if sample.row["caption"] == "unreadable":
            raise DataError("no_words")
        return sample.row["caption"].partition("reads ")[2].split()

    def score(self, batch, device):
        boxes = [[[0.1, 0.2, 0.5, 0.2, 0.5, 0.4, 0.1, 0.4]] * len(words or ()) for words in batch]
        return {"words": batch, "boxes": boxes, "rate": [float(bool(words)) for words in batch]}
'''


class Here(GroupsByMaps):
    """An engine that runs everything in this process."""

    name = "here"

    def check(self, modules: Sequence[str]) -> None: ...

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        task.setup()
        yield from (attempt(task, item, here(self.name)) for item in items)


class Unwatched:
    """Shows nobody anything."""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None: ...

    def advance(self, items: int, units: int, failures: int) -> None: ...

    def hear(self, entry: Entry) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Made:
    """A folder of generated tars, and a recipe over them to change."""

    folder: Path
    recipe: dict[str, Any]

    def job(self, **changes: Any) -> Job:
        recipe = parse_recipe({**self.recipe, **changes}, self.folder)
        return Job(recipe, Store(recipe.corpus), Here(), Unwatched())


RECIPE: dict[str, Any] = {
    "name": "generated",
    "corpus": "corpus",
    "source": {"kind": "shards", "path": "tars/*.tar", "keep": ["similarity"]},
    "scores": {"spots": {"kind": "spotting_by_caption:Spots"}},
    "duplicates": {"exact": {"on": "image_sha256"}},
    "criteria": {
        "big": "min_side >= 64",
        "matched": "source.similarity >= 0.28",
        "quiet": "spots.rate < 0.5",
    },
    "policies": {
        "everything": "true",
        "sifted": "big and matched and quiet and first_of(duplicates.exact)",
    },
    "exports": [{"policy": "sifted", "to": "export"}],
    "report": {"samples": 30},
}


def write_tars(folder: Path) -> None:
    """Two tars of 40 samples: sizes, similarities, copies, words, two broken images, hostile text."""
    for number in range(2):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for row in range(40):
                for ending, data in _sample(number, row):
                    member = tarfile.TarInfo(f"{number:02d}{row:03d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def _sample(number: int, row: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng((number, row))
    caption = f"picture {number} {row}"
    if row % 8 == 1:
        caption += f" reads SALE {HOSTILE.split()[0]}"
    if row in {3, 4}:
        caption = (HOSTILE, "unreadable")[row - 3]
    source = (0, 0) if row % 10 == 5 else (number, row)  # every tenth picture is a copy of the first
    yield "jpg", b"not an image <b>" if row == 7 else jpeg(*source)
    yield "txt", caption.encode()
    url = f"https://example.org/{number}/{row}?{HOSTILE if row == 7 else ''}"
    yield "json", json.dumps({"similarity": float(rng.uniform(0.1, 0.5)), "url": url}).encode()


def jpeg(*seed: int) -> bytes:
    """A picture of 40 to 300 px a side."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 300, 2)
    small = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((int(width), int(height))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
