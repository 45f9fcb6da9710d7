"""What is asked of a Spark session before anything is sent to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyspark import SparkContext

from tamis.corpora.engine import Resources
from tamis.corpora.errors import ConfigError
from tamis.jobs.engines import spark_session
from tamis.jobs.engines.spark_session import gpu_share, open_context, profile, slots


@dataclass
class Told:
    """A context that tells its master and its configuration, and does nothing."""

    master: str = "spark://host:7077"
    conf: Mapping[str, str] = field(default_factory=dict)
    defaultParallelism: int = 8  # noqa: N815
    applicationId: str = "app-1"  # noqa: N815

    def getConf(self) -> Told:  # noqa: N802
        return self

    def get(self, key: str, default: str) -> str:
        return self.conf.get(key, default)

    def getAll(self) -> list[tuple[str, str]]:  # noqa: N802
        return [*self.conf.items(), ("spark.app.name", "somebody's")]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a context the one that is there."""

    def put(context: Told) -> None:
        session = type("Session", (), {"sparkContext": context})
        builder = type("Builder", (), {"getOrCreate": lambda self: session})
        monkeypatch.setattr(spark_session, "SparkSession", type("Spark", (), {"builder": builder()}))
        monkeypatch.setattr(SparkContext, "_active_spark_context", context)

    return put


@pytest.mark.parametrize(
    ("master", "conf", "failures"),
    [
        ("local", {}, 1),
        ("local[2]", {}, 1),
        ("local[*]", {"spark.task.maxFailures": "9"}, 1),  # which Spark does not ask on one machine
        ("local[*,3]", {}, 3),
        ("local-cluster[2,1,1024]", {"spark.task.maxFailures": "2"}, 2),
        ("yarn", {"spark.task.maxFailures": "3"}, 3),
    ],
)
def test_a_session_that_gives_up_before_we_do_is_refused(
    master: str, conf: Mapping[str, str], failures: int, there: Any
) -> None:
    there(Told(master, conf))
    told = rf"when a task has failed {failures} times; at least 4 are needed: start it with local\[8,4\] on one machine"
    with pytest.raises(ConfigError, match=told):
        open_context(2, None)


@pytest.mark.parametrize(
    ("master", "conf"),
    [
        ("local[2,4]", {}),
        ("local[ * , 8 ]", {}),
        ("local-cluster[2,1,1024]", {}),
        ("spark://host:7077", {"spark.task.maxFailures": "4"}),
        ("k8s://https://host", {"spark.python.worker.reuse": "true"}),
    ],
)
def test_a_session_that_is_patient_is_used(master: str, conf: Mapping[str, str], there: Any) -> None:
    context = Told(master, conf)
    there(context)
    assert open_context(2, None) is context
    assert open_context(2, master) is context


def test_workers_that_end_with_each_task_are_refused(there: Any) -> None:
    there(Told(conf={"spark.python.worker.reuse": "false"}))
    with pytest.raises(ConfigError, match="workers set up models once, leave it true"):
        open_context(2, None)


def test_spark_connect_is_refused() -> None:
    with pytest.raises(ConfigError, match="'sc://host' is Spark Connect"):
        open_context(2, "sc://host")


def test_as_many_tasks_run_at_once_as_have_their_cpus() -> None:
    assert [slots(Told(), Resources(cpus=cpus)) for cpus in (0.5, 1, 3, 4, 100)] == [8, 8, 2, 2, 1]


def test_what_spark_gives_every_task_is_not_asked_for_again() -> None:
    """A profile of one's own brings executors of its own, with dynamic allocation."""
    conf = {
        "spark.task.cpus": "4",
        "spark.task.resource.gpu.amount": "0.5",
        "spark.executor.resource.gpu.amount": "2",
        "spark.executor.resource.licence.amount": "1",
        "spark.task.resource.licence.amount": "1",
    }
    for enough in (Resources(), Resources(4, 0.5), Resources(2, 0.4, {"licence": 1})):
        assert profile(Told(conf=conf), enough) is None
    assert profile(Told("local[2,4]"), Resources(cpus=8)) is None  # a task is a thread there


@pytest.mark.parametrize(
    ("gpus", "share"), [(1, 1), (2, 2), (0.5, 0.5), (0.4, 0.5), (0.7, 1), (0.1, 0.1), (0.3, 1 / 3)]
)
def test_a_share_of_a_gpu_leaves_no_rest(gpus: float, share: float) -> None:
    assert gpu_share(gpus) == pytest.approx(share)
