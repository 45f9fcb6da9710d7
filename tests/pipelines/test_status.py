"""Status: what an onlooker sees of a corpus in any state, by logs that a test writes line by line."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tamis.corpora.corpus import create
from tamis.corpora.holders import Holder, myself
from tamis.corpora.lock import LOCK
from tamis.corpora.store import Store
from tamis.pipelines.status import QUIET_SECONDS, RECENT_SECONDS, Onlooker

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class Told:
    """A corpus whose logs are written here, at times that the test gives in seconds after ``START``."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.onlooker = Onlooker(create(store, "mini", pa.schema([])))

    def write(self, stage: str, event: str, at: float, **told: Any) -> None:
        time = datetime.fromtimestamp(START + at, UTC).isoformat(timespec="milliseconds")
        self.store.append_line(
            f"logs/{stage}.jsonl", json.dumps({"time": time, "stage": stage, "event": event, **told})
        )

    def begin(self, stage: str, at: float, total: int, before: int = 0, process: int = 9, **told: Any) -> None:
        driver = {"engine": "ray", "node": "head", "process": process}
        self.write(stage, "begin", at, total=total, before=before, unit="images", driver=driver, **told)

    def item(self, stage: str, at: float, item: str, error: str = "", **told: Any) -> None:
        worker = {"engine": "ray", "node": "n1", "process": 5}
        entry = {"item": item, "size": 1, "units": 0 if error else 100, "ok": not error, "error": error or None}
        self.write(stage, "item", at, **{**entry, "attempts": 1, "seconds": 2.0, "worker": worker, **told})

    def end(self, stage: str, at: float, error: str | None = None, **told: Any) -> None:
        self.write(stage, "end", at, error=error, **told)

    def look(self, at: float) -> dict[str, Any]:
        self.store.flush_lines()
        seen: dict[str, Any] = self.onlooker.look(START + at)
        return seen

    def stage(self, at: float, stage: str) -> dict[str, Any]:
        stages: list[dict[str, Any]] = self.look(at)["stages"]
        [found] = [one for one in stages if one["stage"] == stage]
        return found


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(Store(str(tmp_path)))


def test_a_corpus_of_which_nothing_was_begun(told: Told) -> None:
    seen = told.look(0)
    assert (seen["corpus"], seen["path"], seen["stages"], seen["next"]) == ("mini", told.store.root, [], "fetch")


def test_a_running_stage_tells_its_rate_and_the_time_that_is_left(told: Told) -> None:
    told.begin("score", 0, total=1000, before=400)
    for number in range(60):
        told.item(
            "score",
            10 * (number + 1),
            f"{number:05d}",
            worker={"engine": "ray", "node": f"n{number % 2}", "process": number},
        )
    seen = told.stage(600, "score")
    assert (seen["state"], seen["total"], seen["done"], seen["left"], seen["failing"]) == ("running", 1000, 460, 540, 0)
    in_window = RECENT_SECONDS / 10 + 1
    assert seen["items_per_second"] == pytest.approx(in_window / RECENT_SECONDS, abs=1e-4)
    assert seen["units_per_second"] == pytest.approx(100 * in_window / RECENT_SECONDS, rel=0.01)
    assert seen["seconds_left"] == pytest.approx(540 / seen["items_per_second"], rel=0.01)
    assert (seen["engine"], seen["workers"], seen["nodes"]) == ("ray", in_window, ["n0", "n1"])
    assert (seen["driver"], seen["begun_seconds_ago"]) == ({"node": "head", "process": 9}, 600)


def test_a_stage_of_long_items_has_the_rate_of_the_whole_pass(told: Told) -> None:
    told.begin("fetch", 0, total=10)
    told.item("fetch", 100, "0")
    seen = told.stage(100 + RECENT_SECONDS + 1, "fetch")
    assert (seen["state"], seen["items_per_second"], seen["seconds_left"]) == ("running", 0.01, 900)


def test_a_stage_of_which_nothing_is_heard_is_quiet_until_something_is(told: Told) -> None:
    told.begin("score", 0, total=3)
    assert told.stage(QUIET_SECONDS - 1, "score")["state"] == "running"
    assert told.stage(QUIET_SECONDS, "score")["state"] == "quiet"
    assert told.look(QUIET_SECONDS)["next"] == "score"
    told.item("score", QUIET_SECONDS + 5, "0")
    assert told.stage(QUIET_SECONDS + 10, "score")["state"] == "running"


