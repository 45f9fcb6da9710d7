"""The scripts really run: they start or find a cluster on this machine, and the corpus says which workers made it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tamis.jobs.cluster.rendering import Options, render
from tamis.pipelines.recipe import read_recipe

from ...corpora.foreign_tars import img2dataset_tar

PATIENCE_SECONDS = 600.0
"""What a machine with far too much to do may take; they take a quarter of a minute."""

SHARDS = 2
OWN = '''"""A scorer of a user's own, which nobody installed."""

from dataclasses import dataclass

import pyarrow as pa

from tamis.filters.scorer import Column, Needs, Scorer


@dataclass(frozen=True)
class Letters(Scorer):
    """How long a caption is."""

    @property
    def columns(self):
        return (Column("count", pa.int32(), "letters", "how long the caption is"),)

    @property
    def needs(self):
        return Needs(columns=("caption",))

    def prepare(self, sample):
        return len(sample.row["caption"])

    def score(self, batch, device):
        return {"count": batch}
'''


@dataclass(frozen=True)
class Workplace:
    """A folder from which recipes are submitted, with foreign tars and a scorer of one's own in it."""

    folder: Path

    def script(self, template: str, kind: str, workers: int = 2) -> Path:
        """The manifest of a recipe over the tars, for a corpus that is called like the template."""
        told = {
            "name": "small",
            "corpus": template,
            "source": {"kind": "shards", "path": "tars/*.tar"},
            "scores": {"hashes": {}, "own": {"kind": "letter_counts.scorer:Letters"}},
            "criteria": {"short": "own.count < 100"},
            "policies": {"kept": "short"},
            "engine": {"kind": kind, "workers": workers},
        }
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
        script = self.folder / f"{template}.sh"
        script.write_text(render(template, read_recipe(self.folder / "recipe.yaml"), Options()), encoding="utf-8")
        return script

    def run(self, script: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a user would, to its end; whatever it started is ended when it takes too long."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SPARK_", "PYSPARK_"))
        }
        log = self.folder / f"{script.stem}.log"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                ["bash", str(script)],
                cwd=self.folder,
                env=kept
                | environ
                | {"PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(PATIENCE_SECONDS)
            finally:
                process.terminate()
                _end_group(process)
        return subprocess.CompletedProcess(process.args, code, log.read_text(encoding="utf-8", errors="replace"))

    def workers(self, corpus: str) -> list[Mapping[str, Any]]:
        """Who scored the corpus, which is whole: every shard, with the columns of the user's own scorer."""
        lines = (self.folder / corpus / "logs" / "score.jsonl").read_text(encoding="utf-8").splitlines()
        items = [told for told in map(json.loads, lines) if told["event"] == "item"]
        assert sorted((told["item"], told["ok"]) for told in items) == [(f"{n:05d}", True) for n in range(SHARDS)]
        [family] = (self.folder / corpus / "scores" / "own").iterdir()
        counts = [pq.read_table(path)["count"].to_pylist() for path in sorted(family.glob("*.parquet"))]
        assert counts == [[len(f"caption {6 * shard + row}") for row in range(6)] for shard in range(SHARDS)]
        assert list((self.folder / corpus / "selections").iterdir())
        return [told["worker"] for told in items]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Let what a process started end, and make it when it does not."""
    if not _until(lambda: not _group_lives(process), 180.0):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until(reached: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition."""
    limit = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("it's a workplace")
    (folder / "tars").mkdir()
    for shard in range(SHARDS):
        img2dataset_tar(folder / "tars" / f"{shard:05d}.tar", range(6 * shard, 6 * shard + 6))
    (folder / "letter_counts").mkdir()
    (folder / "letter_counts" / "scorer.py").write_text(OWN, encoding="utf-8")
    (folder / "bin").mkdir()
    return Workplace(folder)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets lie in its folder, and their names may have 107 letters."""
    folder = Path(tempfile.mkdtemp(prefix="tr", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def free_port(wanted: int = 0) -> int:
    """A port that nobody listens on: ``wanted``, or one below if that is taken; any for 0."""
    with socket.socket() as listener:
        try:
            listener.bind(("0.0.0.0", wanted))
        except OSError:
            return free_port(wanted - 1)
        return int(listener.getsockname()[1])


@pytest.fixture
def ray_cluster(short_folder: Path) -> Iterator[dict[str, str]]:
    """A Ray cluster of one node, with a dashboard and a token; what whoever submits must have in the environment."""
    environ = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(short_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ray, port, dashboard = str(Path(sys.executable).with_name("ray")), free_port(), free_port()
    start = [ray, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    start += ["--include-dashboard=true", "--dashboard-agent-listen-port=0", f"--object-store-memory={100 * 2**20}"]
    log = short_folder / "log"
    with log.open("wb") as file:
        node = subprocess.Popen(
            start, env=os.environ | environ, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    told = environ | {"RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}

    def answers() -> bool:
        asked = subprocess.run([ray, "job", "list"], env=os.environ | told, capture_output=True, check=False)
        return asked.returncode == 0

    try:
        up = _until(answers, PATIENCE_SECONDS)
        assert up, log.read_text(encoding="utf-8", errors="replace")
        yield told
    finally:
        node.terminate()
        _end_group(node)


def test_ray_submit_runs_on_the_cluster_that_is_up(workplace: Workplace, ray_cluster: dict[str, str]) -> None:
    done = workplace.run(workplace.script("ray-submit", "ray", workers=1), **ray_cluster)
    assert done.returncode == 0, done.stdout
    for worker in workplace.workers("ray-submit"):
        assert worker["engine"] == "ray"
        assert worker["node_id"]


SRUN = """#!/usr/bin/env bash
# Starts the command on every node of the allocation, as srun does, and ends it when it is ended.
while [ "$1" != bash ]; do shift; done
for node in $(seq 0 $((SLURM_JOB_NUM_NODES - 1))); do SLURM_NODEID=$node SLURM_CPUS_ON_NODE=1 "$@" & done
trap 'kill $(jobs -p)' TERM
wait
wait
"""


def test_slurm_spans_a_ray_cluster_over_its_nodes_and_takes_it_down(workplace: Workplace) -> None:
    (workplace.folder / "bin" / "srun").write_text(SRUN, encoding="utf-8")
    (workplace.folder / "bin" / "srun").chmod(0o755)
    number = free_port(20_000 + os.getpid() % 12_000) - 20_000
    environ = {"SLURM_JOB_ID": str(number), "SLURM_JOB_NUM_NODES": "2", "PYTHONPATH": str(workplace.folder)}
    done = workplace.run(workplace.script("slurm", "ray"), **environ)
    assert done.returncode == 0, done.stdout
    workers = workplace.workers("slurm")
    assert {worker["engine"] for worker in workers} == {"ray"}
    assert not Path(f"/tmp/tamis-{number}").exists(), "nodes clean up after themselves"


def test_spark_submit_runs_on_executors_of_their_own(workplace: Workplace, tmp_path: Path) -> None:
    (tmp_path / "spark-defaults.conf").write_text("spark.ui.enabled false\n", encoding="utf-8")
    environ = {
        "SPARK_CONF_DIR": str(tmp_path),
        "MASTER": "local-cluster[2,1,1024]",
        "DEPLOY_MODE": "client",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(tmp_path),
    }
    done = workplace.run(workplace.script("spark-yarn", "spark"), **environ)
    assert done.returncode == 0, done.stdout
    for worker in workplace.workers("spark-yarn"):
        assert worker["engine"] == "spark"
        assert worker["executor"] in {"0", "1"}
