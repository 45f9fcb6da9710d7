"""Accounts: sums over entries that agree however the entries are cut, and figures that are worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.metering import PHASES
from tamis.pipelines.accounting import SLOWEST_KEPT, Tally
from tamis.pipelines.logs import Entry

COUNTS = st.integers(0, 1000)
ENTRIES = st.lists(
    st.builds(
        Entry,
        time=st.just(0.0),
        item=st.sampled_from("abcdef"),
        size=st.integers(1, 5),
        units=COUNTS,
        ok=st.booleans(),
        attempts=st.integers(1, 3),
        seconds=COUNTS.map(float),
        engine=st.just("ray"),
        node=st.sampled_from(["n1", "n2"]),
        process=st.integers(1, 3),
        spent=st.dictionaries(st.sampled_from(PHASES), COUNTS.map(float)),
        bytes_in=COUNTS,
        bytes_out=COUNTS,
    )
)


def tallied(*entries: Entry) -> Tally:
    tally = Tally()
    for entry in entries:
        tally.add(entry)
    return tally


@given(ENTRIES)
def test_sums_are_those_of_the_entries(entries: list[Entry]) -> None:
    told = tallied(*entries).told(1.0)
    assert told["units"] == sum(entry.units for entry in entries)
    assert told["bytes"] == {"in": sum(e.bytes_in for e in entries), "out": sum(e.bytes_out for e in entries)}
    assert told["retries"] == sum(entry.attempts - 1 for entry in entries)
    assert told["busy_seconds"] == sum(entry.seconds for entry in entries)
    assert sum(told["spent"].values()) == sum(sum(entry.spent.values()) for entry in entries)
    assert told["workers"] == len({(entry.node, entry.process) for entry in entries})
    assert [one["seconds"] for one in told["slowest"]] == sorted((e.seconds for e in entries), reverse=True)[
        :SLOWEST_KEPT
    ]


@given(ENTRIES)
def test_an_item_fails_when_its_last_entry_does(entries: list[Entry]) -> None:
    last = {entry.item: entry for entry in entries}
    assert tallied(*entries).failing == {("", item): entry for item, entry in last.items() if not entry.ok}


@given(ENTRIES, ENTRIES)
def test_a_joined_pass_adds_its_effort_and_no_items(entries: list[Entry], more: list[Entry]) -> None:
    joined, both = tallied(*entries), tallied(*entries, *more)
    before = (joined.done, joined.units)
    joined.join(tallied(*more))
    assert (joined.done, joined.units) == before
    assert {**joined.told(1.0), "units": 0, "items_per_second": 0, "units_per_second": 0, "slowest": 0} == {
        **both.told(1.0),
        "units": 0,
        "items_per_second": 0,
        "units_per_second": 0,
        "slowest": 0,
    }
    assert [entry.seconds for entry in joined.slowest] == [entry.seconds for entry in both.slowest]


def test_an_account_by_hand() -> None:
    entry = Entry(
        time=0.0,
        item="00000",
        units=100,
        seconds=10.0,
        engine="local",
        node="a",
        process=1,
        spent={"decode": 4.0, "model": 5.0},
        bytes_in=3_000_000,
        bytes_out=500_000,
    )
    slow = replace(entry, item="00001", seconds=30.0, process=2, attempts=3, spent={"decode": 16.0, "model": 5.0})
    lost = replace(entry, item="00002", ok=False, error="cut", units=0, seconds=0.0, spent={}, bytes_in=0, bytes_out=0)
    tally = tallied(entry, slow, lost)
    assert (tally.entries, tally.done, tally.failed) == (3, 2, 1)
    assert tally.told(20.0) == {
        "units": 200,
        "items_per_second": 0.1,
        "units_per_second": 10.0,
        "bytes": {"in": 6_000_000, "out": 1_000_000},
        "megabytes_per_second": {"in": 0.3, "out": 0.05},
        "busy_seconds": 40.0,
        "spent": {"decode": 20.0, "model": 10.0},
        "shares": {"decode": 0.5, "model": 0.25},
        "retries": 2,
        "engines": ["local"],
        "workers": 2,
        "nodes": ["a"],
        "slowest": [
            {"item": "00001", "seconds": 30.0, "node": "a", "attempts": 3},
            {"item": "00000", "seconds": 10.0, "node": "a", "attempts": 1},
            {"item": "00002", "seconds": 0.0, "node": "a", "attempts": 1},
        ],
    }


def test_items_count_by_their_size() -> None:
    block = Entry(0.0, "00000-00015", size=16)
    tally = tallied(block, replace(block, item="00016-00019", size=4, ok=False))
    assert (tally.done, tally.failed, tally.entries) == (16, 4, 2)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 5.0])
def test_an_account_of_nothing_is_json_without_infinities(seconds: float) -> None:
    told = Tally().told(seconds)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["units_per_second"], told["shares"], told["slowest"]) == (0.0, {}, [])
