"""Fetching: `tamis fetch` beside img2dataset 1.47.0, the same URLs from nginx on this machine, in the same run.

Four tasks: keep the bytes over HTTP, keep them over HTTPS, and resize to a shorter side of 256 px, from 512 x 384 and from
1280 x 960. Both sides use two processes, 64 connections each, shards of 1,000 and JPEG quality 90, and end in WebDataset
tars with captions, sizes and SHA-256. CPU seconds are of the whole process tree, start-up included; memory is the highest
sum over the tree. Interleaved; medians of 3. robots.txt is asked for on our side, as it is by default. pandas, which other
extras bring into this venv and the base install does not have, is hidden from our side: pyarrow imports it if it can.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from harness import TAMIS, paired_ratio, parser, spread, tell
from web import Web, draw, environment, serving, tree_memory

PROCESSES = 2
THREADS = 64
MEMORY_PERIOD_SECONDS = 0.2


@dataclass(frozen=True)
class Case:
    """One task: over which scheme, which images, resized or not, and how many URLs in full and in quick runs."""

    name: str
    scheme: str
    kind: str
    resize: bool
    full: int
    quick: int


CASES = (
    Case("http", "http", "small", False, 10_000, 1_000),
    Case("https", "https", "small", False, 3_000, 300),
    Case("resize", "http", "small", True, 6_000, 600),
    Case("resize_large", "http", "large", True, 2_000, 200),
)


@dataclass(frozen=True)
class Run:
    """One run of one side: seconds, memory in bytes, and how many images it says it has."""

    wall: float
    cpu: float
    resident: int
    share: int
    images: int


def main() -> None:
    """Draw the images once, then run the tasks in turn."""
    made = parser(str(__doc__))
    made.add_argument("--only", choices=[case.name for case in CASES], action="append", help="some of the tasks")
    options = made.parse_args()
    folder = options.work.resolve() / "fetch"
    sizes = {"small": draw(folder, "small", 512, 384), "large": draw(folder, "large", 1280, 960)}
    peer = (options.peer_venv / "img2dataset" / "bin" / "img2dataset").resolve()
    rows = [
        ("images", f"512 x 384: {sizes['small'] / 1e3:.1f} KB, 1280 x 960: {sizes['large'] / 1e3:.1f} KB in the mean")
    ]
    result: dict[str, Any] = {}
    with serving(folder) as web:
        for case in CASES:
            if not options.only or case.name in options.only:
                number = case.quick if options.quick else case.full
                _measure(web, case, number, 1 if options.quick else 3, peer, rows, result)
    tell("fetch", rows, result, options.json)


def _measure(
    web: Web, case: Case, number: int, runs: int, peer: Path, rows: list[tuple[str, str]], result: dict[str, Any]
) -> None:
    base = web.https if case.scheme == "https" else web.http
    urls = web.write_list(web.folder / f"{case.name}.parquet", base, case.kind, number)
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(_tamis(web, case, urls))
        if peer.exists():
            theirs.append(_img2dataset(web, case, urls, peer))
    for run in (*ours, *theirs):
        if run.images != number:
            raise SystemExit(f"{case.name}: {run.images} of {number} images came; the comparison would not be fair")
    rows.append((f"{case.name}: {number:,} images", ""))
    for name, side in (("tamis", ours), ("img2dataset 1.47.0", theirs)):
        if side:
            rows.append((f"  {name}", _told(side, number)))
    if theirs:
        ratios = paired_ratio([run.cpu for run in theirs], [run.cpu for run in ours])
        memory = paired_ratio([run.share for run in theirs], [run.share for run in ours])
        rows.append((f"  cpu_ratio_{case.name}", f"{spread(ratios)}; memory (PSS) {spread(memory)}"))
        result[f"cpu_ratio_{case.name}"] = statistics.median(ratios)
        result[f"memory_ratio_{case.name}"] = statistics.median(memory)
    result[f"cpu_seconds_a_thousand_{case.name}"] = statistics.median(run.cpu * 1000 / number for run in ours)


def _told(side: Sequence[Run], number: int) -> str:
    cpu = spread([run.cpu * 1000 / number for run in side])
    rate = spread([number / run.wall for run in side])
    share = spread([run.share / 2**20 for run in side])
    resident = spread([run.resident / 2**20 for run in side])
    return f"{cpu} CPU s per 1,000, {rate} images/s, peak {share} MiB PSS, {resident} MiB RSS"


def _tamis(web: Web, case: Case, urls: Path) -> Run:
    out = web.folder / "ours"
    shutil.rmtree(out, ignore_errors=True)
    fetch: dict[str, Any] = {"concurrency": PROCESSES * THREADS, "per_host": PROCESSES * THREADS}
    fetch["allow_hosts"] = ["127.0.0.1"]
    if case.resize:
        fetch["resize"] = {"side": "shortest", "pixels": 256, "quality": 90}
    recipe = {
        "name": "fetch",
        "corpus": str(out),
        "source": {"kind": "laion", "path": str(urls)},
        "fetch": fetch,
        "shards": {"samples": 1000},
        "engine": {"workers": PROCESSES},
    }
    path = web.folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    hiding = web.folder / "hiding"
    hiding.mkdir(exist_ok=True)
    (hiding / "pandas.py").write_text('raise ImportError("not in the base install")\n', encoding="utf-8")
    measured = _run([*TAMIS, "fetch", str(path)], {**environment(web), "PYTHONPATH": str(hiding)})
    return Run(*measured, sum(pq.read_metadata(index).num_rows for index in (out / "shards").glob("*.parquet")))


def _img2dataset(web: Web, case: Case, urls: Path, peer: Path) -> Run:
    out = web.folder / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    told = {
        "url_list": urls,
        "input_format": "parquet",
        "url_col": "URL",
        "caption_col": "TEXT",
        "output_format": "webdataset",
        "output_folder": out,
        "processes_count": PROCESSES,
        "thread_count": THREADS,
        "number_sample_per_shard": 1000,
        "enable_wandb": False,
    }
    keep = {"disable_all_reencoding": True}
    small = {"resize_mode": "keep_ratio", "image_size": 256, "resize_only_if_bigger": True, "encode_quality": 90}
    options = [f"--{name}={value}" for name, value in {**told, **(small if case.resize else keep)}.items()]
    measured = _run([str(peer), *options], environment(web))
    stats = [json.loads(path.read_bytes()) for path in out.glob("*_stats.json")]
    return Run(*measured, sum(one["successes"] for one in stats))


def _run(command: Sequence[str], env: dict[str, str]) -> tuple[float, float, int, int]:
    """Run a command to its end: wall and CPU seconds, the most memory (resident, share)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = threading.Event()
    seen: list[tuple[int, int]] = [(0, 0)]

    def watch() -> None:
        while not ended.wait(MEMORY_PERIOD_SECONDS):
            seen.append(tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, errors = process.communicate()
    wall = time.perf_counter() - started
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}\n{out[-2000:]}\n{errors[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, max(one[0] for one in seen), max(one[1] for one in seen)


if __name__ == "__main__":
    main()
