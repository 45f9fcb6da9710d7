"""The local engine under everything that goes wrong: an outcome for every item, whoever dies."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome, Resources
from tamis.corpora.errors import ConfigError, FatalError
from tamis.jobs.engines.local import LocalEngine, gpu_places, visible_gpus
from tests.jobs.engines.acting import Act, Marks, alive, wait_until
from tests.jobs.engines.fates import FATES, by_item, check_fates


@pytest.fixture
def marks(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Marks:
    monkeypatch.syspath_prepend(str(root))  # workers import the task by its name
    (tmp_path / "marks").mkdir()
    return Marks(str(tmp_path / "marks"))


def outcomes(task: Act, items: Sequence[str], workers: int = 2, gpus: float = 0) -> dict[str, Outcome]:
    return by_item(LocalEngine(workers).map(task, items, Resources(gpus=gpus)), items)


def test_every_item_has_one_outcome_whatever_becomes_of_it(marks: Marks) -> None:
    found = outcomes(Act(marks), list(FATES))
    check_fates(found, marks)
    told = [one for outcome in found.values() for one in (*outcome.earlier, outcome)]
    assert {one.worker["node"] for one in told} == {platform.node()}
    assert found["exit"].error == "worker died with exit code 7"
    assert found["kill"].error == "worker died with SIGKILL; did memory run out?"


def test_work_is_shared_and_a_set_up_serves_many_items(marks: Marks) -> None:
    items = [f"{number}:well" for number in range(6)]
    found = outcomes(Act(marks, crowd=2), items)
    assert marks.attempts()["set-up"] == 2
    assert len({outcome.worker["process"] for outcome in found.values()}) == 2


def test_no_more_workers_start_than_there_are_items(marks: Marks) -> None:
    outcomes(Act(marks), ["well"], workers=8)
    assert marks.attempts()["set-up"] == 1


def test_no_items_start_nothing(marks: Marks) -> None:
    assert outcomes(Act(marks), []) == {}
    assert marks.attempts() == {}


def test_an_item_whose_worker_was_killed_from_outside_is_tried_elsewhere(marks: Marks) -> None:
    run = LocalEngine(1).map(Act(marks), ["for-ever-once", "well"], Resources())
    killed: list[int] = []

    def kill_the_worker() -> None:
        wait_until(lambda: marks.processes().get("for-ever-once.1", 0) > 0)
        killed.append(marks.processes()["for-ever-once.1"])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_worker)
    killer.start()
    found = {outcome.item: outcome for outcome in run}
    killer.join()
    assert {item: outcome.attempts for item, outcome in found.items()} == {"for-ever-once": 2, "well": 1}
    assert found["for-ever-once"].ok
    assert found["for-ever-once"].worker["process"] != killed[0]


def test_a_worker_killed_in_the_middle_of_its_answer_is_replaced(marks: Marks) -> None:
    ballast = "ballast:on-cue:well"
    run = iter(LocalEngine(2).map(Act(marks, crowd=2), ["well", ballast], Resources()))
    assert next(run).item == "well"  # the other has begun; from here on nobody reads, its 10 MB stay half-written
    marks.leave("cue")
    time.sleep(0.3)
    os.kill(marks.processes()[f"{ballast}.1"], signal.SIGKILL)
    [outcome] = run
    assert (outcome.ok, outcome.attempts) == (True, 2)


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
    with pytest.raises(error, match=told):
        outcomes(Act(marks), [deed, "for-ever", *(f"{number}:slowly" for number in range(20))])
    assert marks.attempts()[deed] == 1
    assert len(marks.attempts()) < 20
    assert not any(alive(pid) for pid in marks.processes().values())


def test_an_error_of_the_set_up_that_stops_the_run_stops_it(marks: Marks) -> None:
    with pytest.raises(ConfigError, match="no such weights"):
        outcomes(Act(marks, "raise-config"), ["well"] * 3)
    assert "well" not in marks.attempts()


@pytest.mark.parametrize(("deed", "told"), [("raise", "ValueError: a bug"), ("kill", "worker died with SIGKILL")])
def test_when_no_worker_can_be_set_up_the_run_stops_and_no_item_is_blamed(deed: str, told: str, marks: Marks) -> None:
    with pytest.raises(FatalError, match=f"no worker could be set up: {told}"):
        outcomes(Act(marks, deed), ["1:well", "2:well", "3:well"])
    assert marks.attempts() == {"set-up": 2 * MAX_ATTEMPTS}


def test_a_set_up_that_fails_once_costs_no_attempt(marks: Marks) -> None:
    """A worker whose set-up fails answers at once: left alone it would swallow the others' items."""
    for deed in ("raise-once", "kill-once"):
        items = [f"{deed}{number}:well" for number in range(4)]
        found = outcomes(Act(Marks(marks.folder), deed), items, workers=1)
        assert all(outcome.ok and outcome.attempts == 1 for outcome in found.values())
        for path in Path(marks.folder).glob("set-up.*"):
            path.unlink()


