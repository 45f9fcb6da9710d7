"""Everything at once: S3 that fails, tasks that fail, workers and drivers killed; the bytes are those of a calm run.

In each round a generated corpus is fetched over HTTP, scored, decided and exported by the command line, once in peace on
this machine's disk, and once on S3 behind a proxy that answers 500 and 503, resets connections, breaks bodies off and
delays (`faults.py`), with a scorer that fails in 5 % of its tasks and now and then kills its worker (`unsteady.py`), while
workers and sometimes the driver are killed at random moments (`killing.py`) and the command is given again until it
comes through. Then everything
that docs/architecture.md calls the same must be the same bytes: nothing lost, nothing double; and the account must agree.

Rounds that are finished are not run again (`chaos/round-*.json` in the work folder). `--quick` is one small round.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import yaml
from faults import KINDS, proxied
from harness import TAMIS, parser, tell
from killing import WORKERS, Killer
from kills import SAME, tree_digest
from unsteady import FAILING, KILLING

from tamis.pipelines.demo.planting import plant, write_list
from tamis.pipelines.demo.server import DemoServer
from tamis.pipelines.recipe import load_yaml

BATCHES_A_TASK = 3

MOST_TURNS = 60
"""How often the command is given in a round before it is given up."""

BUCKET = "chaos-bucket"


@dataclass(frozen=True)
class Shape:
    """How large a round is and how rough."""

    size: int
    worker_kills: int
    driver_kills: int
    pause_seconds: float
    """The mean time between two kills."""
    faults: float
    """The share of requests that meet a fault of each kind."""
    failing: float
    """The share of scoring tasks that fail; half as many kill their worker."""


QUICK = Shape(size=60, worker_kills=3, driver_kills=1, pause_seconds=1.5, faults=0.006, failing=0.2)
LONG = Shape(size=240, worker_kills=16, driver_kills=6, pause_seconds=4.0, faults=0.01, failing=0.05)
LONG_ROUNDS = 12


@dataclass
class Round:
    """What happened in a round, and what is wrong with its end."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def main() -> None:
    """Run it all; end with 1 when something is wrong."""
    options = parser(str(__doc__))
    options.add_argument("--engine", choices=sorted(WORKERS), default="local")
    options.add_argument("--rounds", type=int, help="how many rounds")
    told = options.parse_args()
    folder = told.work.resolve() / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    shape = QUICK if told.quick else LONG
    ended = [
        _remembered(folder, told.engine, seed, shape)
        for seed in range(told.rounds or (1 if told.quick else LONG_ROUNDS))
    ]
    counts, faults = sum((one.counts for one in ended), Counter()), sum((one.faults for one in ended), Counter())
    wrong = [fault for one in ended for fault in one.wrong]
    rows = [
        ("engine", told.engine),
        ("rounds", f"{len(ended)} of {shape.size} requests, {sum(one.seconds for one in ended) / 60:.1f} minutes"),
        (
            "killed",
            f"{counts['workers']} workers, {counts['drivers']} drivers; the command was given {counts['turns']} times",
        ),
        (
            "injected into S3",
            f"{faults['requests']} requests: " + ", ".join(f"{faults[kind]} {kind}" for kind in KINDS),
        ),
        (
            "tasks",
            f"{counts['items']} done after {counts['attempts']} attempts; {counts['poison']} given up, then done",
        ),
        (
            "failed attempts",
            ", ".join(f"{counts[key]} {key[7:]}" for key in sorted(counts) if key.startswith("failed ")),
        ),
        ("files compared", f"{counts['files']}: " + (f"WRONG: {wrong[0]}" if wrong else "same bytes")),
    ]
    tell("chaos", rows, {"wrong": len(wrong), "faults": dict(faults), **counts}, told.json)
    sys.exit(bool(wrong))


