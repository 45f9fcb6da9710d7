"""Which GPUs a process may use, settled between the processes of one executor and kept for life.

Spark hands GPU addresses to its tasks. A process that has loaded a model serves many tasks, and its GPU cannot change
with each: so a process takes one of the executor's slots and keeps it, whatever the addresses of the tasks it serves.
There are as many slots as tasks that Spark runs at once, so that each process finds one, and none is used twice: one
process a GPU, or as many as have a share of it. A slot is a locked file; the kernel unlocks it when the process ends,
however it ends.

Price: a few system calls a process; a process that finds all slots taken looks again ten times a second.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from ...corpora.errors import ShardError

_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Lease:
    """GPUs that are this process's own, as long as ``held`` is open: to the end of its life."""

    addresses: list[str]
    held: ExitStack


@dataclass(frozen=True)
class Slots:
    """The slots that the processes of one executor share, files in ``folder``; a process needs ``gpus``: 2, 1, 0.25."""

    folder: Path
    gpus: float

    def offer(self, addresses: Sequence[str]) -> None:
        """Make known that the executor has GPUs at these addresses: a task was given them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for address in addresses:
            for number in range(max(1, math.floor(1 / self.gpus + 1e-9))):  # 1 / 0.1 may fall short of 10
                (self.folder / f"{number}.{quote(address, safe='')}").touch()

    def claim(self, wait_seconds: float = 120.0) -> Lease:
        """Take what a process needs, waiting for those that end: Spark ends what has been idle for a minute.

        Raises:
            ShardError: so much did not come free; at the next attempt it may be.
        """
        until = time.monotonic() + wait_seconds
        while (lease := self._take(math.ceil(self.gpus))) is None:
            if time.monotonic() > until:
                raise ShardError(f"no GPU came free in {wait_seconds:g} s: other processes hold {self._told()}")
            time.sleep(_PAUSE_SECONDS)
        return lease

    def _take(self, number: int) -> Lease | None:
        """``number`` slots at once or none, so that processes do not wait for what the other has."""
        addresses: list[str] = []
        with ExitStack() as taken:
            for slot in sorted(self.folder.iterdir(), key=_first_one_a_gpu):
                file = os.open(slot, os.O_RDONLY)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(file)
                    continue
                taken.callback(os.close, file)
                addresses.append(_address(slot))
                if len(addresses) == number:
                    return Lease(addresses, taken.pop_all())
        return None

    def _told(self) -> str:
        return ", ".join(sorted({_address(slot) for slot in self.folder.iterdir()}))


def _address(slot: Path) -> str:
    return unquote(slot.name.partition(".")[2])


def _first_one_a_gpu(slot: Path) -> tuple[int, str]:
    return int(slot.name.partition(".")[0]), slot.name
