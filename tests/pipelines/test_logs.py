"""Logs: what is written is read, once, while it grows; what is not ours is passed over."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.engine import Outcome, here
from tamis.corpora.store import Store
from tamis.pipelines.logs import Begun, Ended, Entry, Event, Follower, Log, logged_stages, parse, read_log

PATH = "logs/score.jsonl"
VALUE = {"rows": 7, "spent": {"decode": 0.5, "model": 1.5}, "bytes": {"in": 900, "out": 80}}


@pytest.fixture(params=["local", "far"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "local" else f"memory://{secrets.token_hex(8)}")


def lines(store: Store, stage: str = "score") -> list[dict[str, Any]]:
    """The lines of a log, read past all of our code."""
    store.flush_lines()
    names = [f"logs/{stage}.jsonl"] if store.local else store.names(f"logs/{stage}.jsonl.d")
    files = [name if store.local else f"logs/{stage}.jsonl.d/{name}" for name in names]
    return [json.loads(line) for file in files for line in store.read(file).splitlines()]


def test_what_is_written_is_read(store: Store) -> None:
    log = Log(store, "score", "second")
    log.begin(12, 3, "images", "ray")
    worker = {"engine": "ray", "node": "gpu-7", "process": 41}
    failed = Outcome("00004", None, "worker died", worker=worker)
    heard = [
        log.item(Outcome("00004", VALUE, attempts=2, seconds=2.5, worker=worker, earlier=(failed,)), 1, 7),
        log.item(Outcome("00005", None, "the tar is cut\nin two", attempts=3, seconds=0.25), 4, 0),
    ]
    log.end("no space")
    store.flush_lines()
    begun, one, other, ended = read_log(store, "score")
    assert [one, other] == heard, "a watcher hears what a reader reads"
    assert isinstance(begun, Begun)
    assert (begun.of, begun.total, begun.before, begun.unit, begun.engine) == ("second", 12, 3, "images", "ray")
    assert (begun.node, begun.process) == (here("")["node"], here("")["process"])
    assert isinstance(one, Entry)
    assert (one.item, one.of, one.size, one.units, one.ok, one.error) == ("00004", "second", 1, 7, True, "")
    assert (one.attempts, one.seconds, one.engine, one.node, one.process) == (2, 2.5, "ray", "gpu-7", 41)
    assert (one.spent, one.bytes_in, one.bytes_out) == ({"decode": 0.5, "model": 1.5}, 900, 80)
    assert isinstance(other, Entry)
    assert (other.size, other.ok, other.error, other.attempts) == (4, False, "the tar is cut\nin two", 3)
    assert isinstance(ended, Ended)
    assert (ended.of, ended.error) == ("second", "no space")
    assert abs(ended.time - datetime.now(UTC).timestamp()) < 600


def test_an_attempt_that_a_retry_mended_stays_in_the_log(store: Store) -> None:
    lost = Outcome(
        "0", None, "worker died with SIGKILL", seconds=1.0, worker={"engine": "ray", "node": "a", "process": 1}
    )
    Log(store, "score").item(Outcome("0", {}, attempts=2, earlier=(lost,)), 1, 0)
    [line] = lines(store)
    assert line["ok"] is True
    assert line["earlier"] == [
        {"ok": False, "error": "worker died with SIGKILL", "seconds": 1.0, "worker": dict(lost.worker)}
    ]


def test_a_line_has_what_the_architecture_says(store: Store) -> None:
    log = Log(store, "score")
    log.begin(1, 0, "images", "local")
    log.item(Outcome("0", VALUE, worker=here("local")), 1, 7)
    log.end()
    begin, item, end = lines(store)
    common = {"time", "stage", "event"}
    assert begin.keys() == common | {"total", "before", "unit", "driver"}
    told = {"item", "size", "units", "attempts", "ok", "error", "seconds", "worker", "value"}
    assert item.keys() == common | told
    assert item["worker"].keys() >= {"engine", "node", "process"}
    assert item["value"] == VALUE
    assert end.keys() == common | {"error"}


def test_a_follower_reads_each_line_once(store: Store) -> None:
    log, follower = Log(store, "score"), Follower(store, "score")
    seen: list[list[str]] = []
    for numbers in ([], [0, 1], [], [2]):
        for number in numbers:
            log.item(Outcome(str(number), {}), 1, 0)
        store.flush_lines()
        seen.append([event.item for event in follower.events() if isinstance(event, Entry)])
    assert seen == [[], ["0", "1"], [], ["2"]]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Log(store, "score").item(Outcome("0", {}), 1, 0)
    whole = (tmp_path / PATH).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / PATH).write_bytes(whole + whole[:cut])
        follower = Follower(store, "score")
        assert len(list(follower.events())) == 1
        (tmp_path / PATH).write_bytes(whole + whole)
        assert len(list(follower.events())) == 1


def test_a_line_that_a_kill_cut_short_costs_its_neighbour_at_most(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.append_line(PATH, '{"time": "2026-')
    Log(store, "score").item(Outcome("0", {}), 1, 0)
    assert [event.item for event in read_log(store, "score") if isinstance(event, Entry)] == ["0"]


def test_the_logs_of_a_corpus_that_was_moved_from_an_object_store_are_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Log(store, "score").item(Outcome("1", {}), 1, 0)
    (tmp_path / f"{PATH}.d").mkdir()
    (tmp_path / f"{PATH}.d/20260101T000000-a").write_bytes((tmp_path / PATH).read_bytes() * 2)
    assert len(list(read_log(store, "score"))) == 3


def test_stages_with_a_log_are_known(store: Store) -> None:
    assert logged_stages(store) == []
    for stage in ("score", "fetch"):
        Log(store, stage).end()
    store.flush_lines()
    assert logged_stages(store) == ["fetch", "score"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("stage", "of", "total", "before", "unit", "driver", "item", "size", "units", "ok", "error")
MORE_FIELDS = ("attempts", "earlier", "seconds", "worker", "value")
NESTED = st.fixed_dictionaries({}, optional=dict.fromkeys(("engine", "node", "process", "spent", "bytes", "in"), JSON))
LINES = st.fixed_dictionaries(
    {"time": st.just("2026-01-01T00:00:00+00:00") | JSON, "event": st.sampled_from(["begin", "item", "end"]) | JSON},
    optional=dict.fromkeys((*FIELDS, *MORE_FIELDS), JSON | NESTED),
)


@given(LINES.map(json.dumps) | JSON.map(json.dumps) | st.text() | st.binary())
def test_whatever_a_line_says_it_is_an_event_of_plain_values_or_none(line: bytes | str) -> None:
    event: Event | None = parse(line)
    if isinstance(event, Entry):
        assert all(isinstance(text, str) for text in (event.item, event.of, event.error, event.engine, event.node))
        numbers = (event.size, event.units, event.seconds, event.process, event.bytes_in, event.bytes_out)
        assert all(0 <= number < float("inf") for number in (*numbers, *event.spent.values()))
        assert event.attempts >= 1
    if isinstance(event, Begun):
        assert min(event.total, event.before, event.process) >= 0


def test_deep_nesting_is_no_event() -> None:
    assert parse("[" * 100_000) is None


def test_a_number_beyond_all_measure_counts_as_none() -> None:
    line = {"time": "2026-01-01T00:00:00+00:00", "event": "item", "size": 10**400, "seconds": float("inf"), "units": -1}
    event = parse(json.dumps(line))
    assert isinstance(event, Entry)
    assert (event.size, event.seconds, event.units) == (0, 0.0, 0)