def test_leaving_the_outcomes_stops_the_workers(marks: Marks) -> None:
    run = LocalEngine(2).map(Act(marks), ["well", *(f"{n}:for-ever" for n in range(3))], Resources())
    assert next(iter(run)).item == "well"
    run.close()  # type: ignore[attr-defined]
    assert not any(alive(pid) for pid in marks.processes().values())


def test_a_machine_that_lacks_a_module_is_refused_with_the_command_that_brings_it() -> None:
    LocalEngine().check(["json", "numpy"])
    with pytest.raises(ConfigError, match=r"lacks no_such_module, nor_this, .*: pip install no_such_module nor_this$"):
        LocalEngine().check(["json", "no_such_module", "nor_this"])


DRIVER = """
import sys
from tamis.corpora.engine import Resources
from tamis.jobs.engines.local import LocalEngine
from tests.jobs.engines.acting import Act, Marks
if __name__ == "__main__":
    list(LocalEngine(2).map(Act(Marks(sys.argv[1])), ["1:for-ever", "2:for-ever"], Resources()))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver(number: int, marks: Marks, root: Path) -> None:
    command = [sys.executable, "-c", DRIVER, marks.folder]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) as driver:
        wait_until(lambda: all(marks.processes().get(f"{n}:for-ever.1") for n in (1, 2)))
        workers = set(marks.processes().values())
        assert len(workers) == 2
        assert all(alive(pid) for pid in workers)
        driver.send_signal(number)
    wait_until(lambda: not any(alive(pid) for pid in workers))


@pytest.mark.parametrize(
    ("share", "held"), [(1, ["3", "GPU-5f"]), (0.5, ["3", "3", "GPU-5f", "GPU-5f"]), (0.6, ["3", "GPU-5f"])]
)
def test_there_are_as_many_workers_as_the_gpus_hold_and_each_sees_one(
    share: float, held: list[str], marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5f")
    items = [f"{number}:well" for number in range(6)]
    found = outcomes(Act(marks, crowd=len(held)), items, workers=5, gpus=share)
    by_process = {o.worker["process"]: o.value["gpu"] for o in found.values() if o.value}
    assert sorted(by_process.values()) == held
    assert marks.attempts()["set-up"] == len(held)


@pytest.mark.parametrize(
    ("gpus", "share", "places"),
    [("a", 1, "a"), ("ab", 1, "ab"), ("ab", 0.5, "abab"), ("a", 0.3, "aaa"), ("a", 0.1, "a" * 10), ("ab", 0.7, "ab")],
)
def test_gpus_hold_as_many_workers_as_their_shares_allow_and_each_gpu_has_one_first(
    gpus: str, share: float, places: str
) -> None:
    assert gpu_places(list(gpus), share) == list(places)


@pytest.mark.parametrize(
    ("visible", "share", "told"),
    [
        (
            "",
            0.5,
            r"gpus_per_worker: 0.5 wanted, and this machine shows no GPU \(CUDA_VISIBLE_DEVICES is ''.*set it to 0",
        ),
        ("0,1", 2, "gpus_per_worker: 2 found; a worker here uses one GPU or a share of it"),
    ],
)
def test_gpus_that_are_not_there_are_an_error_before_anything_starts(
    visible: str, share: float, told: str, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ConfigError, match=told):
        outcomes(Act(marks), ["well"], gpus=share)
    assert marks.attempts() == {}


def test_tasks_that_need_no_gpu_see_what_the_process_sees(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    [outcome] = outcomes(Act(marks), ["well"]).values()
    assert outcome.value is not None
    assert outcome.value["gpu"] == "3,5"


def test_gpus_are_what_the_environment_allows_or_one_a_device_file(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia7", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2,MIG-1f"}, tmp_path) == ["2", "MIG-1f"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []
    assert visible_gpus({}, tmp_path / "none") == []


def test_pipes_and_processes_are_given_back(marks: Marks) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    outcomes(Act(marks), ["kill", "well", "raise"])
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the resource tracker's, once a process
