"""The plan: a seeded order of the distinct requests, cut into shards; every request is in exactly one place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora import plan as planning
from tamis.corpora.errors import ConfigError
from tamis.corpora.plan import PLAN, REFUSED, Plan, make_plan, read_plan, read_slots, shard_name
from tamis.corpora.records import Record
from tamis.corpora.store import Store
from tamis.corpora.tables import read_table


@dataclass(frozen=True)
class Given:
    """A list in memory."""

    given: Sequence[Record]
    kept: pa.Schema = field(default_factory=lambda: pa.schema([]))

    def schema(self) -> pa.Schema:
        return self.kept

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.given).encode()).hexdigest()

    def records(self) -> Iterator[Record]:
        return iter(self.given)


def records(count: int) -> list[Record]:
    return [Record(f"http://a.example/{number}.jpg", (f"caption {number}",)) for number in range(count)]


def planned(folder: Path | str, given: Sequence[Record], samples: int = 4, seed: int = 0) -> tuple[Store, Plan]:
    store = Store(str(folder))
    return store, make_plan(store, Given(given), samples, seed)


def slots_of(store: Store, plan: Plan) -> list[list[dict[str, Any]]]:
    return [read_slots(store, name) for name in plan.shard_names()]


def uids_of(store: Store, plan: Plan) -> list[str]:
    return [slot["uid"] for shard in slots_of(store, plan) for slot in shard]


def refused_of(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(store, REFUSED)[0].to_pylist()
    return rows


def test_shards_are_full_but_the_last_and_slots_count_from_zero(tmp_path: Path) -> None:
    store, plan = planned(tmp_path, records(10), samples=4)
    shards = slots_of(store, plan)
    assert [len(shard) for shard in shards] == [4, 4, 2]
    assert [[row["slot"] for row in shard] for shard in shards] == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1]]
    assert plan == Plan(plan.fingerprint, requests=10, slots=10, shards=3, refused=0)
    assert plan.shard_names() == ["00000", "00001", "00002"]


def test_a_full_last_shard_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    _, plan = planned(tmp_path, records(8), samples=4)
    assert (plan.shards, plan.slots) == (2, 8)


def test_an_empty_list_makes_no_shards(tmp_path: Path) -> None:
    store, plan = planned(tmp_path, [])
    assert (plan.requests, plan.slots, plan.shards, plan.refused) == (0, 0, 0, 0)
    assert plan.shard_names() == []
    assert refused_of(store) == []


def test_shard_names_grow_beyond_five_digits() -> None:
    assert [shard_name(number) for number in (0, 99_999, 100_000)] == ["00000", "99999", "100000"]


def test_the_order_is_that_of_the_hash_of_seed_and_uid(tmp_path: Path) -> None:
    given = records(20)
    store, plan = planned(tmp_path, given, seed=7)
    by_hash = sorted(given, key=lambda r: hashlib.sha256((7).to_bytes(8, "big") + r.uid.encode()).digest())
    assert uids_of(store, plan) == [record.uid for record in by_hash]


def test_another_seed_gives_another_order_of_the_same_requests(tmp_path: Path) -> None:
    orders = [uids_of(*planned(tmp_path / str(seed), records(20), seed=seed)) for seed in (0, 1, -1, 2**63 - 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert len({frozenset(order) for order in orders}) == 1


def test_the_order_of_the_list_does_not_matter(tmp_path: Path) -> None:
    given = records(50)
    one, other = planned(tmp_path / "a", given), planned(tmp_path / "b", given[::-1])
    for name in one[1].shard_names():
        assert one[0].read(f"plan/{name}.parquet") == other[0].read(f"plan/{name}.parquet")


def test_the_first_of_equal_requests_wins_and_the_others_are_told(tmp_path: Path) -> None:
    copies = [Record("http://a.example/3.jpg", ("caption 3", f"copy {n}")) for n in range(3)]
    store, plan = planned(tmp_path, [*copies, *records(6)], samples=100)
    [winner] = [slot for slot in slots_of(store, plan)[0] if slot["uid"] == copies[0].uid]
    assert winner["captions"] == ["caption 3", "copy 0"]
    told = {"uid": copies[0].uid, "url": copies[0].url, "caption": "caption 3", "reason": "duplicate_uid"}
    assert refused_of(store) == [told] * 3
    assert (plan.requests, plan.slots, plan.refused) == (9, 6, 3)


def test_one_url_with_two_captions_is_two_requests(tmp_path: Path) -> None:
    store, plan = planned(tmp_path, [Record("http://a/", ("one",)), Record("http://a/", ("two",))])
    assert len(set(uids_of(store, plan))) == plan.slots == 2


def test_requests_without_a_url_are_refused(tmp_path: Path) -> None:
    given = [Record("", ("a cat",)), Record("", ("a cat",)), Record("", ())]
    store, plan = planned(tmp_path, given)
    assert plan.slots == 0
    reasons = sorted((row["caption"], row["reason"]) for row in refused_of(store))
    assert reasons == [("", "no_url"), ("a cat", "duplicate_uid"), ("a cat", "no_url")]


def test_source_columns_travel_with_their_request(tmp_path: Path) -> None:
    kept = pa.schema([("score", pa.float64()), ("tag", pa.string())])
    given = [Record(f"http://a/{n}", (), {"score": n / 2, "tag": None if n % 2 else str(n)}) for n in range(6)]
    store = Store(str(tmp_path))
    plan = make_plan(store, Given(given, kept), samples=4, seed=0)
    found = {row["url"]: (row["source.score"], row["source.tag"]) for shard in slots_of(store, plan) for row in shard}
    assert found == {record.url: (record.extra["score"], record.extra["tag"]) for record in given}


def test_planning_again_takes_the_plan_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = planned(tmp_path, records(10))
    monkeypatch.setattr(planning, "_spill", lambda *_: pytest.fail("planned again"))
    assert planned(tmp_path, records(10))[1] == plan == read_plan(store)


@pytest.mark.parametrize("change", [{"given": records(11)}, {"samples": 5}, {"seed": 1}], ids=["list", "size", "seed"])
def test_another_list_size_or_seed_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    before: dict[str, Any] = {"given": records(10), "samples": 4, "seed": 0}
    planned(tmp_path, **before)
    with pytest.raises(ConfigError, match="was planned from another list, seed or shard size"):
        planned(tmp_path, **{**before, **change})


def test_a_plan_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    store, plan = planned(tmp_path, records(10), samples=2)
    before = [store.read(f"plan/{name}.parquet") for name in plan.shard_names()]
    store.remove(PLAN)
    store.put_atomic("plan/00001.parquet", b"half")
    assert planned(tmp_path, records(10), samples=2)[1] == plan
    assert [store.read(f"plan/{name}.parquet") for name in plan.shard_names()] == before


def test_the_plan_does_not_depend_on_how_it_is_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*records(30), *records(7)]
    one = planned(tmp_path / "a", given)
    monkeypatch.setattr(planning, "_SPILL_ROWS", 3)
    other = planned(tmp_path / "b", given)
    for name in (*(f"plan/{shard}.parquet" for shard in one[1].shard_names()), REFUSED, PLAN):
        assert one[0].read(name) == other[0].read(name)


requests = st.builds(
    Record, st.sampled_from(["", "http://a/1", "http://a/2", "http://b/图"]), st.lists(st.text(max_size=3)).map(tuple)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(requests, max_size=30), st.integers(1, 9), st.integers(-3, 3))
def test_every_request_is_in_exactly_one_place(given: list[Record], samples: int, seed: int) -> None:
    store = Store(f"memory://plan-{hashlib.sha256(repr((given, samples, seed)).encode()).hexdigest()}")
    plan = make_plan(store, Given(given), samples, seed)
    slots = [slot for shard in slots_of(store, plan) for slot in shard]
    refused = refused_of(store)
    placed = [(row["uid"], row["url"]) for row in (*slots, *refused)]
    assert sorted(placed) == sorted((record.uid, record.url) for record in given)
    assert len({slot["uid"] for slot in slots}) == len(slots)
    assert {slot["uid"] for slot in slots} == {record.uid for record in given if record.url}
    assert (plan.requests, plan.slots, plan.refused) == (len(given), len(slots), len(refused))