@pytest.mark.parametrize(
    ("items", "error", "state"),
    [(["0", "1"], None, "done"), (["0"], None, "incomplete"), (["0"], "no space left", "stopped")],
)
def test_an_ended_stage_is_what_came_of_it(items: list[str], error: str | None, state: str, told: Told) -> None:
    told.begin("score", 0, total=2)
    for item in items:
        told.item("score", 1, item)
    told.end("score", 2, error)
    seen = told.stage(10_000, "score")
    assert (seen["state"], seen["error"], seen["seconds_left"]) == (state, error or "", None)
    assert told.look(10_000)["next"] == ("dedup" if state == "done" else "score")


def test_items_fail_until_a_later_pass_mends_them(told: Told) -> None:
    told.begin("score", 0, total=4)
    for item, error in (("0", ""), ("1", "the tar is cut"), ("2", "worker died"), ("3", "")):
        told.item("score", 1, item, error, attempts=3 if error else 1)
    told.end("score", 2)
    seen = told.stage(3, "score")
    assert (seen["state"], seen["done"], seen["left"], seen["failing"]) == ("incomplete", 2, 0, 2)
    assert seen["failures"] == [
        {"item": "1", "error": "the tar is cut", "attempts": 3, "node": "n1"},
        {"item": "2", "error": "worker died", "attempts": 3, "node": "n1"},
    ]
    told.begin("score", 10, total=4, before=2)
    assert told.stage(10, "score")["failing"] == 2, "they are still to be tried again"
    told.item("score", 11, "1")
    assert [one["item"] for one in told.stage(12, "score")["failures"]] == ["2"]
    told.item("score", 13, "2")
    told.end("score", 14)
    assert (told.stage(15, "score")["state"], told.stage(15, "score")["failing"]) == ("done", 0)


def test_what_failed_and_is_no_longer_asked_for_is_forgotten(told: Told) -> None:
    told.begin("decide", 0, total=1)
    told.item("decide", 1, "00000-00031", "broken")
    told.end("decide", 2)
    told.begin("decide", 10, total=1)
    told.item("decide", 11, "00000-00032")
    told.end("decide", 12)
    assert told.stage(13, "decide")["failures"] == []


def test_a_pass_with_nothing_to_do_keeps_the_account_of_the_one_that_did_it(told: Told) -> None:
    told.begin("score", 0, total=2)
    told.item("score", 2, "0")
    told.item("score", 4, "1")
    told.end("score", 4)
    told.begin("dedup", 5, total=1)
    told.item("dedup", 6, "exact")
    told.end("dedup", 6)
    told.begin("score", 100, total=2, before=2)
    told.end("score", 100)
    seen = told.look(130)
    assert seen["next"] == "decide"
    score = next(one for one in seen["stages"] if one["stage"] == "score")
    assert (score["state"], score["units_per_second"], score["workers"], score["heard_seconds_ago"]) == (
        "done",
        50,
        1,
        30,
    )


def test_passes_of_a_stage_are_told_apart_and_stages_stand_in_order(told: Told) -> None:
    for at, (stage, of) in enumerate([("export", "b"), ("fetch", ""), ("export", "a"), ("unheard_of", "")]):
        more: dict[str, Any] = {"of": of} if of else {}
        told.begin(stage, at, total=1, **more)
        told.item(stage, at, "00000", **more)
        if (stage, of) != ("export", "b"):
            told.end(stage, at, **more)
    seen = [(one["stage"], one["of"], one["state"]) for one in told.look(5)["stages"]]
    assert seen == [
        ("fetch", "", "done"),
        ("export", "a", "done"),
        ("export", "b", "running"),
        ("unheard_of", "", "done"),
    ]


@pytest.mark.parametrize(
    ("done", "following"), [("fetch", "score"), ("decide", "export"), ("export", None), ("draft", "fetch")]
)
def test_what_is_next_follows_what_is_done(done: str, following: str | None, told: Told) -> None:
    told.begin(done, 0, total=0)
    told.end(done, 1)
    assert told.look(2)["next"] == following


def test_an_export_that_is_not_done_is_next_though_another_is(told: Told) -> None:
    told.begin("export", 0, total=2, of="a")
    told.end("export", 1, of="a")
    told.begin("export", 2, total=0, of="b")
    told.end("export", 3, of="b")
    assert told.look(4)["next"] == "export"


