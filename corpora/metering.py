"""Where a task's time and bytes went: a stopwatch whose laps have names, and two counters.

A task laps its meter when a phase of its work ends, and adds what it told to its value, from where it reaches the logs.
A meter belongs to one thread; what helping threads measured is added to it, so phases that ran side by side may sum to
more than the task took.

Price: a call and a look at the clock a lap, 0.3 us; laps stand around batches and rows, never inside them.
"""

from __future__ import annotations

import time

from .engine import Json

PHASES = ("download", "read", "wait", "decode", "model", "judge", "write")
"""All that time is spent on: the network, the store, waiting for threads that decode, decoding with what scorers
prepare on threads, scoring, judging, and writing with the hashing on the way."""


class Meter:
    """Seconds by phase, and the bytes of content that came in and went out."""

    def __init__(self) -> None:
        """Start; the first lap begins now."""
        self.seconds: dict[str, float] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self._lapped = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What passed since the last lap went into ``phase``, one of ``PHASES``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._lapped
        self._lapped = now

    def add(self, other: Meter) -> None:
        """Count what another thread's meter counted."""
        for phase, seconds in other.seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out

    def told(self) -> dict[str, Json]:
        """What a task's value says of it: ``spent`` (seconds by phase) and ``bytes`` (in, out)."""
        spent = {phase: round(self.seconds[phase], 4) for phase in PHASES if phase in self.seconds}
        return {"spent": spent, "bytes": {"in": self.bytes_in, "out": self.bytes_out}}
