"""The one place through which every stage maps: what it logs, what it shows, and how it ends when it is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.engine import Outcome, Resources, Task
from tamis.corpora.errors import FatalError
from tamis.pipelines.job import Job, Work, nothing_left, run_map
from tamis.pipelines.logs import Begun, Ended, Entry, read_log

from .running import GroupsByMaps, Inline, job_for


@dataclass
class Watched:
    """Remembers what it was shown."""

    seen: list[tuple[Any, ...]] = field(default_factory=list)
    heard: list[Entry] = field(default_factory=list)

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        self.seen.append(("begin", stage, total, done, unit))

    def advance(self, items: int, units: int, failures: int) -> None:
        self.seen.append(("advance", items, units, failures))

    def hear(self, entry: Entry) -> None:
        self.heard.append(entry)

    def end(self) -> None:
        self.seen.append(("end",))


class Count:
    """A task whose items say how many units are in them."""

    def setup(self) -> None: ...

    def __call__(self, item: str) -> Mapping[str, Any]:
        return {"rows": int(item), "spent": {"model": 1.0}, "bytes": {"in": 10, "out": 1}}


@pytest.fixture
def watch() -> Watched:
    return Watched()


def watched_job(folder: Path, watch: Watched, **engine: Any) -> Job:
    return replace(job_for(folder, {}, Inline(**engine)), watch=watch)


def test_a_pass_is_shown_logged_and_added_up(tmp_path: Path, watch: Watched) -> None:
    job = watched_job(tmp_path, watch, poison=frozenset({"7"}))
    result = run_map(job, "score", Count(), Work(["5", "7", "6"], 2, "images", "rows", of="x"))
    assert watch.seen == [
        ("begin", "score", 5, 2, "images"),
        ("advance", 1, 5, 0),
        ("advance", 1, 0, 1),
        ("advance", 1, 6, 0),
        ("end",),
    ]
    begun, *entries, ended = read_log(job.store, "score")
    assert entries == watch.heard
    assert isinstance(begun, Begun)
    assert (begun.of, begun.total, begun.before, begun.unit, begun.engine) == ("x", 5, 2, "images", "inline")
    assert isinstance(ended, Ended)
    assert ended.error == ""
    assert (result.done, result.before, result.poison, result.values) == (2, 2, (("7", "poisoned"),), ())
    told = result.told()
    wanted = ("stage", "of", "done", "before", "failed", "poison", "unit", "units", "bytes", "spent", "retries")
    assert [told[name] for name in wanted] == [
        "score",
        "x",
        2,
        2,
        1,
        [["7", "poisoned"]],
        "images",
        11,
        {"in": 20, "out": 2},
        {"model": 2.0},
        0,
    ]
    assert told["units_per_second"] == pytest.approx(11 / result.seconds, rel=0.01)


def test_items_that_are_runs_count_by_their_size(tmp_path: Path, watch: Watched) -> None:
    job = watched_job(tmp_path, watch, poison=frozenset({"3"}))
    result = run_map(job, "fetch", Count(), Work(["16", "3"], 4, "URLs", "rows", size=int))
    assert watch.seen == [("begin", "fetch", 23, 4, "URLs"), ("advance", 16, 16, 0), ("advance", 3, 0, 3), ("end",)]
    assert (result.done, result.told()["failed"]) == (16, 3)


def test_values_are_kept_for_the_stage_that_wants_them(tmp_path: Path, watch: Watched) -> None:
    job = watched_job(tmp_path, watch)
    result = run_map(job, "decide", Count(), Work(["1", "2"], 0, "rows", "rows", keep=True))
    assert [value["rows"] for value in result.values] == [1, 2]


def test_a_stage_with_nothing_to_do_is_shown_and_logged_and_starts_no_engine(tmp_path: Path, watch: Watched) -> None:
    job = watched_job(tmp_path, watch)
    result = nothing_left(job, "decide", 12, "rows")
    assert watch.seen == [("begin", "decide", 12, 12, "rows"), ("end",)]
    assert (result.done, result.before, result.poison) == (0, 12, ())
    assert [type(event) for event in read_log(job.store, "decide")] == [Begun, Ended]


class Stopping(GroupsByMaps):
    """An engine that is stopped after one item."""

    name = "stopping"

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def check(self, modules: Sequence[str]) -> None: ...

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        yield Outcome(items[0], task(items[0]))
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"), [(FatalError("no space left"), "no space left"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_stops_a_pass_is_logged_and_goes_on_its_way(
    error: BaseException, told: str, tmp_path: Path, watch: Watched
) -> None:
    job = replace(watched_job(tmp_path, watch), engine=Stopping(error))
    with pytest.raises(type(error)):
        run_map(job, "score", Count(), Work(["1", "2"], 0, "images", "rows"))
    *_, ended = read_log(job.store, "score")
    assert isinstance(ended, Ended)
    assert ended.error == told
    assert watch.seen[-1] == ("end",)


def test_a_full_disk_is_told_even_when_the_log_cannot_be_written(
    tmp_path: Path, watch: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(watched_job(tmp_path, watch), engine=Stopping(FatalError("no space left")))
    append = job.store.append_line

    def full(path: str, line: str) -> None:
        if '"end"' in line:
            raise OSError(28, "No space left on device")
        append(path, line)

    monkeypatch.setattr(job.store, "append_line", full)
    with pytest.raises(FatalError, match="no space left"):
        run_map(job, "score", Count(), Work(["1", "2"], 0, "images", "rows"))
