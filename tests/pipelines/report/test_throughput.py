from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.store import Store
from tamis.pipelines.job import StageResult
from tamis.pipelines.report.contents import Fault
from tamis.pipelines.report.throughput import active_seconds, throughput

SECONDS = st.floats(0, 1e4)
INTERVALS = st.lists(st.tuples(SECONDS, SECONDS).map(lambda pair: (min(pair), max(pair))))


@given(INTERVALS)
def test_active_time_is_at_most_the_sum_and_at_least_the_longest(intervals: list[tuple[float, float]]) -> None:
    lengths = [end - begin for begin, end in intervals]
    assert max(lengths, default=0.0) - 1e-6 <= active_seconds(intervals) <= sum(lengths) + 1e-6


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [([], 0.0), ([(0, 2), (1, 3), (10, 11)], 4.0), ([(0, 10), (2, 3)], 10.0), ([(5, 6), (0, 1)], 2.0)],
)
def test_active_time_is_the_union(intervals: list[tuple[float, float]], seconds: float) -> None:
    assert active_seconds(intervals) == seconds


def line(item: str, at: int, seconds: float, value: dict[str, Any] | None, **changes: Any) -> str:
    worker = {"engine": "local", "node": "a", "process": 1}
    told: dict[str, Any] = {"time": f"2026-01-01T00:00:{at:02d}+00:00", "stage": "score", "event": "item", "item": item}
    told |= {"ok": value is not None, "units": (value or {}).get("rows", 0)}
    told |= {"error": None if value else "broke", "attempts": 1, "seconds": seconds, "worker": worker, "value": value}
    return json.dumps(told | changes)


def logged(folder: Path, stage: str, *lines: str) -> Store:
    store = Store(str(folder))
    for one in lines:
        store.append_line(f"logs/{stage}.jsonl", one)
    return store


def test_a_stage_is_added_up_over_its_tasks(tmp_path: Path) -> None:
    other = {"engine": "local", "node": "b", "process": 1}
    store = logged(
        tmp_path,
        "score",
        line("00000", 10, 10.0, {"rows": 100}),
        line("00001", 12, 10.0, {"rows": 50}, worker=other, attempts=3),
        line("00002", 40, 5.0, None),
    )
    [pace] = throughput(store, ()).paces
    assert (pace.tasks, pace.units, pace.active_seconds, pace.busy_seconds) == (3, 150, 17.0, 25.0)
    assert pace.rate == pytest.approx(150 / 17)
    assert (pace.retries, pace.failed, pace.workers, pace.where) == (2, 1, 2, "local, 2 machines")


def test_engines_that_vary_are_said_to_be_mixed(tmp_path: Path) -> None:
    ray = {"engine": "ray", "node": "a", "process": 2}
    store = logged(tmp_path, "score", line("0", 1, 1.0, {"rows": 1}), line("1", 2, 1.0, {"rows": 1}, worker=ray))
    assert throughput(store, ()).paces[0].where == "mixed (local, ray)"


def test_a_task_that_a_later_run_did_is_no_fault(tmp_path: Path) -> None:
    store = logged(tmp_path, "score", line("0", 1, 1.0, None), line("1", 1, 1.0, None), line("0", 9, 1.0, {"rows": 1}))
    told = throughput(store, ())
    assert told.faults == (Fault("score", "1", "broke"),)
    assert told.paces[0].failed == 1


def test_the_slowest_tasks_come_first(tmp_path: Path) -> None:
    store = logged(tmp_path, "score", *(line(str(n), 30, float(n % 10), {"rows": 1}) for n in range(20)))
    assert [task.seconds for task in throughput(store, ()).slowest] == [9, 9, 8, 8, 7, 7]


def test_units_have_the_name_that_the_stage_gave_them_and_bytes_are_those_that_came_in(tmp_path: Path) -> None:
    begun = json.dumps({"time": "2026-01-01T00:00:00+00:00", "stage": "score", "event": "begin", "unit": "images"})
    store = logged(tmp_path, "score", begun, line("0", 9, 1.0, {"rows": 7, "bytes": {"in": 500, "out": 20}}))
    [pace] = throughput(store, ()).paces
    assert (pace.units, pace.unit, pace.bytes) == (7, "images", 500)


def test_the_seconds_of_this_run_are_added_and_a_stage_without_a_log_is_told(tmp_path: Path) -> None:
    store = logged(tmp_path, "score", line("0", 5, 1.0, {"rows": 1}))
    results = [
        StageResult("dedup", seconds=2.0),
        StageResult("export", seconds=1.0),
        StageResult("export", seconds=3.0),
    ]
    paces = {pace.stage: pace for pace in throughput(store, results).paces}
    assert list(paces) == ["score", "dedup", "export"]
    assert {stage: pace.run_seconds for stage, pace in paces.items()} == {"score": None, "dedup": 2.0, "export": 4.0}


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    store = logged(tmp_path, "score", line("0", 5, 1.0, {"rows": 1}), '{"time": "2026-')
    assert throughput(store, ()).paces[0].tasks == 1


def test_logs_of_object_stores_are_read_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "logs/score.jsonl.d").mkdir(parents=True)
    for n in range(3):
        (tmp_path / f"logs/score.jsonl.d/a-{n}").write_text(line(str(n), n, 1.0, {"rows": 5}))
    assert throughput(Store(str(tmp_path)), ()).paces[0].units == 15


def test_no_logs_are_no_throughput(tmp_path: Path) -> None:
    assert throughput(Store(str(tmp_path)), ()).paces == ()
