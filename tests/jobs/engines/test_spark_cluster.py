"""The Spark engine on a cluster of two executors, each with two GPUs by its own account: places, lost executors, GPUs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from tamis.corpora.engine import Outcome, Resources
from tamis.corpora.errors import ConfigError
from tamis.jobs.engines.spark import SparkEngine
from tamis.jobs.engines.spark_worker import LOST
from tests.jobs.engines.acting import Act, Marks, alive, wait_until
from tests.jobs.engines.fates import by_item
from tests.jobs.engines.spark_sessions import ended_after, executors_of_tasks

MASTER = "local-cluster[2,2,1024]"
"""Two executors with processes of their own, two cores and 1,024 MiB each."""

JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a quick start: three JVMs that optimise would take all cores from each other."""

DISCOVERY = """#!/bin/sh
echo '{"name": "gpu", "addresses": ["GPU-0a", "GPU-1b"]}'
"""


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A session that somebody else has started; its executors' folders lie in a Spark home of the test's own."""
    home = tmp_path_factory.mktemp("spark")
    for entry in Path(str(pyspark.__path__[0])).iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    script = home / "discover_gpus.sh"
    script.write_text(DISCOVERY, encoding="utf-8")
    script.chmod(0o755)
    told = {
        "spark.driver.extraJavaOptions": JAVA,
        "spark.executor.extraJavaOptions": JAVA,
        "spark.executor.memory": "512m",
        "spark.log.level": "OFF",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.python.unix.domain.socket.enabled": "true",
    }
    for role in ("worker", "executor"):
        told[f"spark.{role}.resource.gpu.amount"] = "2"
        told[f"spark.{role}.resource.gpu.discoveryScript"] = str(script)
    with ended_after(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master(MASTER).appName("somebody's")
        for key, value in told.items():
            builder = builder.config(key, value)
        builder.getOrCreate()
        yield


@pytest.fixture
def marks(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    monkeypatch.syspath_prepend(str(root))
    (tmp_path / "marks").mkdir()
    return Marks(str(tmp_path / "marks"))


def outcomes(task: Act, items: Sequence[str], resources: Resources | None = None) -> dict[str, Outcome]:
    return by_item(SparkEngine().map(task, items, resources or Resources()), items)


def test_each_executor_works_and_is_called_what_spark_calls_it(marks: Marks) -> None:
    found = outcomes(Act(marks, crowd=4), [f"{number}:well" for number in range(12)])
    told = {outcome.worker["task"]: outcome.worker["executor"] for outcome in found.values()}
    assert told == executors_of_tasks({outcome.worker["stage"] for outcome in found.values()})
    assert set(told.values()) == {"0", "1"}
    assert len({outcome.worker["process"] for outcome in found.values()}) == 4
    assert marks.attempts()["set-up"] == 4


def test_more_cpus_a_task_are_fewer_tasks_at_once(marks: Marks) -> None:
    found = outcomes(Act(marks, crowd=2), [f"{number}:well" for number in range(8)], Resources(cpus=2))
    assert len({outcome.worker["process"] for outcome in found.values()}) == 2
    assert {outcome.worker["executor"] for outcome in found.values()} == {"0", "1"}
    assert marks.attempts()["set-up"] == 2


def test_each_process_has_a_gpu_of_its_own_for_life(marks: Marks) -> None:
    """A process that dies gives its GPU back to the one that follows; nobody ever shares one."""
    items = ["kill-once", *(f"{number}:well" for number in range(12))]
    found = outcomes(Act(marks, crowd=4), items, Resources(gpus=1))
    gpus: dict[tuple[str, int], set[str]] = {}
    for outcome in found.values():
        assert outcome.value is not None
        gpus.setdefault((outcome.worker["executor"], outcome.worker["process"]), set()).add(outcome.value["gpu"])
    assert all(len(names) == 1 for names in gpus.values())
    taken = sorted((executor, *names) for (executor, _), names in gpus.items())
    assert set(taken) == {("0", "GPU-0a"), ("0", "GPU-1b"), ("1", "GPU-0a"), ("1", "GPU-1b")}
    assert found["kill-once"].attempts == 2
    assert len(taken) <= 4 + 1  # of the one that died, a process each for those before and after


def test_a_process_may_have_several_gpus_and_no_more_processes_come_than_tasks_run_at_once(marks: Marks) -> None:
    """Spark's Python workers of other maps are idle meanwhile; if they came in turn, all would set the task up."""
    found = outcomes(Act(marks, crowd=2), [f"{number}:well" for number in range(8)], Resources(gpus=2))
    assert {outcome.value["gpu"] for outcome in found.values() if outcome.value} == {"GPU-0a,GPU-1b"}
    assert {outcome.worker["executor"] for outcome in found.values()} == {"0", "1"}
    assert marks.attempts()["set-up"] == 2


def test_more_gpus_than_an_executor_has_are_refused(marks: Marks) -> None:
    with pytest.raises(
        ConfigError, match=r"a task needs 3 gpu, and a Spark executor of local-cluster\[.*\] has 2: set"
    ):
        outcomes(Act(marks), ["well"], Resources(gpus=3))


def test_the_items_of_an_executor_that_is_killed_are_done_by_others(marks: Marks) -> None:
    """SIGKILL to its JVM, as when a node is lost: with it go its Python workers and our processes beside them."""
    before, after = [f"{number}:well" for number in range(4)], [f"{number}:well" for number in range(10, 26)]
    long = [f"{number}:for-ever-once" for number in range(4)]

    def kill_an_executor() -> None:
        wait_until(lambda: all(marks.processes().get(f"{item}.1") for item in long))
        executors = {pid: executor_of(pid) for pid in (marks.processes()[f"{item}.1"] for item in long)}
        victim = min(executors.values())
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid, executor in executors.items() if executor == victim))
        for pid, executor in executors.items():
            if executor != victim:
                os.kill(pid, signal.SIGKILL)  # or it would take a minute

    killer = threading.Thread(target=kill_an_executor)
    killer.start()
    found = outcomes(Act(marks, crowd=4), [*before, *long, *after])
    killer.join()
    assert all(outcome.ok for outcome in found.values())
    assert {item: found[item].attempts for item in long} == dict.fromkeys(long, 2)
    ends = sorted(str(one.error) for item in long for one in found[item].earlier)
    assert ends == sorted([LOST] * 2 + ["worker died with SIGKILL; did memory run out?"] * 2)
    assert len({found[item].worker["executor"] for item in before}) == 2


def executor_of(pid: int) -> int:
    """The JVM whose Python worker a process is beside."""
    while pid > 1:
        if "CoarseGrainedExecutorBackend" in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    raise AssertionError("no executor above it")
