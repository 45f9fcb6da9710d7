"""Kill -9 and resume: the bytes are those of an undisturbed run.

A generated corpus is fetched over HTTP, scored, decided and exported by the command line; then again, killed before and
after each kind of commit (the driver, and the worker that commits) and at random moments, and resumed each time; and
again from a server that answers in another order with other delays. Every folder that docs/architecture.md names must be
the same bytes. `--quick` uses the light scorers and few kills.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from harness import TAMIS, parser, tell

from tamis.pipelines.demo.planting import plant, write_list
from tamis.pipelines.demo.server import DemoServer
from tamis.pipelines.recipe import load_yaml

SAME = ("plan", "shards", "scores", "duplicates", "verdicts", "selections", "exports")
"""Folders of a corpus that must be the same bytes; the export itself besides."""

KINDS = {
    "plan of a shard": r"plan/\d+\.parquet",
    "refused requests": r"plan/refused\.parquet",
    "plan": r"plan/plan\.json",
    "tar": r"shards/.*\.tar",
    "fetch ledger": r"fetch/.*",
    "index": r"shards/.*\.parquet",
    "scorer": r"scores/.*/scorer\.json",
    "vectors": r"scores/.*\.npy",
    "columns": r"scores/.*\.parquet",
    "clusters": r"duplicates/.*",
    "selection": r"selections/.*",
    "verdicts": r"verdicts/.*\.parquet",
    "ledger": r"verdicts/.*ledger\.json",
    "export list": r"exports/.*\.parquet",
    "export plan": r"exports/.*plan\.json",
    "export tar": r"\d+\.tar",
    "export index": r"\d+\.parquet",
    "export sizes": r"sizes\.json",
    "export manifest": r"manifest\.json",
}
QUICK_KINDS = ("tar", "columns", "verdicts", "export manifest")
QUICK_WORKERS = ("index", "export tar")


def main() -> None:
    """Run it all; end with 1 when a byte differs."""
    options = parser(str(__doc__)).parse_args()
    folder = options.work.resolve() / "kills"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "www").mkdir(parents=True)
    size, random_kills = (80, 2) if options.quick else (240, 20)
    kinds = {name: kind for name, kind in KINDS.items() if not options.quick or name in QUICK_KINDS}
    workers = {name: kind for name, kind in KINDS.items() if not options.quick or name in QUICK_WORKERS}
    rows: list[tuple[str, str]] = []
    wrong = all_kills = 0
    with DemoServer(folder / "www", size=size) as server:
        write_list(plant(0, size), server.base_url, folder / "list.parquet")
        expected = _undisturbed(_recipe(folder, "undisturbed", options.quick))
        disturbed = {
            "driver killed at commits": _drivers_killed(folder, kinds, options.quick),
            "worker killed at commits": _workers_killed(folder, workers, options.quick),
            "killed at random moments": _killed_at_random(folder, random_kills, options.quick),
        }
        for name, trials in disturbed.items():
            kills, differing = 0, set[str]()
            for killed, found in trials:
                kills += killed
                differing |= (
                    {path for path in found | expected if found.get(path) != expected.get(path)} if found else set()
                )
            wrong += bool(differing)
            all_kills += kills
            rows.append((name, f"{kills} kills, {_verdict(differing)}"))
    with DemoServer(folder / "www", size=size, delay_seed=1):
        found = _undisturbed(_recipe(folder, "reordered", options.quick))
        differing = {path for path in found | expected if found.get(path) != expected.get(path)}
        wrong += bool(differing)
        rows.append(("another order and other delays", _verdict(differing)))
    rows.append(("files compared", f"{len(expected)} of {size} requests"))
    tell("kills", rows, {"wrong": wrong, "kills": all_kills, "files": len(expected)}, options.json)
    sys.exit(bool(wrong))


def _verdict(differing: set[str]) -> str:
    return f"OTHER BYTES in {len(differing)} files, such as {min(differing)}" if differing else "same bytes"


def tree_digest(folder: Path) -> dict[str, str]:
    """Each file that must be the same, with its SHA-256 (a ``plan.json`` tells paths and fingerprints of its list)."""
    roots = [folder / "corpus" / name for name in SAME] + [folder / "export"]
    files = (path for root in roots for path in sorted(root.rglob("*")) if path.is_file() and path.name != "plan.json")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _recipe(folder: Path, name: str, light: bool) -> Path:
    told = load_yaml((resources.files("tamis.pipelines.demo") / "recipe.yaml").read_text(encoding="utf-8"))
    told["source"]["path"] = "../list.parquet"
    told["fetch"] |= {"timeout_seconds": 2, "retries": 0}
    told["shards"]["samples"] = 20
    told["exports"][0]["samples"] = 20
    told["engine"]["batch_size"] = 8
    told["scores"] = {"look": {}, "hashes": {}}
    told["criteria"] = {"big": "min_side >= 64", "lit": "look.brightness >= quantile(look.brightness, 0.1)"}
    told["policies"] = {"sifted": "big and lit and first_of(duplicates.exact)"}
    if not light:
        told["scores"]["clip"] = {"weights": "embedded"}
        told["criteria"]["matched"] = "clip.similarity >= 0.2"
        told["policies"]["matching"] = "matched and lit"
    path = folder / name / "recipe.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return path


def _undisturbed(recipe: Path) -> dict[str, str]:
    _run(recipe)
    return tree_digest(recipe.parent)


def _run(recipe: Path, *trap: str) -> None:
    """Run a recipe, with a trap or without; the driver may be killed, nothing else may go wrong."""
    begin = [sys.executable, str(Path(__file__).with_name("kill_at.py")), *trap, "--"] if trap else list(TAMIS)
    done = subprocess.run([*begin, "run", str(recipe)], capture_output=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()[-2000:]


def _drivers_killed(folder: Path, kinds: Mapping[str, str], light: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """One corpus; the driver is killed before, then after the first commit of each kind that is left to do."""
    recipe = _recipe(folder, "drivers", light)
    for name, kind in kinds.items():
        for moment in ("before", "after"):
            flag = recipe.parent / f"{name}-{moment}"
            _run(recipe, kind, moment, "driver", str(flag))
            yield int(flag.exists()), {}
    _run(recipe)
    yield 0, tree_digest(recipe.parent)


def _workers_killed(folder: Path, kinds: Mapping[str, str], light: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """A corpus for each kind; the committing process is killed before a commit, and another after one."""
    for number, kind in enumerate(kinds.values()):
        recipe = _recipe(folder, f"worker-{number}", light)
        kills = 0
        for moment in ("before", "after"):
            flag = recipe.parent / moment
            _run(recipe, kind, moment, "worker", str(flag))
            kills += flag.exists()
            if moment == "before":
                shutil.rmtree(recipe.parent / "export", ignore_errors=True)  # there must be something left to commit
        _run(recipe)
        yield kills, tree_digest(recipe.parent)


def _killed_at_random(folder: Path, kills: int, light: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """Corpora; the driver is killed after a random time, until a run comes through; then another corpus."""
    rng = np.random.default_rng(0)
    longest = 4.0
    while kills > 0:
        recipe = _recipe(folder, f"random-{kills}", light)
        finished = False
        while not finished:
            started = time.perf_counter()
            run = subprocess.Popen([*TAMIS, "run", str(recipe)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                run.wait(float(rng.uniform(0.5, longest)) if kills > 0 else None)
                finished, longest = True, max(longest, time.perf_counter() - started)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                kills -= 1
                yield 1, {}
        _run(recipe)
        yield 0, tree_digest(recipe.parent)


if __name__ == "__main__":
    main()