def _remembered(folder: Path, engine: str, seed: int, shape: Shape) -> Round:
    """A round, unless it was run before."""
    path = folder / f"round-{engine}-{shape.size}-{seed}.json"
    if path.exists():
        told = json.loads(path.read_text(encoding="utf-8"))
        return Round(told["wrong"], Counter(told["counts"]), Counter(told["faults"]), told["seconds"])
    work = folder / f"{engine}-{seed}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    started = time.perf_counter()
    found = _round(work, engine, seed, shape)
    found.seconds = time.perf_counter() - started
    for fault in found.wrong:
        print(f"round {seed}: {fault}", file=sys.stderr, flush=True)
    path.write_text(json.dumps(vars(found)), encoding="utf-8")
    if not found.wrong:
        shutil.rmtree(work)
    return found


def _round(work: Path, engine: str, seed: int, shape: Shape) -> Round:
    found = Round()
    rates = dict.fromkeys(KINDS, shape.faults)
    with (
        DemoServer(work / "www", seed, shape.size) as site,
        _s3() as endpoint,
        proxied(endpoint, rates, seed) as proxy,
    ):
        write_list(plant(seed, shape.size), site.base_url, work / "list.parquet")
        calm = _recipe(work, "calm", "corpus", "export")
        account = json.loads(_ran([*TAMIS, "run", str(calm), "--json"], {}).splitlines()[-1])
        rough = _recipe(work, "rough", f"s3://{BUCKET}/corpus", f"s3://{BUCKET}/export")
        environ = {**os.environ, **_clients(proxy.endpoint), **_unsteady(shape.failing)}
        rng = np.random.default_rng(seed)
        killer = Killer(engine, rng, shape.worker_kills, shape.driver_kills, shape.pause_seconds, found.counts)
        again = _disturbed(rough, killer, environ, found.counts)
        found.faults.update(proxy.counts())
        objects = _objects(endpoint)
    _compare(tree_digest(calm.parent), objects, found)
    _reconcile(account, again, shape.size, found)
    _read_logs(objects, found.counts)
    found.wrong += _doubles(objects)
    return found


