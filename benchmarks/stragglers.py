"""Crawling a web that misbehaves: stragglers, liars, hosts that ban, and 200,000 URLs in flat memory.

1. 5,000 URLs on 100 hosts, of which 20 % fail: 404, refused, hanging, dripping for 45 s, cut off, HTML, decompression
   bombs. Beside it the same list without failures: the wall may be 1.3 times that plus one deadline, every URL is classed.
2. A host that bans above 20 requests a second, under a budget of 15, and one that answers 503 with Retry-After: their own
   logs prove that neither was asked more often than it said.
3. 200,000 URLs: memory in the first two fifths of the crawl, and at its highest.

The server is a process of Python's asyncio on this machine; the fetcher runs by the command line, two workers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from harness import TAMIS, parser, tell
from web import tree_memory

HOSTS = 100
TIMEOUT_SECONDS, RETRIES = 5.0, 1
DEADLINE_SECONDS = TIMEOUT_SECONDS * (RETRIES + 1)
MEMORY_PERIOD_SECONDS = 0.5

FAILING = {"gone": 300, "refused": 200, "hang": 100, "drip": 50, "cut": 100, "short": 50, "html": 195, "bomb": 5}
"""How many of 5,000 URLs."""

REASONS = {
    "gone": "http_404",
    "refused": "connection_refused",
    "hang": "timeout",
    "drip": "timeout",
    "cut": "truncated",
    "short": "truncated",
    "html": "html",
    "bomb": "too_many_pixels",
}


def main() -> None:
    """Run the three parts."""
    options = parser(str(__doc__)).parse_args()
    folder = options.work.resolve() / "stragglers"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str]] = []
    result: dict[str, Any] = {}
    with misbehaving(512, 384) as port:
        _stragglers(folder, port, 5 if options.quick else 1, rows, result)
        _strict(folder, port, rows, result)
    with misbehaving(64, 48) as port:
        _endless(folder, port, 10_000 if options.quick else 200_000, rows, result)
    tell("stragglers", rows, result, options.json)


@contextmanager
def misbehaving(width: int, height: int) -> Iterator[int]:
    """The server with images of this size, in a process of its own; its port."""
    command = [sys.executable, str(Path(__file__).parent / "misbehaving.py"), str(HOSTS), str(width), str(height)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate()


def _stragglers(folder: Path, port: int, divisor: int, rows: list[tuple[str, str]], result: dict[str, Any]) -> None:
    number = 5_000 // divisor
    kinds = [kind for kind, count in FAILING.items() for _ in range(count // divisor)]
    expected: dict[str, int] = {}
    for kind in kinds:
        expected[REASONS[kind]] = expected.get(REASONS[kind], 0) + 1
    clean = crawl(folder, "clean", [_url(port, "good", n) for n in range(number)])
    mixed = kinds + ["good"] * (number - len(kinds))
    failing = crawl(folder, "failing", [_url(port, kind, n) for n, kind in enumerate(mixed)])
    allowed = 1.3 * clean["wall"] + DEADLINE_SECONDS
    if failing["failed"] != dict(sorted(expected.items())) or clean["failed"]:
        raise SystemExit(f"expected the failures {expected}, found {failing['failed']} and {clean['failed']}")
    rows += [
        (f"{number:,} URLs, none fails", f"{clean['wall']:.1f} s, peak {clean['memory'] / 2**20:.0f} MiB PSS"),
        (
            f"{number:,} URLs, {len(kinds):,} fail, all classed right",
            f"{failing['wall']:.1f} s (allowed {allowed:.1f}), peak {failing['memory'] / 2**20:.0f} MiB PSS",
        ),
    ]
    result |= {
        "straggler_ratio": allowed / failing["wall"],
        "straggler_memory_ratio": clean["memory"] / failing["memory"],
    }


def _strict(folder: Path, port: int, rows: list[tuple[str, str]], result: dict[str, Any]) -> None:
    urls = [f"http://127.0.1.1:{port}/strict/{n}" for n in range(200)]
    urls += [f"http://127.0.1.2:{port}/busy/{n}" for n in range(200)]
    told = crawl(folder, "strict", urls, per_host_rate=15, retries=3)
    with urllib.request.urlopen(f"http://127.0.1.1:{port}/report", timeout=30) as answer:
        log = json.load(answer)
    if log["banned"] or told["failed"]:
        raise SystemExit(f"the host that bans above 20 requests a second says {log}; failed: {told['failed']}")
    rows.append(
        (
            "a host that bans above 20 requests a second, budget 15",
            f"{log['strict']} requests, at most {log['most_in_a_second']} in any second, {told['wall']:.1f} s, none lost",
        )
    )
    rows.append(
        (
            "a host that answers every 25th request 503, Retry-After: 1",
            f"{log['busy']} requests for 200 images, {log['too_early']} came too early (two workers do not share pauses)",
        )
    )
    result |= {"most_in_a_second": log["most_in_a_second"], "too_early": log["too_early"]}


def _endless(folder: Path, port: int, number: int, rows: list[tuple[str, str]], result: dict[str, Any]) -> None:
    told = crawl(folder, "endless", [_url(port, "good", n) for n in range(number)], samples=10_000)
    early = max(told["memories"][: max(1, 2 * len(told["memories"]) // 5)])
    rows.append(
        (
            f"{number:,} URLs",
            f"{number / told['wall']:,.0f} images/s; {early / 2**20:.0f} MiB PSS at most in the first two fifths of the time, "
            f"{told['memory'] / 2**20:.0f} in all of it",
        )
    )
    result |= {"memory_growth": told["memory"] / early}


def _url(port: int, kind: str, number: int) -> str:
    host = f"127.0.1.{1 + number % HOSTS}"
    return f"http://{host}:{1 if kind == 'refused' else port}/{kind}/{number}.jpg"


def crawl(folder: Path, name: str, urls: list[str], samples: int = 500, **fetch: Any) -> dict[str, Any]:
    """Fetch these URLs into a new corpus; the account, wall seconds, and the memory of the process tree over time."""
    shutil.rmtree(folder / name, ignore_errors=True)
    pq.write_table(pa.table({"URL": urls, "TEXT": [f"caption {n}" for n in range(len(urls))]}), folder / "list.parquet")
    told = {"timeout_seconds": TIMEOUT_SECONDS, "retries": RETRIES, **fetch}
    recipe = {
        "name": name,
        "corpus": name,
        "source": {"kind": "laion", "path": "list.parquet"},
        "fetch": {"allow_hosts": [f"127.0.1.{n}" for n in range(1, HOSTS + 1)], **told},
        "shards": {"samples": samples},
        "engine": {"workers": 2},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    started = time.perf_counter()
    command = [*TAMIS, "run", str(path), "--to", "fetch", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = threading.Event()
    memories = [1]

    def watch() -> None:
        while not ended.wait(MEMORY_PERIOD_SECONDS):
            memories.append(tree_memory(process.pid)[1])

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, errors = process.communicate()
    wall = time.perf_counter() - started
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}\n{errors[-4000:]}")
    account = json.loads(out.splitlines()[-1])
    return {**account, "wall": wall, "memory": max(memories), "memories": memories[1:] or memories}


if __name__ == "__main__":
    main()
