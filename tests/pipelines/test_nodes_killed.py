"""A cluster of two nodes, one of which is killed in mid-run: the run ends, with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from .agreeing import command_for, digests, on_disk, run_to_the_end, tasks_of
from .conftest import Site

RULES: dict[str, Any] = {
    "scores": {"look": {}, "text": {}},
    "criteria": {"big": "min_side >= 64", "quiet": "text.parrot_rate < 0.3"},
    "policies": {"sifted": "big and quiet"},
}
"""About a second a shard, so that a node can be killed with work in hand; nothing that needs CLIP."""


@dataclass(frozen=True)
class RayNodes:
    """A running cluster of two nodes, each a raylet with its workers; the second may be killed."""

    cluster: Any
    second: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill(self, node_id: str, driver: int) -> bool:
        """Kill every process of the node with SIGKILL, unless it is the head."""
        if node_id != self.second.node_id:
            return False
        [raylet] = self.second.all_processes["raylet"]
        for pid in [raylet.process.pid, *descendants(raylet.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return True


@pytest.fixture
def ray_nodes() -> Iterator[RayNodes]:
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        second = cluster.add_node(**small)
        cluster.wait_for_nodes()
        yield RayNodes(cluster, second)
    finally:
        cluster.shutdown()


def descendants(root: int) -> list[int]:
    """The processes below ``root``, as /proc tells."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
    found, left = list[int](), [root]
    while left:
        found += children.get(left[0], [])
        left = left[1:] + children.get(left[0], [])
    return found


def kill_executor(executor: str, driver: int) -> bool:
    """Kill the JVM of an executor below the driver's process with SIGKILL."""
    for pid in descendants(driver):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "--executor-id" in words and words[words.index("--executor-id") + 1] == executor:
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def run_and_kill(command: list[str], folder: Path, names: str, kill: Callable[[str, int], bool]) -> str:
    """Run the command and kill the first killable node that the log of scores names by ``names``; which one that was.

    Ten shards are scored, so others are left to do, and most likely one is half done.
    """
    log = folder / "corpus" / "logs" / "score.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        killed = ""
        until = time.monotonic() + 200
        while not killed and driver.poll() is None and time.monotonic() < until:
            lines = log.read_text().splitlines(keepends=True) if log.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith("\n")]
            seen = {line["worker"][names] for line in whole if "worker" in line}
            killed = next((name for name in sorted(seen) if kill(name, driver.pid)), "")
            time.sleep(0.02)
        _, told = driver.communicate(timeout=200)
    assert killed, told[-3000:]
    assert driver.returncode == 0, told[-3000:]
    return killed


@pytest.fixture(scope="module")
def expected(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_to_the_end(command_for(folder, site, **RULES), site)
    return digests(on_disk(folder))


def test_a_ray_node_killed_in_mid_run_costs_no_byte(
    expected: dict[str, str], site: Site, tmp_path: Path, ray_nodes: RayNodes
) -> None:
    command = command_for(tmp_path, site, "--engine", "ray", "--address", ray_nodes.address, **RULES)
    nodes = {node.node_id for node in ray_nodes.cluster.list_all_nodes()}
    killed = run_and_kill(command, tmp_path, "node_id", ray_nodes.kill)
    files = on_disk(tmp_path)
    assert digests(files) == expected
    assert killed == ray_nodes.second.node_id
    assert {line["worker"]["node_id"] for line in tasks_of(files)} == nodes


def test_a_spark_executor_killed_in_mid_run_costs_no_byte(expected: dict[str, str], site: Site, tmp_path: Path) -> None:
    command = command_for(tmp_path, site, "--engine", "spark", "--address", "local-cluster[2,1,2048]", **RULES)
    killed = run_and_kill(command, tmp_path, "executor", kill_executor)
    files = on_disk(tmp_path)
    assert digests(files) == expected
    assert {line["worker"]["executor"] for line in tasks_of(files)} > {killed}
