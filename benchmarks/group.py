"""Grouping: 20 million (key, value) rows with a million keys, most of them alone and ten very heavy, on every engine.

An engine groups in a process of its own, by ``engine_of(block).group`` (no command groups and does nothing else). The
parts that engines write are compared byte by byte. Memory is that of the largest worker; what Ray's object store and
Spark's JVM may take is set here and told apart. Nothing is compared with others: the peers are inside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import parser, tell
from memory import peaks_below

from tamis.corpora.engine import Resources
from tamis.corpora.grouping import Dataset, Grouping, Parts
from tamis.corpora.groups import group_starts
from tamis.corpora.store import Store
from tamis.corpora.tables import scan_table, write_table
from tamis.jobs.engines.choosing import engine_of
from tamis.pipelines.recipe import EngineBlock

ENGINES = ("local", "ray", "spark")
ITEMS = 40
HEAVY_KEYS = 10
WORKERS, MEMORY_GIB = 2, 1.0
JVM_GIB, OBJECT_STORE_GIB = 2, 2
ROWS = pa.schema({"key": pa.int64(), "value": pa.int64()})
GROUPS = pa.schema({"key": pa.int64(), "rows": pa.int64(), "sum": pa.int64(), "first": pa.int64(), "last": pa.int64()})


def main() -> None:
    """Write the rows once, then group them on each engine."""
    options = _parser().parse_args()
    folder = options.work.resolve() / f"group-{'quick' if options.quick else 'full'}"
    rows = 1_000_000 if options.quick else 20_000_000
    if options.engine:
        print(json.dumps(_group(folder, options.engine, options.quick)))
        return
    keys = _write(folder, rows)
    told = {engine: _measured(folder, engine, options.quick) for engine in ENGINES}
    equal = len({one["digest"] for one in told.values()}) == 1
    groups = {one["groups"] for one in told.values()} == {keys}
    table = [("rows", f"{rows:,}, {keys:,} keys: {keys * 9 // 10:,} alone, {HEAVY_KEYS} with {rows // 20:,} rows each")]
    table.append(("workers", f"{WORKERS}, memory_gib {MEMORY_GIB:g}; {_partitions(options.quick)} parts"))
    for engine, one in told.items():
        table.append(
            (engine, f"{one['seconds']:.1f} s ({rows / one['seconds'] / 1e6:.2f} million rows/s), {_memory(one)}")
        )
    table.append(("the same bytes", "yes" if equal and groups else "NO"))
    result = {"rows": rows, "keys": keys, "equal": equal and groups, "engines": told}
    tell("group", table, result, options.json)
    if not (equal and groups):
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    made = parser(str(__doc__))
    made.add_argument(
        "--engine", choices=ENGINES, help="group on this engine, in this process, and tell (used by itself)"
    )
    return made


def _memory(one: dict[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {size / 2**30:.2f}" for kind, size in sorted(one["peaks"].items(), reverse=True))
    return f"peaks in GiB: {kinds}{one['set']}"


def _partitions(quick: bool) -> int:
    return 4 if quick else 20


def _write(folder: Path, rows: int) -> int:
    """The rows in shuffled order, unless an earlier run wrote them; how many keys they have."""
    keys, done = rows // 20, folder / "written"
    if done.exists():
        return keys
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    alone = keys * 9 // 10
    heavy = np.repeat(np.arange(HEAVY_KEYS) + alone, rows // 20)
    few = np.arange(alone + HEAVY_KEYS, keys)
    some = np.concatenate([few, rng.choice(few, rows - alone - len(heavy) - len(few))])
    every = np.concatenate([np.arange(alone), heavy, some])
    rng.shuffle(every)
    spread = rng.permutation(keys) * np.int64(1_000_003)
    store = Store(str(folder / "rows"))
    for number, values in enumerate(np.array_split(np.arange(rows), ITEMS)):
        table = pa.table([spread[every[values]], values], ROWS.names).cast(ROWS)
        write_table(store, f"{number:05d}.parquet", table, {})
    done.touch()
    return keys


@dataclass(frozen=True)
class _Read:
    """Reads an item's rows from the store."""

    store: Store

    def __call__(self, item: str) -> Iterator[pa.Table]:
        return scan_table(self.store, f"{item}.parquet")


def _summed(table: pa.Table) -> pa.Table:
    starts = group_starts(table["key"])
    ends = np.append(starts[1:], table.num_rows)
    values = table["value"].to_numpy()
    columns = [table["key"].to_numpy()[starts], ends - starts, np.add.reduceat(values, starts), values[starts]]
    return pa.table([*columns, values[ends - 1]], GROUPS.names)


def _group(folder: Path, kind: str, quick: bool) -> dict[str, Any]:
    """Group on one engine in this process."""
    if kind == "ray":
        _open_ray()
    engine = engine_of(EngineBlock.model_validate({"kind": kind, "workers": WORKERS, "memory_gib": MEMORY_GIB}))
    dataset = Dataset([f"{number:05d}" for number in range(ITEMS)], _Read(Store(str(folder / "rows"))))
    rows_of_heavy = (1_000_000 if quick else 20_000_000) // 20
    grouping = Grouping(
        "key", ROWS, GROUPS, _summed, order=("value",), partitions=_partitions(quick), max_rows=rows_of_heavy
    )
    shutil.rmtree(folder / kind, ignore_errors=True)
    parts = Parts(Store(str(folder / kind)), "groups")
    started = time.perf_counter()
    groups = sum(
        outcome.value["rows"] for outcome in engine.group(dataset, grouping, parts, Resources()) if outcome.value
    )
    seconds = time.perf_counter() - started
    digest = hashlib.sha256()
    for path in sorted((folder / kind / "groups").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return {"seconds": seconds, "groups": groups, "digest": digest.hexdigest()}


def _open_ray() -> None:
    """A session with an object store of a known size; the engine takes the one that is there."""
    import ray

    ray.init(
        num_cpus=WORKERS,
        object_store_memory=OBJECT_STORE_GIB << 30,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _measured(folder: Path, engine: str, quick: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--engine", engine, "--work", str(folder.parent), *(["--quick"] * quick)]
    environ = {**os.environ}
    if engine == "spark":
        environ["PYSPARK_SUBMIT_ARGS"] = f"--driver-memory {JVM_GIB}g pyspark-shell"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        with peaks_below(process.pid, lambda pid, line: _kind(pid == process.pid, line)) as peaks:
            assert process.stdout is not None
            printed = process.stdout.read()
        if process.wait():
            raise SystemExit(f"{engine} ended with {process.returncode}")
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    limits = {
        "spark": f"; the JVM's heap is set to {JVM_GIB} GiB",
        "ray": f"; the object store to {OBJECT_STORE_GIB} GiB",
    }
    return {**told, "peaks": dict(peaks.bytes), "set": limits.get(engine, "")}


def _kind(is_driver: bool, line: str) -> str | None:
    if is_driver:
        return "driver"
    if "java" in line.split(" ")[0]:
        return "JVM"
    return "worker" if any(name in line for name in ("spawn_main", "ray::", "pyspark.daemon")) else None


if __name__ == "__main__":
    main()
