"""A task for engines to run, whose items say what is done: fail, be killed, wait; it leaves a mark for each attempt."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.corpora.errors import ConfigError, DataError, FatalError, ShardError


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent's notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what must come to pass."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


@dataclass(frozen=True)
class Marks:
    """A folder in which tasks leave a mark for each attempt, so that tests see what ran, how often and where."""

    folder: str

    def leave(self, name: str) -> int:
        """Mark an attempt; which one it is."""
        for number in range(1, 100):
            try:
                with (Path(self.folder) / f"{name}.{number}").open("x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                continue
            return number
        raise AssertionError("too many attempts")

    def attempts(self) -> dict[str, int]:
        return dict(Counter(path.name.rsplit(".", 1)[0] for path in Path(self.folder).iterdir()))

    def at_work(self) -> int:
        """How many processes have begun an item."""
        return len({pid for name, pid in self.processes().items() if pid and not name.startswith("set-up.")})

    def processes(self) -> dict[str, int]:
        """The process that made each attempt; 0 while it is being told."""
        return {path.name: int(path.read_text() or 0) for path in Path(self.folder).iterdir()}


@dataclass(frozen=True)
class Act:
    """What an item says is what is done: ``raise-ShardError-once`` raises at the first attempt."""

    marks: Marks
    set_up: str = "well"
    crowd: int = 0
    """Items wait until so many processes have begun one, so that each of them gets some."""

    def setup(self) -> None:
        self._act(self.set_up, self.marks.leave("set-up"))

    def __call__(self, item: str) -> dict[str, Any]:
        attempt = self.marks.leave(item)
        while self.marks.at_work() < self.crowd or ("on-cue" in item and not self.marks.attempts().get("cue")):
            time.sleep(0.01)
        self._act(item.split(":")[-1], attempt)
        ballast = "x" * 10_000_000 if "ballast" in item and attempt == 1 else ""
        return {"attempt": attempt, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "ballast": ballast}

    def _act(self, deed: str, attempt: int) -> None:
        deed, once, _ = deed.partition("-once")
        if not once or attempt == 1:
            _DEEDS[deed]()


def fail(error: Exception) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


_DEEDS: dict[str, Callable[[], Any]] = {
    "well": lambda: None,
    "slowly": lambda: time.sleep(0.3),
    "for-ever": lambda: time.sleep(60),
    "raise": fail(ValueError("a bug")),
    "raise-shard": fail(ShardError("the shard is cut; restore it")),
    "raise-data": fail(DataError("truncated")),
    "raise-fatal": fail(FatalError("the disk is full")),
    "raise-config": fail(ConfigError("no such weights")),
    "raise-no-space": fail(OSError(28, "No space left on device")),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "leave": fail(SystemExit(3)),  # type: ignore[arg-type]
}
