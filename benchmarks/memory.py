"""How much memory a command's processes need, by what they are: the most that was seen of each, sampled from /proc.

Anonymous memory is counted: what a process allocated itself. Pages of files and of shared memory (Ray's object store) may
be dropped or belong to others; they are told by whoever sets them.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

EVERY_SECONDS = 0.05


@dataclass
class Peaks:
    """The largest process of each kind, in bytes, and how many were seen."""

    bytes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    seen: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def take(self, kind: str, pid: int, size: int) -> None:
        """A process of this size was seen."""
        self.bytes[kind] = max(self.bytes[kind], size)
        self.seen[kind].add(pid)


@contextlib.contextmanager
def peaks_below(root: int, kind_of: Callable[[int, str], str | None]) -> Iterator[Peaks]:
    """Watch a process and all below it; ``kind_of(pid, command line)`` says what a process is, or None to leave it out."""
    peaks, over = Peaks(), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY_SECONDS):
            for pid in _tree(root):
                with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
                    kind = kind_of(pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
                    if kind is not None:
                        peaks.take(kind, pid, _anonymous(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _tree(root: int) -> Iterator[int]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                children[int(_field(int(entry.name), "PPid"))].append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children[pid]


def _anonymous(pid: int) -> int:
    return int(_field(pid, "RssAnon").split()[0]) * 1024


def _field(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise ValueError(f"{pid} has no {name}")
