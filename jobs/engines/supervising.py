"""Supervising workers, whatever they are made of: who gets which item, what is tried again, who is replaced.

A worker's first news is how its set-up went, then come the outcomes of the items it is given, one at a time; or news of
its death. An item that fails, or whose worker dies, goes back to the end of the queue until ``MAX_ATTEMPTS``. A set-up
that fails is no item's fault: the seat is filled anew, given up after ``MAX_ATTEMPTS`` in a row, and the others go on.
The first seats are filled at once; the others when one worker has shown that it can be set up, and while items wait.
Whoever would find nothing to do goes, or does not come.

Price: a pass over the seats for each round of news; what is kept is an entry for each item that waits.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ...corpora.engine import MAX_ATTEMPTS, Json, Outcome
from ...corpora.errors import FatalError


@dataclass(frozen=True)
class Death:
    """News of a worker that is no more: what it died of, and who it was."""

    told: str
    worker: Mapping[str, Json]


class Worker(ABC):
    """One life of a worker: it begins with the set-up, and has at most one item at a time."""

    @abstractmethod
    def give(self, item: str) -> None:
        """Hand it an item. That it has died meanwhile is found by ``hear``."""

    @abstractmethod
    def hear(self) -> Outcome | Death:
        """What it has to tell: the outcome of its set-up or its item (whose name and attempts the supervisor fills in)."""

    @abstractmethod
    def stop(self) -> None:
        """End it, whatever it does, and give back what it held; it may be dead already."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class Crew(ABC, Generic[AnyWorker]):
    """What an engine adds: how workers begin, and how one waits for their news."""

    @abstractmethod
    def hire(self, seat: int) -> AnyWorker:
        """Begin the life of a worker; a seat's workers follow each other."""

    @abstractmethod
    def wait(self, workers: Sequence[AnyWorker]) -> Iterable[AnyWorker]:
        """Wait until at least one of them has news, and say which.

        Raises:
            FatalError: none of them can ever have any.
        """


_Item = tuple[str, tuple[Outcome, ...]]
"""An item and the failed attempts at it."""


@dataclass
class _Seat(Generic[AnyWorker]):
    """A place for a worker, and the item it works on."""

    number: int
    worker: AnyWorker | None = None
    ready: bool = False
    item: _Item | None = None
    failures: int = 0
    """Set-ups that failed in a row."""

    @property
    def given_up(self) -> bool:
        return self.failures == MAX_ATTEMPTS

    def empty(self) -> None:
        worker, self.worker, self.ready = self.worker, None, False
        if worker is not None:
            worker.stop()


class Supervisor(Generic[AnyWorker]):
    """Runs items through a crew of ``at_first`` workers that may grow to ``at_most``; never more than there are items."""

    def __init__(self, crew: Crew[AnyWorker], at_first: int, at_most: int) -> None:
        self._crew, self._at_first, self._at_most = crew, at_first, at_most
        self._waiting: deque[_Item] = deque()
        self._seats: list[_Seat[AnyWorker]] = []
        self._error: str | None = None

    def run(self, items: Sequence[str]) -> Iterator[Outcome]:
        """Yield an outcome an item, in order of completion; once it ends or is left, no worker is.

        Raises:
            FatalError, ConfigError: a task or its set-up met one, or no worker could be set up.
        """
        left = len(items)
        self._waiting.extend((item, ()) for item in items)
        self._seats = [_Seat(number) for number in range(min(self._at_first, left))]
        with contextlib.ExitStack() as stack:
            stack.callback(self._dismiss)
            while left:
                self._staff()
                talking = {seat.worker: seat for seat in self._seats if seat.worker is not None}
                if not talking:
                    raise FatalError(f"no worker could be set up: {self._error}")
                for worker in self._crew.wait(list(talking)):
                    outcome = self._settle(talking[worker], worker.hear())
                    if outcome is not None:
                        left -= 1
                        yield outcome

    def _staff(self) -> None:
        """Bring the crew to the size that the items which wait ask for."""
        for seat in self._seats:
            self._occupy(seat)
        if any(seat.ready for seat in self._seats):
            self._seats += [_Seat[AnyWorker](number) for number in range(len(self._seats), self._at_most)]
        free = [seat for seat in self._seats if seat.item is None and not seat.given_up]
        free.sort(key=lambda seat: seat.worker is None)  # whoever is on the way is nearer than who would come
        for seat in free[: len(self._waiting)]:
            if seat.worker is None:
                seat.worker = self._crew.hire(seat.number)
        for seat in free[len(self._waiting) :]:
            seat.empty()

    def _occupy(self, seat: _Seat[AnyWorker]) -> None:
        if seat.ready and seat.item is None and self._waiting and seat.worker is not None:
            seat.item = self._waiting.popleft()
            seat.worker.give(seat.item[0])

    def _settle(self, seat: _Seat[AnyWorker], news: Outcome | Death) -> Outcome | None:
        """Act on a worker's news; what it says of an item, when that is the last word on it."""
        if isinstance(news, Death):
            seat.empty()
            news = Outcome("", None, news.told, worker=news.worker)
        if news.fatal:
            raise news.fatal(news.error)
        outcome = self._conclude(seat, news)
        self._occupy(seat)  # before anybody looks at the outcome, so that the worker need not wait for them
        return outcome

    def _conclude(self, seat: _Seat[AnyWorker], news: Outcome) -> Outcome | None:
        if seat.item is None:
            self._set_up(seat, news)
            return None
        (item, earlier), seat.item = seat.item, None
        outcome = replace(news, item=item, attempts=len(earlier) + 1)
        if not outcome.ok and outcome.attempts < MAX_ATTEMPTS:
            self._waiting.append((item, (*earlier, outcome)))
            return None
        return replace(outcome, earlier=earlier)

    def _set_up(self, seat: _Seat[AnyWorker], news: Outcome) -> None:
        if news.ok:
            seat.ready, seat.failures = True, 0
            return
        self._error = news.error
        seat.failures += 1
        seat.empty()

    def _dismiss(self) -> None:
        with contextlib.ExitStack() as stack:
            for seat in self._seats:
                stack.callback(seat.empty)
