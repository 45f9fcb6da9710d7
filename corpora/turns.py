"""Whose turn it is: at most so many requests of one host at once and in a second, in the order in which they came.

A queue a host; an item either holds one of its host's places or waits for one, so a slow host delays only itself. A host
may have an interval between requests, and may be paused; the time runs from when an item is really taken out, so that
places which were given while all hands were busy do not leave together.

Price: constant time a request, and a heap entry a request of hosts with an interval; memory is that of the items that wait.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Host(Generic[T]):
    interval: float
    taken: int = 0
    granted: bool = False
    """Whether a place was given that has not been taken out; a host with an interval gets no second one before."""
    free_at: float = 0.0
    paused_until: float = 0.0
    waiting: deque[T] = field(default_factory=deque)


class Turns(Generic[T]):
    """Gives out places, ``per_host`` a host, with ``interval`` seconds between a host's requests."""

    def __init__(self, per_host: int, interval: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_host, self._interval, self._clock = per_host, interval, clock
        self._hosts: dict[str, _Host[T]] = {}
        self._alarms: list[tuple[float, str]] = []
        self._ready: deque[tuple[str, T]] = deque()

    @property
    def num_ready(self) -> int:
        """How many items hold a place and have not been taken out yet."""
        return len(self._ready)

    @property
    def next_at(self) -> float | None:
        """When ``wake`` may have something to do."""
        return self._alarms[0][0] if self._alarms else None

    def ask(self, host: str, item: T, interval: float = 0.0) -> None:
        """Line up for a place at ``host``, which wants at least ``interval`` seconds between requests."""
        there = self._host(host)
        there.interval = max(there.interval, interval)
        there.waiting.append(item)
        self._grant(host, there)

    def take(self) -> T:
        """Take out the item that has held a place for longest."""
        host, item = self._ready.popleft()
        there = self._hosts[host]
        if there.interval:
            there.granted = False
            self._close_until(host, self._clock() + there.interval)
        return item

    def give_back(self, host: str) -> None:
        """End one item's place; the next of that host gets it."""
        there = self._hosts[host]
        there.taken -= 1
        self._grant(host, there)
        self._forget(host)

    def pause(self, host: str, seconds: float) -> None:
        """Give no place at ``host`` for so long."""
        there = self._host(host)
        there.paused_until = max(there.paused_until, self._clock() + seconds)
        self._close_until(host, there.paused_until)

    def paused_for(self, host: str) -> float:
        """For how many seconds ``host`` is paused."""
        return max(0.0, self._hosts[host].paused_until - self._clock()) if host in self._hosts else 0.0

    def drain(self, host: str) -> list[T]:
        """Take back those that wait for a place at ``host``."""
        waiting = list(self._hosts[host].waiting)
        self._hosts[host].waiting.clear()
        return waiting

    def wake(self) -> None:
        """Give the places whose time has come."""
        now = self._clock()
        while self._alarms and self._alarms[0][0] <= now:
            host = heapq.heappop(self._alarms)[1]
            if host in self._hosts:
                self._grant(host, self._hosts[host])
                self._forget(host)

    def _host(self, host: str) -> _Host[T]:
        if host not in self._hosts:
            self._hosts[host] = _Host(self._interval)
        return self._hosts[host]

    def _close_until(self, host: str, when: float) -> None:
        there = self._hosts[host]
        if when > there.free_at:
            there.free_at = when
            heapq.heappush(self._alarms, (when, host))

    def _grant(self, host: str, there: _Host[T]) -> None:
        while there.waiting and there.taken < self._per_host and not there.granted:
            if there.free_at and there.free_at > self._clock():
                return
            there.taken += 1
            there.granted = there.interval > 0
            self._ready.append((host, there.waiting.popleft()))

    def _forget(self, host: str) -> None:
        """Let go of a host with nothing to remember; the crawl meets millions."""
        there = self._hosts[host]
        if not (there.taken or there.waiting) and there.free_at <= self._clock():
            del self._hosts[host]
