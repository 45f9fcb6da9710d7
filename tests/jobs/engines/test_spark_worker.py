"""What a worker beside Spark's knows of where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tamis.jobs.engines.spark_worker import executor_id, id_of_ancestor


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
