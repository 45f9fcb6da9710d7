"""What a worker beside Spark's knows of where it is."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkFiles, TaskContext

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome
from tamis.jobs.engines import spark_worker
from tamis.jobs.engines.spark_worker import LOST, Order, Report, executor_id, id_of_ancestor


class Broken:
    """A process that cannot be set up."""

    def __init__(self, task: Any, environ: Any) -> None: ...

    def hear(self) -> Outcome:
        return Outcome("set-up", None, "the GPU has fallen off the bus", worker={"engine": "local", "process": 1})

    def stop(self) -> None: ...


class Whole(Broken):
    """One that does everything it is told."""

    def give(self, item: str) -> None: ...

    def hear(self) -> Outcome:
        return Outcome("", {}, worker={"engine": "local", "process": 1})


@pytest.fixture
def slept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """As in a Python worker of Spark's, where sleeping takes no time but is written down."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    monkeypatch.setattr(spark_worker, "_SEATS", [])
    monkeypatch.setattr(spark_worker, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(SparkFiles, "_is_running_on_worker", True)
    monkeypatch.setattr(SparkFiles, "_root_directory", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    before = signal.getsignal(signal.SIGPIPE)
    yield seconds
    signal.signal(signal.SIGPIPE, before)
    gc.unfreeze()


def reports(
    process: type[Broken], attempt_number: int, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[Report]:
    """What a Spark task with this attempt number says of items that were tried so often before."""
    context = object.__new__(TaskContext)
    context._attemptNumber, context._stageId, context._taskAttemptId = attempt_number, 5, 17
    monkeypatch.setattr(TaskContext, "_taskContext", context)
    monkeypatch.setattr(spark_worker, "Process", process)
    found: list[Report] = []
    accumulator: Any = type("Accumulator", (), {"add": lambda self, told: found.extend(told)})()
    order = Order("a map", "code.zip", b"", {}, 0, accumulator)
    assert list(order((number, f"item {number}", times) for number, times in enumerate(tried))) == []
    return found


def test_a_worker_that_cannot_be_set_up_refuses_at_once_and_then_slowly(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be given all items otherwise, again and again, while the others do one."""
    found = reports(Broken, 0, [0, 1, 0], monkeypatch)
    assert [(report.attempted, report.lost) for report in found] == [(False, 0)] * 3
    assert {report.outcome.error for report in found} == {"the GPU has fallen off the bus"}
    assert len(slept) == 2
    assert min(slept) > 1
    assert [report.attempted for report in reports(Whole, 0, [0, 0], monkeypatch)] == [True, True]
    assert len(slept) == 3


def test_attempts_that_spark_lost_count_and_the_last_word_is_not_an_attempt(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [(report.outcome.error, report.lost) for report in reports(Whole, 1, [0, 1, 2], monkeypatch)]
    assert told == [(None, 1), (None, 1), (LOST, 0)]
    [last] = reports(Whole, MAX_ATTEMPTS, [0], monkeypatch)
    assert (last.outcome.error, last.lost, last.attempted) == (LOST, MAX_ATTEMPTS - 1, True)
    assert (last.outcome.worker["engine"], last.outcome.worker["stage"], last.outcome.worker["task"]) == (
        "spark",
        5,
        17,
    )


def process(folder: Path, pid: int, parent: int, *command: str) -> None:
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "cmdline").write_text("\0".join(command) + "\0")
    (folder / str(pid) / "stat").write_text(f"{pid} (a name) of (its) own) S {parent} 1 1 0 -1")


def test_the_executor_is_the_ancestor_that_was_given_an_id(tmp_path: Path) -> None:
    process(
        tmp_path, 40, 1, "java", "-cp", "jars", "CoarseGrainedExecutorBackend", "--executor-id", "17", "--cores", "2"
    )
    process(tmp_path, 50, 40, "python", "-m", "pyspark.daemon")
    process(tmp_path, 60, 50, "python", "-m", "pyspark.daemon")
    assert id_of_ancestor(60, tmp_path) == "17"


@pytest.mark.parametrize("command", [("java", "SparkSubmit"), ("java", "--executor-id"), ("",)])
def test_without_one_the_driver_is_the_executor(command: tuple[str, ...], tmp_path: Path) -> None:
    process(tmp_path, 40, 1, *command)
    process(tmp_path, 50, 40, "python", "-m", "pyspark.daemon")
    assert id_of_ancestor(50, tmp_path) == "driver"
    assert id_of_ancestor(99, tmp_path) == "driver"  # no such process, or no /proc at all


def test_kubernetes_says_it_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    executor_id.cache_clear()
    monkeypatch.setenv("SPARK_EXECUTOR_ID", "23")
    assert executor_id() == "23"
    executor_id.cache_clear()