def test_lines_of_a_pass_whose_beginning_was_lost_are_passed_over(told: Told) -> None:
    told.item("score", 1, "0")
    told.end("score", 2)
    assert told.look(3)["stages"] == []


def holder(**changes: Any) -> Holder:
    """A holder on another machine, the driver of the stages that are begun here."""
    return replace(myself(), host="head", machine="elsewhere", process=9, command="tamis run r.yaml", **changes)


def hold(told: Told, holder: Holder) -> None:
    told.store.put_atomic(LOCK, holder.encoded())


def test_who_holds_the_corpus_is_told(told: Told) -> None:
    assert told.look(0)["held"] is None
    hold(told, one := holder())
    held = told.look(1)["held"]
    assert held == {"host": "head", "process": 9, "command": one.command, "since": one.since, "alive": None}
    told.store.put_atomic(LOCK, b'{"command": "\\u001b[2J"}')
    assert told.look(2)["held"] is None, "what nobody of ours wrote is nobody"


def test_a_holder_on_another_machine_lives_while_it_beats(told: Told) -> None:
    told.begin("score", 0, total=3)
    late = QUIET_SECONDS
    states, one = [], holder()
    for at, beats in ((late, 1), (late + 5, 1), (late + 10, 2), (late + 40, 3), (late + 99, 3), (late + 100, 3)):
        hold(told, replace(one, beats=beats))
        seen = told.look(at)
        states.append((seen["held"]["alive"], seen["stages"][0]["state"]))
    assert states == [
        (None, "quiet"),
        (None, "quiet"),
        (True, "running"),
        (True, "running"),
        (True, "running"),
        (False, "stopped"),
    ]
    assert told.stage(late + 101, "score")["error"] == "its process is gone"


def test_a_holder_on_this_machine_is_looked_for(told: Told) -> None:
    me = myself()
    told.begin("score", 0, total=3, process=me.process)
    hold(told, replace(me, host="head"))
    assert told.look(10 * QUIET_SECONDS)["held"]["alive"] is True
    assert told.stage(10 * QUIET_SECONDS, "score")["state"] == "running"
    hold(told, replace(me, host="head", started=me.started + 1))
    assert told.look(1)["held"]["alive"] is False
    seen = told.look(1)
    assert (seen["stages"][0]["state"], seen["next"]) == ("stopped", "score"), "it was killed a second ago"


def test_a_pass_that_another_run_began_before_is_stopped(told: Told) -> None:
    told.begin("score", 0, total=3, process=8)
    told.begin("decide", 5, total=3, process=9)
    hold(told, holder())
    assert [(one["stage"], one["state"]) for one in told.look(6)["stages"]] == [
        ("score", "stopped"),
        ("decide", "running"),
    ]


def test_slow_items_of_the_pass_are_told(told: Told) -> None:
    told.begin("score", 0, total=9)
    for number in range(5):
        told.item("score", number, str(number), seconds=float(number))
    assert [(one["item"], one["seconds"], one["node"]) for one in told.stage(6, "score")["slowest"]] == [
        ("4", 4.0, "n1"),
        ("3", 3.0, "n1"),
        ("2", 2.0, "n1"),
    ]


def test_disk_is_listed_now_and_then(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    told.store.put_atomic("shards/00000-ab.tar", bytes(1000))
    assert told.look(0)["disk"]["shards"] == {"files": 1, "bytes": 1000, "whole": True}
    told.store.put_atomic("shards/00001-cd.tar", bytes(500))
    assert told.look(59)["disk"]["shards"]["bytes"] == 1000
    assert told.look(61)["disk"]["shards"]["bytes"] == 1500


def test_a_look_is_json(told: Told) -> None:
    told.begin("score", 0, total=2)
    told.item("score", 1, "0", "a \ud800 surrogate")
    seen = told.look(2)
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen


def test_an_object_store_is_looked_at_in_the_same_way(tmp_path: Path) -> None:
    def seen(told: Told) -> dict[str, Any]:
        told.begin("score", 0, total=3)
        first = told.look(1)
        told.item("score", 1, "0")
        told.item("score", 2, "1", "cut")
        told.look(3)
        told.end("score", 4)
        return {"first": first["stages"], "last": told.look(5)["stages"]}

    assert seen(Told(Store(f"memory://{secrets.token_hex(8)}"))) == seen(Told(Store(str(tmp_path))))
