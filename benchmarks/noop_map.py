"""One ``map`` of a task that does nothing, in a process of its own: what a scheduler costs, and what it holds in memory.

Usage: noop_map.py ENGINE WORKERS ITEMS. Prints one JSON object: seconds to start (the first items on fresh workers), seconds
of the map, and the peak memory in MiB of the driver and of the processes that it started, by name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.corpora.engine import Resources
from tamis.jobs.engines.choosing import engine_of
from tamis.pipelines.recipe import EngineBlock


@dataclass(frozen=True)
class Nothing:
    """Does nothing, and says so in an outcome of the usual size."""

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> Mapping[str, Any]:
        """An account like a shard's."""
        return {"shard": item, "rows": 10_000, "measured": 10_000, "broken": 0}


def main() -> None:
    """Start, map, tell."""
    kind, workers, items = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    engine = engine_of(EngineBlock.model_validate({"kind": kind, "workers": workers}))
    started = time.perf_counter()
    assert len(list(engine.map(Nothing(), [f"{number:05d}" for number in range(workers)], Resources()))) == workers
    start = time.perf_counter() - started
    names = [f"{number:05d}" for number in range(items)]
    started = time.perf_counter()
    done = processes = 0
    seen: set[int] = set()
    for outcome in engine.map(Nothing(), names, Resources()):
        assert outcome.ok, outcome
        done += 1
        seen.add(outcome.worker["process"])
        processes = max(processes, len(seen))
    seconds = time.perf_counter() - started
    assert done == items
    told = {"start": start, "seconds": seconds, "ms": seconds / items * 1e3, "memory": memory(), "workers": processes}
    print(json.dumps(told))


def memory() -> dict[str, float]:
    """Peak memory in MiB of this process and of its descendants (and of a local Ray's), by the name of what they run."""
    found = {"driver": _peak(os.getpid())}
    for pid in _family(os.getpid()):
        name = _name(pid)
        found[name] = max(found.get(name, 0), _peak(pid))
    return {name: round(mib, 1) for name, mib in sorted(found.items())}


def _family(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found, left = [], [root]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    first = Path(words[0].split(" ")[0]).name
    return first if not first.startswith("python") else "python"


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
