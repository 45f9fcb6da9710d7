"""The wire waits for what happens, and no longer."""

from __future__ import annotations

import threading
import time

from tamis.corpora.transfers import Wire


def test_ring_from_another_thread_ends_one_wait() -> None:
    wire = Wire(1)
    threading.Timer(0.05, wire.ring).start()
    started = time.monotonic()
    assert list(wire.wait(started + 10)) == []
    assert time.monotonic() - started < 5
    again = time.monotonic()
    assert list(wire.wait(again + 0.2)) == []
    assert time.monotonic() - again >= 0.19
    wire.close([])


def test_ring_after_the_end_is_no_accident() -> None:
    wire = Wire(1)
    wire.close([])
    wire.ring()
