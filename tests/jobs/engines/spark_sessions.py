"""Spark sessions of tests: ended with their JVM, so that each test module begins with none; and what Spark itself tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark import SparkContext


@contextmanager
def ended_after() -> Iterator[None]:
    """Whatever session is there at the end is stopped, and its JVM with it."""
    try:
        yield
    finally:
        context, gateway = SparkContext._active_spark_context, SparkContext._gateway
        if context is not None:
            context.stop()
        if gateway is not None:
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(60)
            SparkContext._gateway = SparkContext._jvm = None


def the_context() -> Any:
    """The context of the session that is there."""
    context = SparkContext._active_spark_context
    assert context is not None
    return context


def executors_of_tasks(stages: set[int]) -> dict[int, str]:
    """What Spark's own status store says: task to executor, for the tasks that succeeded in these stages."""
    store = the_context()._jsc.sc().statusStore()
    found = {}
    for stage in stages:
        tasks = store.taskList(stage, 0, 1000)
        for index in range(tasks.size()):
            task = tasks.apply(index)
            if task.status() == "SUCCESS":
                found[int(task.taskId())] = str(task.executorId())
    return found
