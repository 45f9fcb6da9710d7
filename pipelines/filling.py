"""The task that fetches: a block of consecutive shards, all open at once in one process, filled from one stream.

A straggler holds up its block's end and nothing else. Where images are resized, they pass through processes that decode
(see ``tamis.corpora.resizers``), a few dozen at a time; when those are behind, the stream waits for them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from ..corpora.errors import DataError, ShardError
from ..corpora.fetching import Fetched, FetchSettings, Request, fetch
from ..corpora.index import path_of
from ..corpora.metering import Meter
from ..corpora.names import sick_resolver
from ..corpora.plan import read_slots
from ..corpora.resizers import Resizers
from ..corpora.resizing import ResizeSettings, target_size
from ..corpora.robots import RobotsMemory
from ..corpora.sharding import OpenShard
from ..corpora.sniffing import inspect
from ..corpora.store import Store
from ..corpora.urls import read_url

_AHEAD_PER_CHILD = 32
"""Images that wait to be resized, for each process that resizes: enough that a slow one does not stop the stream."""


def blocks(shards: Sequence[str], size: int) -> list[str]:
    """Items of consecutive shards: ``00003-00007``, at most ``size`` shards each.

    >>> blocks(["00001", "00002", "00004"], 2)
    ['00001-00002', '00004-00004']
    """
    runs: list[list[str]] = []
    for before, shard in pairwise([None, *shards]):
        if runs and before is not None and int(shard or 0) == int(before) + 1 and len(runs[-1]) < size:
            runs[-1].append(str(shard))
        else:
            runs.append([str(shard)])
    return [f"{run[0]}-{run[-1]}" for run in runs]


def shards_of(block: str) -> list[str]:
    """The shards that an item of ``blocks`` names."""
    first, last = block.split("-")
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


_PROBED_SLOTS = 256


@dataclass(frozen=True)
class FetchTask:
    """Fetches the shards of a block."""

    store: Store
    source_schema: pa.Schema
    settings: FetchSettings
    resize: ResizeSettings | None = None
    threads: int = 1
    """How many images are resized at once."""
    robots: RobotsMemory = field(default_factory=RobotsMemory, compare=False)
    """What a worker learns of hosts in one block serves it in the next."""

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Ask for every slot of the block; each shard closes when its last slot is terminal."""
        missing = [shard for shard in shards_of(item) if not self.store.exists(path_of(shard))]
        if missing and (sick := self.sick_resolver(missing[0])):
            raise ShardError(sick)
        with ExitStack() as stack:
            resizers = stack.enter_context(Resizers(self.resize, self.threads)) if self.resize else None
            return stack.enter_context(_Block(self, missing, resizers)).run()

    def sick_resolver(self, shard: str) -> str | None:
        """Say that this machine cannot look up any name of a shard's list; without it a crawl would lose every image."""
        return None if self.settings.proxy else sick_resolver(_named_hosts(read_slots(self.store, shard)))


def _named_hosts(slots: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for slot in slots[:_PROBED_SLOTS]:
        with suppress(DataError):
            target = read_url(slot["url"])
            if not target.literal:
                yield target.host


class _Block:
    """Shards being filled from one stream of responses; closing runs on a thread beside it."""

    def __init__(self, task: FetchTask, shards: Sequence[str], resizers: Resizers | None) -> None:
        self._task, self._shards, self._resizers = task, shards, resizers
        self._open: dict[int, OpenShard] = {}
        self._place: dict[int, tuple[int, int]] = {}
        self._resizing: deque[tuple[Fetched, Future[bytes]]] = deque()
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="close")
        self._closing: list[Future[dict[str, Any]]] = []

    def run(self) -> dict[str, Any]:
        meter = Meter()
        for fetched in fetch(self._requests(), self._task.settings, self._task.robots):
            meter.lap("download")
            if self._resizers and self._is_to_be_resized(fetched.body):
                assert fetched.body is not None
                self._resizing.append((fetched, self._resizers.submit(fetched.body)))
                self._settle(_AHEAD_PER_CHILD * self._task.threads)
                meter.lap("wait")
            else:
                self._take(fetched)
                meter.lap("write")
        if self._resizing:
            self._settle(0)
            meter.lap("wait")
        told = [future.result() for future in self._closing]
        meter.lap("write")
        return {**_summed(told, meter), **meter.told()}

    def _is_to_be_resized(self, body: bytes | None) -> bool:
        if body is None or self._task.resize is None:
            return False
        with suppress(DataError):  # what is wrong with it is told where it is taken
            return target_size(*inspect(body).upright, self._task.resize) is not None
        return False

    def _settle(self, most: int) -> None:
        """Take what has been resized, and wait until at most so many are not."""
        while self._resizing and (len(self._resizing) > most or self._resizing[0][1].done()):
            fetched, future = self._resizing.popleft()
            fault = future.exception()
            if fault is not None and not isinstance(fault, DataError):
                raise fault
            self._take(fetched, future.result() if fault is None else fault)

    def _take(self, fetched: Fetched, resized: bytes | DataError | None = None) -> None:
        number, slot = self._place.pop(fetched.slot)
        shard = self._open[number]
        shard.take(fetched, slot, resized)
        if shard.complete:
            self._closing.append(self._closer.submit(self._open.pop(number).close))

    def _requests(self) -> Iterator[Request]:
        store, schema, opt_outs = self._task.store, self._task.source_schema, self._task.settings.opt_outs
        serial = 0
        for number, shard in enumerate(self._shards):
            slots = read_slots(store, shard)
            self._open[number] = OpenShard(store, shard, slots, schema, opt_outs)
            for slot, row in enumerate(slots):
                self._place[serial] = (number, slot)
                yield Request(serial, row["url"])
                serial += 1

    def __enter__(self) -> _Block:
        return self

    def __exit__(self, *_: object) -> None:
        self._closer.shutdown()
        for shard in self._open.values():
            shard.discard()


def _summed(closed: Sequence[Mapping[str, Any]], meter: Meter) -> dict[str, Any]:
    """The accounts of the shards of a block as one; their bytes go to the meter."""
    failed: Counter[str] = Counter()
    for account in closed:
        failed.update(account["failed"])
        meter.bytes_in += account["bytes"]
        meter.bytes_out += account["written"]
    totals = {name: sum(account[name] for account in closed) for name in ("asked", "fetched")}
    return {**totals, "failed": dict(failed), "shards": len(closed)}
