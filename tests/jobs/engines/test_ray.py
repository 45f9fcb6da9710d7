"""The Ray engine on a cluster of its own: an outcome for every item, whoever dies; no more workers than there is room."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome, Resources, Task
from tamis.corpora.errors import ConfigError, FatalError
from tamis.jobs.engines.ray import RayEngine
from tests.jobs.engines.acting import Act, Marks, alive, wait_until
from tests.jobs.engines.fates import FATES, by_item, check_fates

# Ray leaves the log of a client server to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*/logs/ray_client_server:ResourceWarning")

SMALL = {"object_store_memory": 100 * 2**20}
ATTENTIVE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
"""A dead node is noticed in seconds, and a slow one is not taken for dead."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node that declares two GPUs."""
    head: dict[str, Any] = {
        **SMALL,
        "num_cpus": 2,
        "num_gpus": 2,
        "resources": {"pair": 1},
        "_system_config": ATTENTIVE,
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        head["ray_client_server_port"] = free.getsockname()[1]
    cluster = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def marks(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    monkeypatch.syspath_prepend(str(root))
    (tmp_path / "marks").mkdir()
    return Marks(str(tmp_path / "marks"))


def outcomes(
    cluster: Cluster, task: Task, items: Sequence[str], resources: Resources | None = None, **engine: Any
) -> dict[str, Outcome]:
    found = RayEngine(**{"workers": 2, **engine}, address=cluster.address).map(task, items, resources or Resources())
    return by_item(found, items)


def gone(marks: Marks) -> None:
    """Wait until no worker runs any more."""
    wait_until(lambda: not any(alive(pid) for pid in marks.processes().values()))


def test_every_item_has_one_outcome_whatever_becomes_of_it(cluster: Cluster, marks: Marks) -> None:
    found = outcomes(cluster, Act(marks), list(FATES))
    check_fates(found, marks)
    assert found["kill"].error == "worker died: Worker unexpectedly exits with a connection error code 2. End of file."
    told = [one.worker for outcome in found.values() for one in (*outcome.earlier, outcome)]
    assert {worker["engine"] for worker in told} == {"ray"}
    assert {worker["node_id"] for worker in told} == {node["NodeID"] for node in ray.nodes()}
    assert {worker["node"] for worker in told} == {os.uname().nodename}
    assert {worker["process"] for worker in told} <= set(marks.processes().values())
    assert len({worker["actor_id"] for worker in told}) == len({worker["process"] for worker in told})
    gone(marks)


def test_no_items_start_nothing(cluster: Cluster, marks: Marks) -> None:
    assert outcomes(cluster, Act(marks), []) == {}
    assert marks.attempts() == {}


@pytest.mark.parametrize(
    ("set_up", "item", "error", "told"),
    [("well", "raise-no-space", FatalError, "No space left"), ("raise-config", "well", ConfigError, "no such weights")],
)
def test_what_stops_the_run_stops_it_and_its_workers(
    set_up: str, item: str, error: type[Exception], told: str, cluster: Cluster, marks: Marks
) -> None:
    with pytest.raises(error, match=told):
        outcomes(cluster, Act(marks, set_up), [item, "1:for-ever", "2:for-ever"])
    assert marks.attempts().get(item, 0) == (1 if set_up == "well" else 0)
    gone(marks)


def test_when_no_worker_can_be_set_up_the_run_stops_and_no_item_is_blamed(cluster: Cluster, marks: Marks) -> None:
    with pytest.raises(FatalError, match="no worker could be set up: worker died"):
        outcomes(cluster, Act(marks, "kill"), ["1:well", "2:well"], workers=1)
    assert marks.attempts() == {"set-up": MAX_ATTEMPTS}


def test_leaving_the_outcomes_stops_the_workers(cluster: Cluster, marks: Marks) -> None:
    items = ["well", "1:for-ever", "2:for-ever"]
    run = RayEngine(2, address=cluster.address).map(Act(marks), items, Resources())
    assert next(iter(run)).item == "well"
    run.close()  # type: ignore[attr-defined]
    gone(marks)


def test_workers_come_while_items_wait_and_go_when_none_does(cluster: Cluster, marks: Marks) -> None:
    """Two begin before any is done, of which one alone was asked for at first; whoever has nothing to do ends."""
    found: list[Outcome] = []

    def cue() -> None:
        try:
            wait_until(lambda: bool(found) and not alive(found[0].worker["process"]))
        finally:
            marks.leave("cue")

    watcher = threading.Thread(target=cue)
    watcher.start()
    run = RayEngine(1, 2, cluster.address).map(Act(marks, crowd=2), ["well", "on-cue:well"], Resources())
    for outcome in run:
        found.append(outcome)
        assert len(found) == 2 or not marks.attempts().get("cue")
    watcher.join()
    assert [outcome.item for outcome in found] == ["well", "on-cue:well"]
    assert marks.attempts()["set-up"] == 2


def test_a_node_that_joins_is_worked_on_and_one_that_is_killed_costs_an_attempt(cluster: Cluster, marks: Marks) -> None:
    """It joins when an item is done; when both workers have begun one, all its processes are killed."""
    items = ["0:well", "1:on-cue:well", "2:on-cue:well", *(f"{number}:well" for number in range(3, 9))]
    one_a_node = Resources(cpus=0.5, custom={"pair": 1})
    run = iter(RayEngine(1, 2, cluster.address).map(Act(marks), items, one_a_node))
    found = {"0:well": next(run)}
    node = cluster.add_node(**SMALL, num_cpus=1, resources={"pair": 1})

    def kill_the_node() -> None:
        try:
            wait_until(lambda: all(marks.processes().get(f"{n}:on-cue:well.1") for n in (1, 2)))
            [raylet] = node.all_processes["raylet"]
            for pid in (raylet.process.pid, *descendants(raylet.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            marks.leave("cue")

    killer = threading.Thread(target=kill_the_node)
    killer.start()
    found |= by_item(run, items[1:])
    killer.join()
    assert all(outcome.ok for outcome in found.values())
    assert Counter(outcome.attempts for outcome in found.values()) == {1: 8, 2: 1}
    [lost] = [one for outcome in found.values() for one in outcome.earlier]
    assert lost.item.endswith("on-cue:well")
    assert lost.worker["node_id"] == node.node_id
    assert {outcome.worker["node_id"] for outcome in found.values()} == {cluster.head_node.node_id}
    cluster.remove_node(node)
    wait_until(lambda: [one["NodeID"] for one in ray.nodes() if one["Alive"]] == [cluster.head_node.node_id])


def descendants(root: int) -> list[int]:
    """The processes below one, as /proc tells."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
    found, left = list[int](), [root]
    while left:
        found += children.get(left[0], [])
        left = left[1:] + children.get(left[0], [])
    return found


@pytest.mark.parametrize(("share", "held"), [(1, {"0": 1, "1": 1}), (0.5, {"0": 2, "1": 2})])
def test_there_are_as_many_workers_as_the_gpus_hold_and_each_sees_one(
    share: float, held: dict[str, int], cluster: Cluster, marks: Marks
) -> None:
    """More workers are asked for than there is room; those that have none never begin."""
    room = sum(held.values())
    items = [f"{number}:well" for number in range(room + 2)]
    resources = Resources(cpus=0.1, gpus=share)
    found = outcomes(cluster, Act(marks, crowd=room), items, resources, workers=room + 1)
    seen = {outcome.worker["process"]: outcome.value["gpu"] for outcome in found.values() if outcome.value}
    assert Counter(seen.values()) == held
    assert marks.attempts()["set-up"] == room


def test_a_worker_that_fits_on_no_node_is_an_error_that_says_what_there_is(cluster: Cluster, marks: Marks) -> None:
    told = r"a worker needs CPU 1, GPU 3, a100 1; there are nodes: 1 with CPU 2, GPU 2, pair 1; free in all: .*ask for"
    with pytest.raises(ConfigError, match=told):
        outcomes(cluster, Act(marks), ["well"], Resources(gpus=3, custom={"a100": 1}), patience_seconds=0)
    with pytest.raises(ConfigError, match=r"gpus_per_worker: 1\.5 found; Ray lends whole GPUs or a part of one"):
        outcomes(cluster, Act(marks), ["well"], Resources(gpus=1.5))
    assert marks.attempts() == {}


def test_a_cluster_whose_room_others_have_is_waited_for_and_then_given_up(cluster: Cluster, marks: Marks) -> None:
    both = RayEngine(1, address=cluster.address).map(Act(marks), ["1:well", "2:for-ever"], Resources(cpus=2))
    assert next(iter(both)).item == "1:well"
    with pytest.raises(
        FatalError, match=r"a worker needs CPU 2; .*CPU 2, GPU 2, pair 1; free in all: .*; waited 0.5 s"
    ):
        outcomes(cluster, Act(marks), ["3:well"], Resources(cpus=2), patience_seconds=0.5)
    both.close()  # type: ignore[attr-defined]
    assert outcomes(cluster, Act(marks), ["3:well"], Resources(cpus=2))["3:well"].ok, "their room is given back"


def test_nodes_that_lack_a_module_are_refused_with_the_command_that_brings_it(cluster: Cluster) -> None:
    engine = RayEngine(address=cluster.address)
    engine.check(["json", "numpy"])
    node = cluster.head_node.node_id
    with pytest.raises(ConfigError, match=rf"node {node} \(.+\) lacks no_such_module, .*: pip install no_such_module$"):
        engine.check(["json", "no_such_module"])


PLUG_IN = """
import os
from dataclasses import dataclass

@dataclass(frozen=True)
class PlugIn:
    def setup(self): ...

    def __call__(self, item):
        return {{"file": __file__, "version": {version}, "threads": os.environ["OMP_NUM_THREADS"]}}
"""


def test_the_user_s_own_code_is_shipped_as_it_is_now(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for version in (1, 2):
        (tmp_path / "my_plug_in.py").write_text(PLUG_IN.format(version=version), encoding="utf-8")
        monkeypatch.delitem(sys.modules, "my_plug_in", raising=False)
        task = __import__("my_plug_in").PlugIn()
        value = outcomes(cluster, task, ["well"])["well"].value
        assert value is not None
        assert (value["version"], value["threads"]) == (version, "3")
        assert not value["file"].startswith(str(tmp_path))


def test_a_session_that_is_there_is_used_as_it_is(cluster: Cluster, marks: Marks, root: Path) -> None:
    ray.shutdown()
    environ = {"env_vars": {"PYTHONPATH": str(root)}}
    ray.init(cluster.address, namespace="mine", runtime_env=environ, log_to_driver=False)
    [outcome] = RayEngine(1).map(Act(marks), ["well"], Resources())
    assert outcome.worker["node_id"] == cluster.head_node.node_id
    assert ray.get_runtime_context().namespace == "mine"
    ray.shutdown()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_address_without_a_cluster_is_refused_at_once(address: str, marks: Marks) -> None:
    with pytest.raises(ConfigError, match=rf"engine.address: cannot open a Ray session at '{address}'.*ray start"):
        list(RayEngine(address=address).map(Act(marks), ["well"], Resources()))


DRIVER = """
import os
import sys
from dataclasses import replace
from tamis.corpora.engine import Resources
from tamis.jobs.engines.choosing import engine_of
from tamis.pipelines.recipe import EngineBlock
from tests.jobs.engines.acting import Act, Marks
from tamis.corpora.errors import ConfigError
cpus = int(os.environ.get("CPUS", 1))
engine = replace(engine_of(EngineBlock(kind="ray", workers=2, threads=cpus)), modules=("tests",))
engine.check(["json"])
for outcome in engine.map(Act(Marks(sys.argv[1])), sys.argv[2:], Resources(cpus=cpus)):
    print(outcome.item, outcome.attempts)
"""
REFUSED = """
try:
    next(engine.map(Act(Marks(sys.argv[1])), ["never"], Resources(custom={"a100": 1})))
except ConfigError as error:
    print(str(error).partition(";")[0])
"""


def driven(code: str, marks: Marks, root: Path, **environ: str) -> tuple[list[str], str]:
    """The lines that a run prints in a process of its own, and its stderr."""
    command = [sys.executable, "-c", code, marks.folder, "well", "kill-once", "1:well"]
    done = subprocess.run(command, cwd=root, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_a_cluster_is_reached_through_its_client_server_too(cluster: Cluster, marks: Marks, root: Path) -> None:
    port = cluster.head_node._ray_params.ray_client_server_port
    told, _ = driven(DRIVER, marks, root, RAY_ADDRESS=f"ray://127.0.0.1:{port}")
    assert sorted(told) == ["1:well 1", "kill-once 2", "well 1"]


def test_a_session_started_here_has_what_workers_need_is_quiet_and_ends_with_its_driver(
    marks: Marks, root: Path
) -> None:
    """It is started to be checked, before anybody says that workers want three CPUs each; what it lacks will not come."""
    with tempfile.TemporaryDirectory() as folder:
        (*told, refusal), noise = driven(DRIVER + REFUSED, marks, root, RAY_TMPDIR=folder, CPUS="3")
        wait_until(lambda: not mentioning(folder))
    assert sorted(told) == ["1:well 1", "kill-once 2", "well 1"]
    assert refusal == "no Ray node has room for a worker: a worker needs CPU 1, a100 1"
    assert noise == ""


def mentioning(words: str) -> list[int]:
    """The processes whose command line has the words in it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if words.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def test_workers_end_with_their_driver(cluster: Cluster, marks: Marks, root: Path) -> None:
    command = [sys.executable, "-c", DRIVER, marks.folder, "1:for-ever", "2:for-ever"]
    with subprocess.Popen(command, cwd=root, env={**os.environ, "RAY_ADDRESS": cluster.address}) as driver:
        wait_until(lambda: all(marks.processes().get(f"{n}:for-ever.1") for n in (1, 2)))
        driver.kill()
    gone(marks)
