"""Corpora made for benchmarks: real layout, generated bodies, written as the fetch stage writes them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.corpora.corpus import create
from tamis.corpora.index import TarFile, schema_with, write_index
from tamis.corpora.plan import shard_name
from tamis.corpora.records import uid_of
from tamis.corpora.sharding import add_sample, describe, tar_path
from tamis.corpora.sniffing import ImageHeader, inspect
from tamis.corpora.store import Store
from tamis.corpora.tars import TarWriter
from tamis.pipelines.demo.photographs import CAPTIONS, shot

Draw = Callable[[np.random.Generator], tuple[bytes, ImageHeader]]
"""Makes one image's bytes and says what they are."""


def write_corpus(folder: Path, name: str, shards: int, samples: int, draw: Draw) -> None:
    """Make ``folder/corpus``, unless an earlier run finished it."""
    done = folder / "made"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    store = Store(str(folder / "corpus"))
    store.check_writable()
    create(store, name, pa.schema([]))
    for number in range(shards):
        _shard(store, number, samples, draw)
    done.touch()


def _shard(store: Store, number: int, samples: int, draw: Draw) -> None:
    rng = np.random.default_rng(number)
    name, rows, made = shard_name(number), [], list[TarFile]()
    with store.commit(lambda: made[0].url) as sink:
        tar = TarWriter(sink)
        for row in range(samples):
            url, caption = f"http://images.example/{number}/{row}.jpg", f"a caption of the usual length, number {row}"
            body, header = draw(rng)
            uid = uid_of("url", url, caption)
            rows.append(add_sample(tar, describe(uid, url, [caption], header, rng.bytes(32).hex(), {}), body, row))
        digest = tar.close()
        made.append(TarFile(tar_path(name, digest), tar.size, digest))
    write_index(store, name, rows, schema_with(pa.schema([])), made[0])


def photograph(rng: np.random.Generator) -> tuple[bytes, ImageHeader]:
    """A cropped photograph of 256-512 px, quality 85."""
    name = sorted(CAPTIONS)[int(rng.integers(len(CAPTIONS)))]
    buffer = io.BytesIO()
    shot(name, int(rng.integers(320, 513)), int(rng.integers(256, 321)), rng).save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), inspect(buffer.getvalue())
