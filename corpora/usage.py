"""How much room a store takes, by its top folders, at a bounded price.

A corpus of a million shards has millions of files, and a listing of them takes minutes; so each folder is listed up to
``most`` files, and where there are more the figure is a lower bound and says so.

Price: locally 5 us a file; a request for every 1,000 objects on S3, for every folder elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .store import Store

FILES_AT_MOST = 200_000
OBJECTS_AT_MOST = 20_000


@dataclass(frozen=True)
class Usage:
    """Files below a folder and their bytes; ``whole`` unless there are more than were listed."""

    files: int = 0
    bytes: int = 0
    whole: bool = True


def usage(store: Store, most: int | None = None) -> dict[str, Usage]:
    """What each top folder takes, listing at most ``most`` files of each."""
    limit = most or (FILES_AT_MOST if store.local is not None else OBJECTS_AT_MOST)
    return {folder: _counted(_sizes(store, folder), limit) for folder in store.folders("")}


def _counted(sizes: Iterator[int], most: int) -> Usage:
    listed = list(islice(sizes, most + 1))
    return Usage(min(len(listed), most), sum(listed[:most]), len(listed) <= most)


def _sizes(store: Store, folder: str) -> Iterator[int]:
    if store.local is not None:
        return _local_sizes(store.full(folder))
    if store.url(folder).startswith("s3://"):
        return _s3_sizes(store.fs, store.full(folder))
    return _other_sizes(store.fs, store.full(folder))


def _local_sizes(folder: str) -> Iterator[int]:
    gone = suppress(FileNotFoundError)  # a run that goes on meanwhile moves and removes
    waiting = [folder]
    while waiting:
        with gone, os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with gone:
                    yield entry.stat(follow_symlinks=False).st_size


def _s3_sizes(fs: Any, folder: str) -> Iterator[int]:
    bucket, key, _ = fs.split_path(folder)
    more: dict[str, str] = {}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{key}/", **more)
        yield from (int(found["Size"]) for found in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _other_sizes(fs: Any, folder: str) -> Iterator[int]:
    for _, _, files in fs.walk(folder, detail=True):
        yield from (int(found["size"] or 0) for found in files.values())
