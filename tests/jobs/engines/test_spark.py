"""The Spark engine on one machine under everything that goes wrong: an outcome for every item, whoever dies."""

from __future__ import annotations

import importlib
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkContext

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome, Resources
from tamis.corpora.errors import ConfigError, FatalError
from tamis.jobs.engines import spark
from tamis.jobs.engines.choosing import engine_of
from tamis.jobs.engines.spark import SparkEngine
from tamis.jobs.engines.spark_worker import LOST
from tamis.pipelines.recipe import EngineBlock
from tests.jobs.engines.acting import Act, Marks, alive, wait_until
from tests.jobs.engines.fates import FATES, by_item, check_fates
from tests.jobs.engines.spark_acting import KillParent, OneIsBroken, OnlyHere
from tests.jobs.engines.spark_sessions import ended_after, executors_of_tasks, the_context


@pytest.fixture(scope="module", autouse=True)
def one_session() -> Iterator[None]:
    """The first test that needs a session has the engine start it; the others find it."""
    assert SparkContext._active_spark_context is None
    with ended_after():
        yield


@pytest.fixture
def marks(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    monkeypatch.syspath_prepend(str(root))
    (tmp_path / "marks").mkdir()
    return Marks(str(tmp_path / "marks"))


def outcomes(task: Any, items: Sequence[str], resources: Resources | None = None) -> dict[str, Outcome]:
    return by_item(SparkEngine(2).map(task, items, resources or Resources()), items)


def test_no_items_start_nothing(marks: Marks) -> None:
    assert outcomes(Act(marks), []) == {}
    assert marks.attempts() == {}
    assert SparkContext._active_spark_context is None


def test_without_java_one_is_told_what_to_install(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match="needs Java 17 or newer, and there is no java"):
        outcomes(Act(marks), ["well"])


def test_every_item_has_one_outcome_whatever_becomes_of_it(marks: Marks) -> None:
    found = outcomes(Act(marks), list(FATES))
    check_fates(found, marks)
    told = [one for outcome in found.values() for one in (*outcome.earlier, outcome)]
    assert {(one.worker["engine"], one.worker["node"]) for one in told} == {("spark", platform.node())}
    assert found["exit"].error == "worker died with exit code 7"
    assert found["kill"].error == "worker died with SIGKILL; did memory run out?"
    told_by_spark = executors_of_tasks({one.worker["stage"] for one in told})
    assert {one.worker["task"]: one.worker["executor"] for one in told} == told_by_spark
    assert set(told_by_spark.values()) == {"driver"}


def test_work_is_shared_and_a_set_up_serves_many_items(marks: Marks) -> None:
    found = outcomes(Act(marks, crowd=2), [f"{number}:well" for number in range(6)])
    assert marks.attempts()["set-up"] == 2
    processes = {outcome.worker["process"] for outcome in found.values()}
    assert len(processes) == 2
    wait_until(lambda: not any(alive(process) for process in processes))  # whose memory the next map may need


def test_many_items_are_several_jobs(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_ROUND_ITEMS", 3)
    found = outcomes(Act(marks), ["raise-once", *(f"{number}:well" for number in range(7))])
    assert all(outcome.ok for outcome in found.values())
    assert len({outcome.worker["stage"] for outcome in found.values()}) == 3
    assert found["raise-once"].worker["stage"] == max(outcome.worker["stage"] for outcome in found.values())


@pytest.mark.parametrize(
    ("deed", "error", "told"),
    [
        ("raise-fatal", FatalError, "the disk is full"),
        ("raise-config", ConfigError, "no such weights"),
        ("raise-no-space", FatalError, "No space left on device"),
    ],
)
def test_what_stops_the_run_stops_it_and_its_workers(
    deed: str, error: type[Exception], told: str, marks: Marks
) -> None:
    items = ["for-ever", f"on-cue:{deed}", *(f"{number}:slowly" for number in range(20))]
    threading.Thread(target=cue_when_begun, args=(marks, "for-ever.1")).start()
    with pytest.raises(error, match=told):
        outcomes(Act(marks), items)
    assert marks.attempts()[f"on-cue:{deed}"] == 1
    assert len(marks.attempts()) < 20
    wait_until(lambda: not list(the_context().statusTracker().getActiveJobsIds()))  # hears of it a little later
    wait_until(lambda: not alive(marks.processes()["for-ever.1"]))


def cue_when_begun(marks: Marks, name: str) -> None:
    wait_until(lambda: name in marks.processes())
    marks.leave("cue")


def test_an_error_of_the_set_up_that_stops_the_run_stops_it(marks: Marks) -> None:
    with pytest.raises(ConfigError, match="no such weights"):
        outcomes(Act(marks, "raise-config"), ["well"] * 3)
    assert "well" not in marks.attempts()


@pytest.mark.parametrize(("deed", "told"), [("raise", "ValueError: a bug"), ("kill", "worker died with SIGKILL")])
def test_when_no_worker_can_be_set_up_the_run_stops_and_no_item_is_blamed(deed: str, told: str, marks: Marks) -> None:
    with pytest.raises(FatalError, match=f"no worker could be set up: {told}"):
        outcomes(Act(marks, deed), [f"{number}:well" for number in range(20)])
    assert set(marks.attempts()) == {"set-up"}
    assert marks.attempts()["set-up"] >= 2 * MAX_ATTEMPTS


@pytest.mark.parametrize("deed", ["raise-once", "kill-once"])
def test_a_set_up_that_fails_once_costs_no_attempt(deed: str, marks: Marks) -> None:
    found = outcomes(Act(marks, deed), [f"{number}:well" for number in range(4)])
    assert all(outcome.ok and outcome.attempts == 1 for outcome in found.values())


def test_a_worker_that_cannot_be_set_up_leaves_the_items_to_the_others(marks: Marks) -> None:
    items = [f"{number}:slowly" for number in range(6)]
    found = outcomes(OneIsBroken(marks, crowd=1), items)
    assert all(outcome.ok and outcome.attempts == 1 and outcome.earlier == () for outcome in found.values())
    assert {item: count for item, count in marks.attempts().items() if item in items} == dict.fromkeys(items, 1)
    [broken] = (name for name in marks.attempts() if name.startswith("broken-"))
    assert marks.attempts()["refused"] >= MAX_ATTEMPTS
    assert broken not in {f"broken-{outcome.value['parent']}" for outcome in found.values() if outcome.value}


@pytest.mark.parametrize(("victim", "told"), [("worker", "worker died with SIGKILL"), ("parent", LOST)])
def test_an_item_whose_worker_was_killed_from_outside_is_tried_again(victim: str, told: str, marks: Marks) -> None:
    """The worker is a process of ours beside a Python worker of Spark's; either may be killed by a kernel short of memory."""
    killed: list[int] = []

    def kill() -> None:
        wait_until(lambda: marks.processes().get("for-ever-once.1", 0) > 0)
        killed.append(marks.processes()["for-ever-once.1"])
        os.kill(killed[0] if victim == "worker" else parent(killed[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = outcomes(Act(marks), ["for-ever-once", "well"])
    killer.join()
    assert {item: outcome.attempts for item, outcome in found.items()} == {"for-ever-once": 2, "well": 1}
    assert found["for-ever-once"].ok
    [death] = found["for-ever-once"].earlier
    assert str(death.error).startswith(told)
    assert found["for-ever-once"].worker["process"] != killed[0]
    wait_until(lambda: not alive(killed[0]))


def test_an_item_that_takes_sparks_python_worker_with_it_is_poison_and_ends_no_job(marks: Marks) -> None:
    found = outcomes(KillParent(marks), ["kill-parent", "well"])
    assert {item: (outcome.ok, outcome.attempts) for item, outcome in found.items()} == {
        "kill-parent": (False, MAX_ATTEMPTS),
        "well": (True, 1),
    }
    assert [one.error for one in (*found["kill-parent"].earlier, found["kill-parent"])] == [LOST] * MAX_ATTEMPTS
    assert marks.attempts()["kill-parent"] == MAX_ATTEMPTS


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_leaving_the_outcomes_cancels_the_job_and_ends_its_workers(marks: Marks) -> None:
    run = SparkEngine(2).map(Act(marks), ["well", *(f"{n}:for-ever" for n in range(3))], Resources())
    assert next(iter(run)).item == "well"
    run.close()  # type: ignore[attr-defined]
    wait_until(lambda: not list(the_context().statusTracker().getActiveJobsIds()))  # hears of it a little later
    assert sum("for-ever" in name for name in marks.attempts()) <= 2  # the third never had a slot
    wait_until(lambda: not any(alive(pid) for pid in marks.processes().values()))


DRIVER = """
import sys
from tamis.corpora.engine import Resources
from tamis.jobs.engines.spark import SparkEngine
from tests.jobs.engines.acting import Act, Marks
list(SparkEngine(2).map(Act(Marks(sys.argv[1])), ["1:for-ever", "2:for-ever"], Resources()))
"""


def test_workers_end_with_their_driver(marks: Marks, root: Path) -> None:
    command = [sys.executable, "-c", DRIVER, marks.folder]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) as driver:
        wait_until(lambda: all(marks.processes().get(f"{n}:for-ever.1") for n in (1, 2)))
        workers = set(marks.processes().values())
        assert len(workers) == 2
        driver.kill()
    wait_until(lambda: not any(alive(pid) for pid in workers))


def test_a_module_of_the_users_own_is_sent_along(marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have neither its folder on their path nor tamis but by the wheel that they were sent."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "shipped_task.py").write_text(SHIPPED, encoding="utf-8")
    (tmp_path / "own" / "shipped_too.py").write_text("WORD = 'along'", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    module = importlib.import_module("shipped_task")
    engine = SparkEngine(2, modules=("shipped_too",))
    [outcome] = engine.map(module.Where(), ["item"], Resources(cpus=3))
    assert outcome.value is not None, outcome.error
    assert outcome.value["word"] == "along"
    assert all(".zip/" in place for place in outcome.value["places"]), outcome.value
    assert outcome.value["threads"] == os.environ.get("OMP_NUM_THREADS", "3")
    assert not any(".zip" in place and "userFiles" in place for place in sys.path)
    del sys.modules["shipped_task"]


SHIPPED = """
import os
class Where:
    def setup(self):
        import shipped_too
        self.word = shipped_too.WORD
    def __call__(self, item):
        import shipped_task, shipped_too, tamis.corpora.engine
        places = [module.__file__ for module in (shipped_task, shipped_too, tamis.corpora.engine)]
        return {"word": self.word, "places": places, "threads": os.environ["OMP_NUM_THREADS"]}
"""


def test_a_task_that_cannot_be_unpickled_is_a_set_up_that_fails(marks: Marks) -> None:
    with pytest.raises(FatalError, match="no worker could be set up: ImportError: not on workers"):
        outcomes(OnlyHere(), ["item"])


def test_workers_that_lack_a_module_are_refused_with_the_command_that_brings_it() -> None:
    engine = SparkEngine(2)
    engine.check(["json", "numpy"])
    told = r"executor driver on .* lacks no_such_module, .*: pip install no_such_module$"
    with pytest.raises(ConfigError, match=told):
        engine.check(["json", "no_such_module"])


def test_what_spark_cannot_give_here_is_refused_with_what_to_set(marks: Marks) -> None:
    with pytest.raises(ConfigError, match=r"a task needs 1 gpu.*local\[2,4\] has 0: set spark.executor.resource.gpu"):
        outcomes(Act(marks), ["well"], Resources(gpus=1))
    with pytest.raises(ConfigError, match=r"1\.5 found; Spark lends whole GPUs or a part of one"):
        outcomes(Act(marks), ["well"], Resources(gpus=1.5))
    with pytest.raises(ConfigError, match=r"a task needs 2 licence"):
        outcomes(Act(marks), ["well"], Resources(custom={"licence": 2}))
    with pytest.raises(ConfigError, match=r"'spark://elsewhere:7077' found, and .* master 'local\[2,4\]' is there"):
        list(SparkEngine(address="spark://elsewhere:7077").map(Act(marks), ["well"], Resources()))
    assert marks.attempts() == {}


def test_a_recipe_names_it() -> None:
    block = EngineBlock.model_validate({"kind": "spark", "workers": 3, "address": "spark://host:7077"})
    assert engine_of(block) == SparkEngine(3, "spark://host:7077")
