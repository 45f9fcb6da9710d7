"""Whose turn it is: at most so many requests of one host at once, in the order in which they came.

A queue a host; an item either holds one of its host's places or waits for one, so a slow host delays only itself.
Price: constant time a request; memory is that of the items that wait.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Gives out places, ``per_host`` a host."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._taken: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, deque[T]] = {}
        self._ready: deque[T] = deque()

    @property
    def num_ready(self) -> int:
        """How many items hold a place and have not been taken out yet."""
        return len(self._ready)

    def ask(self, host: str, item: T) -> None:
        """Line up for a place at ``host``."""
        if self._taken[host] < self._per_host:
            self._taken[host] += 1
            self._ready.append(item)
        else:
            self._waiting.setdefault(host, deque()).append(item)

    def take(self) -> T:
        """Take out the item that has held a place for longest."""
        return self._ready.popleft()

    def give_back(self, host: str) -> None:
        """End one item's place; the next of that host gets it."""
        waiting = self._waiting.get(host)
        if waiting:
            self._ready.append(waiting.popleft())
            if not waiting:
                del self._waiting[host]
        elif self._taken[host] > 1:
            self._taken[host] -= 1
        else:
            del self._taken[host]  # the crawl meets millions of hosts
