"""A meter says where each second went, once, in the order in which phases are told."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.metering import PHASES, Meter

LAPS = st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 10_000)))


def metered(monkeypatch: pytest.MonkeyPatch, laps: list[tuple[str, int]]) -> Meter:
    """A meter of laps of so many milliseconds."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter()
    for phase, milliseconds in laps:
        now[0] += milliseconds / 1000
        meter.lap(phase)
    return meter


@given(LAPS)
def test_laps_sum_to_the_time_that_passed(laps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        spent = metered(monkeypatch, laps).told()["spent"]
    assert sum(spent.values()) == pytest.approx(sum(ms for _, ms in laps) / 1000)
    assert set(spent) == {phase for phase, _ in laps}
    assert list(spent) == [phase for phase in PHASES if phase in spent]


def test_a_lap_goes_to_its_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = metered(monkeypatch, [("write", 250), ("read", 1000), ("write", 500)])
    assert meter.told() == {"spent": {"read": 1.0, "write": 0.75}, "bytes": {"in": 0, "out": 0}}


def test_what_threads_measured_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = metered(monkeypatch, [("wait", 100)])
    for size in (10, 20):
        thread = metered(monkeypatch, [("read", 50), ("decode", 300)])
        thread.bytes_in, thread.bytes_out = size, 1
        meter.add(thread)
    assert meter.told() == {"spent": {"read": 0.1, "wait": 0.1, "decode": 0.6}, "bytes": {"in": 30, "out": 2}}


def test_what_it_tells_is_json() -> None:
    meter = Meter()
    meter.lap("model")
    assert json.loads(json.dumps(meter.told())) == meter.told()
