"""What every benchmark shares: timing whole commands, interleaving with a peer, and telling the result.

Figures are medians with their spread; ratios are taken pair by pair, so that a machine whose speed drifts does not favour
one side. A ratio above 1 always means that tamis is better.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TAMIS = (sys.executable, "-m", "tamis.jobs.cli")


@dataclass(frozen=True)
class Timing:
    """One run of a command: wall and CPU seconds (of its process tree), and what it printed."""

    wall: float
    cpu: float
    stdout: str


def parser(about: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--quick", action="store_true", help="a small form that ends within a minute")
    made.add_argument("--json", action="store_true", help="print one JSON object last")
    made.add_argument("--work", type=Path, default=Path("work/benchmarks"), help="where inputs and outputs go")
    made.add_argument("--data", type=Path, default=os.environ.get("TAMIS_DATA"), help="folder of real data, if any")
    made.add_argument("--peer-venv", type=Path, default=Path(".peers"), help="where `make peers` put the peers")
    return made


def timed(command: Sequence[str], env: Mapping[str, str] | None = None) -> Timing:
    """Run a command to its end and time it.

    Raises:
        SystemExit: it failed; its messages are shown.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(
            f"{shlex.join(command)} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, cpu, done.stdout)


def interleaved(runs: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Run the sides in turn, ``runs`` times each; the figures of each."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            found[name].append(side())
    return found


def spread(values: Sequence[float]) -> str:
    """``median (min-max)``."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The ratios pair by pair."""
    return [a / b for a, b in zip(over, under, strict=True)]


def tell(name: str, rows: Sequence[tuple[str, str]], result: Mapping[str, Any], as_json: bool) -> None:
    """Print the table for people and, when asked, the JSON object."""
    processor = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    print(
        f"## {name}: {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {processor}, Python {platform.python_version()}"
    )
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"  {label:<{width}}  {value}")
    if as_json:
        print(json.dumps(result))


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
