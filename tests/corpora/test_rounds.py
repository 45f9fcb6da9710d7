"""Rounds of asking again: planned from what ledgers say last, in new shards, the same for the same ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tamis.corpora.corpus import create
from tamis.corpora.fetching import Fetched
from tamis.corpora.plan import Plan, make_plan, read_slots, shard_name
from tamis.corpora.rounds import Round, plan_round, read_rounds
from tamis.corpora.sharding import OpenShard
from tamis.corpora.store import Store
from tamis.corpora.tables import read_table

from ..pipelines.running import Listed
from .foreign_tars import picture

SOURCE = Listed(20)
SAMPLES = 4


def numbered(url: str) -> int:
    return int(url.rsplit("/", 1)[1])


def close(store: Store, shard: str, reasons: Mapping[int, str]) -> None:
    """Fill a shard: those listed fail for their reasons, the others come."""
    slots = read_slots(store, shard)
    filling = OpenShard(store, shard, slots, SOURCE.schema())
    for slot, row in enumerate(slots):
        reason = reasons.get(numbered(row["url"]))
        body = None if reason else picture(numbered(row["url"]))
        filling.take(Fetched(slot, row["url"], body, reason, 200, 1, 0.1, 0, row["url"]), slot)
    filling.close()


FIRST = {1: "timeout", 2: "http_503", 3: "http_404", 7: "http_429", 8: "reset", 11: "dns", 12: "noai", 19: "timeout"}


def fetched(store: Store, reasons: Mapping[int, str] = FIRST) -> Plan:
    create(store, "corpus", SOURCE.schema())
    plan = make_plan(store, SOURCE, SAMPLES, seed=0)
    for shard in plan.shard_names():
        close(store, shard, reasons)
    return plan


def asked(store: Store, planned: Round | None) -> list[tuple[int, str]]:
    assert planned
    return [
        (numbered(row["url"]), row["supersedes"]) for name in planned.shard_names() for row in read_slots(store, name)
    ]


def test_a_round_asks_for_the_failures_of_its_classes_in_new_shards(store: Store) -> None:
    plan = fetched(store)
    planned = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now", "later"})
    assert planned == Round(5, 2, 5, ("later", "now"))
    assert planned.shard_names() == ["00005", "00006"]
    assert read_rounds(store) == [planned]
    expected = {n: reason for n, reason in FIRST.items() if reason in {"timeout", "http_503", "http_429", "reset"}}
    assert dict(asked(store, planned)) == expected
    order = [numbered(row["url"]) for name in plan.shard_names() for row in read_slots(store, name)]
    assert [number for number, _ in asked(store, planned)] == [number for number in order if number in expected]


def test_slots_are_the_plan_s_but_for_their_place(store: Store) -> None:
    plan = fetched(store)
    planned = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"never"})
    before = {row["uid"]: row for name in plan.shard_names() for row in read_slots(store, name)}
    rows = read_slots(store, "00005")
    assert planned == Round(5, 1, 3, ("never",))
    assert [row["slot"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert {**row, "slot": 0} == {**before[row["uid"]], "slot": 0, "supersedes": FIRST[numbered(row["url"])]}


def test_the_last_state_counts(store: Store) -> None:
    plan = fetched(store)
    first = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now"})
    assert first
    for name in first.shard_names():
        close(store, name, {1: "http_503", 8: "reset"})  # 19 came
    ledger = read_table(store, f"fetch/{first.shard_names()[0]}.parquet")[0].to_pylist()
    assert {numbered(row["url"]): row["supersedes"] for row in ledger} == {1: "timeout", 8: "reset", 19: "timeout"}
    second = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now"})
    assert asked(store, second) == [(8, "reset")]
    third = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"later"})
    assert sorted(asked(store, third)) == [(1, "http_503"), (2, "http_503"), (7, "http_429")]
    assert [one.first for one in read_rounds(store)] == [5, 6, 7]


def test_nothing_to_ask_for_is_no_round(store: Store) -> None:
    plan = fetched(store, {3: "http_404"})
    assert plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now", "later"}) is None
    assert read_rounds(store) == []


def test_shards_that_are_not_done_are_left_alone(store: Store) -> None:
    create(store, "corpus", SOURCE.schema())
    plan = make_plan(store, SOURCE, SAMPLES, seed=0)
    close(store, shard_name(1), dict.fromkeys(range(20), "timeout"))
    planned = plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now"})
    assert [n for n, _ in asked(store, planned)] == [numbered(row["url"]) for row in read_slots(store, shard_name(1))]


def test_the_same_ledgers_give_the_same_bytes_also_after_a_kill(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = fetched(store)

    def killed(*_: object) -> None:
        raise OSError("killed here")

    monkeypatch.setattr(store, "put_json", killed)
    with pytest.raises(OSError, match="killed here"):
        plan_round(store, plan, SOURCE.schema(), SAMPLES, {"now", "later"})
    monkeypatch.undo()
    assert read_rounds(store) == []
    other = Store(f"{store.root}-other")
    fetched(other)
    for place in (store, other):
        assert plan_round(place, plan, SOURCE.schema(), SAMPLES, {"later", "now"})
    names = store.names("plan")
    assert names == other.names("plan")
    assert [store.read(f"plan/{name}") for name in names] == [other.read(f"plan/{name}") for name in names]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "store"))
