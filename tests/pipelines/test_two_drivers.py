"""Two drivers on one corpus: with the lock one works, without it both do, and the bytes are the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tamis.corpora.engine import Outcome, Resources, Task
from tamis.corpora.errors import FatalError
from tamis.corpora.holders import myself
from tamis.corpora.lock import LOCK, Lock, Pace, locked
from tamis.corpora.store import Store
from tamis.pipelines import exporting
from tamis.pipelines.run import run
from tamis.pipelines.scoring import score

from ..s3_server import S3
from .conftest import Calm, JobOf, Site
from .running import Inline, files

CLOCKED = ("fetch/", "logs/", "plan/", "exports/")
"""Folders with times, paths, and the fingerprints of paths in them."""

UNLOCKED = """
import sys
from tamis.corpora.store import Store
from tamis.pipelines.job import Job
from tamis.pipelines.recipe import read_recipe
from tamis.pipelines.run import run
from tamis.pipelines.scoring import score
from tests.pipelines.running import Inline, Unwatched
recipe = read_recipe(sys.argv[1])
job = Job(recipe, Store(recipe.corpus), Inline(), Unwatched())
print("ready", flush=True)
sys.stdin.readline()
run(job)
"""


def run_twice_at_once(recipe: Path, root: Path) -> None:
    """Two processes begin all stages of a recipe at the same moment; both must come through."""
    command, pipe = [sys.executable, "-c", UNLOCKED, str(recipe)], subprocess.PIPE
    drivers = [subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    try:
        assert [driver.stdout and driver.stdout.readline() for driver in drivers] == ["ready\n"] * 2
        for driver in drivers:
            assert driver.stdin is not None
            driver.stdin.write("\n")
            driver.stdin.flush()
        for driver in drivers:
            errors = driver.communicate(timeout=300)[1]
            assert driver.returncode == 0, errors
    finally:
        for driver in drivers:
            driver.kill()


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_two_drivers_at_once_without_the_lock_end_in_the_same_bytes(
    kind: str, site: Site, calm: Calm, tmp_path: Path, root: Path, s3: S3
) -> None:
    base = str(tmp_path) if kind == "local" else s3.url()
    told = site.recipe(tmp_path, corpus=f"{base}/corpus")
    told["exports"][0]["to"] = f"{base}/export"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    run_twice_at_once(tmp_path / "recipe.yaml", root)
    found = files(tmp_path) if kind == "local" else s3.files()
    for path, data in calm.files.items():
        if not path.startswith("corpus/logs/"):
            assert path in found
        if not path.removeprefix("corpus/").startswith(CLOCKED):
            assert found[path] == data, path
    assert not [path for path in found if ".spool" in path]


def test_an_export_that_another_driver_has_just_finished_is_nobody_elses(
    job_of: JobOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job_of(tmp_path), engine=Inline())
    run(job)
    before = files(tmp_path / "export")
    read, looks = exporting._manifest, []

    def late(target: Store) -> dict[str, Any] | None:
        looks.append(target)
        return None if len(looks) == 1 else read(target)  # it was not there yet

    monkeypatch.setattr(exporting, "_manifest", late)
    run(job)
    assert files(tmp_path / "export") == before


@dataclass
class Robbed(Inline):
    """After its first item another run takes the lock over, and the holder's next beat finds it out."""

    store: Store | None = None
    lock: Lock | None = None

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        assert self.store is not None
        assert self.lock is not None
        for outcome in super().map(task, items, resources):
            successor = replace(myself(), machine="another", host="far.example").encoded()
            deadline = time.monotonic() + 60
            while not self.store.replace_if(LOCK, self.store.read(LOCK), successor):
                assert time.monotonic() < deadline
            with suppress(FatalError):
                while time.monotonic() < deadline:
                    self.lock.check()
                    time.sleep(0.005)
            yield outcome


def test_a_driver_that_was_taken_over_stops_before_its_next_item(job_of: JobOf, tmp_path: Path) -> None:
    job = job_of(tmp_path)
    engine = Robbed(store=job.store)
    with locked(job.store, print, Pace(0.005, 3600)) as engine.lock:
        with pytest.raises(FatalError, match=r"far\.example, since .* took the lock over while this run was silent"):
            run(replace(job, engine=engine, lock=engine.lock))
        with pytest.raises(FatalError, match="took the lock over"):
            score(replace(job, engine=engine, lock=engine.lock))
    assert len(engine.ran) == 1
    assert json.loads(job.store.read(LOCK))["host"] == "far.example"
    assert [line["event"] for line in map(json.loads, job.store.read("logs/fetch.jsonl").splitlines())][-1] == "end"


def test_the_command_line_holds_the_lock_and_says_who_does(tmp_path: Path) -> None:
    source = {"kind": "laion", "path": "list.csv"}
    (tmp_path / "list.csv").write_text("URL,TEXT\nhttp://127.0.0.1:1/a.jpg,a\n", encoding="utf-8")
    told = {"corpus": "corpus", "source": source, "fetch": {"retries": 0, "allow_hosts": ["127.0.0.1"]}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")

    def tamis(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tamis.jobs.cli", *arguments, str(tmp_path / "recipe.yaml")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    store = Store(str(tmp_path / "corpus"))
    with locked(store, print):
        refused = tamis("fetch")
        assert refused.returncode == 2
        assert "corpus is in use by" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert tamis("run", "--dry-run").returncode == 0
        assert store.names("") == [LOCK]
    done = tamis("fetch")
    assert done.returncode == 0, done.stderr
    assert LOCK not in store.names("")
    assert ".spool" not in store.folders("")
