"""Killing the processes of a run with SIGKILL at random moments, as preemption and the kernel's memory killer do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORKERS = {"local": "multiprocessing.spawn", "ray": "ray::", "spark": "pyspark.daemon"}
"""What the command line of a worker process has in it, by engine."""

POLL_SECONDS = 0.02


@dataclass
class Killer:
    """Kills workers and drivers of one corpus's runs until their number is full."""

    engine: str
    rng: np.random.Generator
    workers: int
    drivers: int
    pause_seconds: float
    """The mean time between two kills."""
    killed: Counter[str]
    """How many ``workers`` and ``drivers`` were killed."""

    def watch(self, driver: subprocess.Popen[bytes]) -> None:
        """Stay with a driver to its end. The first worker and the first driver are killed as soon as there is a worker."""
        due = time.monotonic()
        while driver.poll() is None:
            left = {"workers": self.workers - self.killed["workers"], "drivers": self.drivers - self.killed["drivers"]}
            if sum(left.values()) <= 0:
                driver.wait()
                return
            workers = [pid for pid, line in descendants(driver.pid) if WORKERS[self.engine] in line]
            if workers and time.monotonic() >= due:
                self._kill(driver.pid, workers, left)
                pause = float(self.rng.exponential(self.pause_seconds))
                due = time.monotonic() + (pause if self.killed["drivers"] else 0.0)
            time.sleep(POLL_SECONDS)

    def _kill(self, driver: int, workers: list[int], left: dict[str, int]) -> None:
        share = left["drivers"] / sum(left.values()) if self.killed["drivers"] else float(self.killed["workers"] > 0)
        kind = "drivers" if self.rng.random() < share else "workers"
        try:
            os.kill(driver if kind == "drivers" else int(self.rng.choice(workers)), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[kind] += 1


def descendants(process: int) -> Iterator[tuple[int, str]]:
    """The processes below one, each with its command line."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        try:
            line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        yield child, line
        yield from descendants(child)