@contextmanager
def _s3() -> Iterator[str]:
    """An S3 server that forgets everything when it ends; its endpoint."""
    server = [sys.executable, str(Path(__file__).parents[1] / "tests" / "s3_server.py"), BUCKET]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _clients(endpoint: str) -> dict[str, str]:
    """The environment of S3's clients, and of those who import ``unsteady``."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "chaos",
        "AWS_SECRET_ACCESS_KEY": "chaos",
        "AWS_DEFAULT_REGION": "us-east-1",
        **_importing(),
    }


def _unsteady(failing_tasks: float) -> dict[str, str]:
    """How often a batch must fail for this share of tasks to do so, and that half as often it kills."""
    batch = 1 - (1 - failing_tasks) ** (1 / BATCHES_A_TASK)
    return {FAILING: str(batch), KILLING: str(batch / 2)}


def _importing() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}


def _recipe(work: Path, name: str, corpus: str, to: str) -> Path:
    told = load_yaml((resources.files("tamis.pipelines.demo") / "recipe.yaml").read_text(encoding="utf-8"))
    told |= {"name": "chaos", "corpus": corpus}
    told["source"]["path"] = str(work / "list.parquet")
    told["fetch"] |= {"timeout_seconds": 2, "retries": 0}
    told["shards"]["samples"] = 20
    told["engine"]["batch_size"] = -(-told["shards"]["samples"] // BATCHES_A_TASK)
    told["scores"] = {"look": {}, "hashes": {}, "unsteady": {"kind": "unsteady:Unsteady"}}
    told["criteria"] = {"big": "min_side >= 64", "lit": "look.brightness >= quantile(look.brightness, 0.1)"}
    told["criteria"]["heavy"] = "unsteady.size >= 1000"
    told["policies"] = {"sifted": "big and lit and heavy and first_of(duplicates.exact)"}
    told["exports"] = [{"policy": "sifted", "to": to, "samples": 20}]
    path = work / name / "recipe.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return path


def _ran(command: list[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **_importing(), **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _disturbed(recipe: Path, killer: Killer, environ: Mapping[str, str], counts: Counter[str]) -> dict[str, Any]:
    """Give the command until it comes through with nothing left; what it told last."""
    command = [*TAMIS, "run", str(recipe), "--json", "--engine", killer.engine, "--workers", "2"]
    for _ in range(MOST_TURNS):
        counts["turns"] += 1
        with (recipe.parent / "out").open("w+b") as out, (recipe.parent / "err").open("ab") as err:
            driver = subprocess.Popen(command, env=environ, stdout=out, stderr=err)
            killer.watch(driver)
            out.seek(0)
            lines = out.read().splitlines()
        counts[f"ended {driver.returncode}"] += 1
        if driver.returncode not in {0, -signal.SIGKILL}:
            last = (recipe.parent / "err").read_text("utf-8", "replace").splitlines()[-1]
            print(f"a run ended with {driver.returncode}: {last}", file=sys.stderr, flush=True)
        if driver.returncode in {0, 1} and lines:
            told: dict[str, Any] = json.loads(lines[-1])
            counts["poison"] += sum(len(stage["poison"]) for stage in told["stages"])
        if driver.returncode == 0:
            return told
    raise SystemExit(f"{MOST_TURNS} turns were not enough; see {recipe.parent / 'err'}")


def _objects(endpoint: str) -> dict[str, bytes]:
    """Everything in the bucket, past the proxy."""
    client = {"endpoint_url": endpoint, "key": "chaos", "secret": "chaos", "skip_instance_cache": True}
    fs = fsspec.filesystem("s3", **client, use_listings_cache=False)
    return {path.partition("/")[2]: fs.cat_file(path) for path in fs.find(BUCKET)}


def _compare(calm: Mapping[str, str], objects: Mapping[str, bytes], found: Round) -> None:
    """Compare what must be the same."""
    roots = (*(f"corpus/{name}/" for name in SAME), "export/")
    rough = {
        path: hashlib.sha256(data).hexdigest()
        for path, data in objects.items()
        if path.startswith(roots) and not path.endswith("/plan.json")
    }
    found.counts["files"] += len(calm)
    found.wrong += [f"lost: {path}" for path in sorted(calm.keys() - rough.keys())]
    found.wrong += [f"too much: {path}" for path in sorted(rough.keys() - calm.keys())]
    found.wrong += [f"other bytes: {path}" for path in sorted(calm.keys() & rough.keys()) if calm[path] != rough[path]]
    left = [path for path in objects if "/.spool/" in path or path.endswith("lock.json")]
    found.wrong += [f"left behind: {path}" for path in left]


def _reconcile(calm: Mapping[str, Any], rough: Mapping[str, Any], size: int, found: Round) -> None:
    """Compare the accounts, and their sums with what was asked for."""
    for name in ("asked", "fetched", "failed", "samples", "policies"):
        if calm[name] != rough[name]:
            found.wrong.append(f"account: {name} is {rough[name]}, in peace {calm[name]}")
    if rough["asked"] != size or rough["asked"] != rough["fetched"] + sum(rough["failed"].values()):
        found.wrong.append(f"account: {rough['asked']} asked, {rough['fetched']} fetched, {rough['failed']}; of {size}")


def _doubles(objects: Mapping[str, bytes]) -> Iterable[str]:
    """Names that stand twice in the corpus or in the export."""
    for root in ("corpus/shards/", "export/"):
        tables = [data for path, data in objects.items() if path.startswith(root) and path.endswith(".parquet")]
        uids = Counter(uid for data in tables for uid in pq.read_table(io.BytesIO(data))["uid"].to_pylist())
        yield from (f"twice in {root}: {uid}" for uid, count in uids.items() if count > 1)


def _read_logs(objects: Mapping[str, bytes], counts: Counter[str]) -> None:
    """Add up what the logs tell of attempts; what a kill of the driver lost is not there."""
    logs = [data for path, data in objects.items() if path.startswith("corpus/logs/")]
    for line in (json.loads(line) for data in logs for line in data.splitlines()):
        if line["event"] == "item":
            counts["items"] += line["ok"]
            counts["attempts"] += line["attempts"]
            tried = [*line.get("earlier", ()), line]
            counts.update(f"failed {_kind(one['error'])}" for one in tried if not one["ok"])


def _kind(error: str) -> str:
    if "injected failure" in error:
        return "by the scorer"
    return "by a worker's death" if "died" in error or "SIGKILL" in error else "otherwise"


if __name__ == "__main__":
    main()
