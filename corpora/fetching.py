"""Fetching images over HTTP: many at once, none in another's way, every request answered for exactly once.

``fetch`` pulls requests as it has room for them and yields outcomes as they come, in any order. What an outcome *is*
depends on the responses alone, never on when they came: reasons are stable names, waits are seeded, and the time in
which a request waits for its host's name and turn counts against nobody. A server that drips, hangs or redirects for
ever takes one of ``concurrency`` places until its deadline and holds up nothing else.

    requests -> [host's robots.txt] -> [name looked up] -> [turn of the host] -> line (one transfer) -> outcome
                         ^                                                       |
                         |                                                       +-- redirect: a request to that host
                         +------------------- back-off wait ---------------------+-- passing trouble: another try

A robots.txt is an item like any other, under the same limits, address rules, turns and tries; what waits for it holds no
place. ``Retry-After`` holds for the whole host: nothing is asked of it before; where that is longer than an item may
take, the host's items end as ``asked_to_wait``, to be asked for another day.

Safety: http and https only, at every redirect; the address of every connection is judged (see ``addresses``); bodies,
redirects and time are bounded; nothing is decompressed, for nothing compressed is asked for.

Price: about 1.3 times the CPU of bare libcurl; 0.06 ms for a body on a kept connection, 0.12 ms on a new one.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pycurl

from .addresses import AllowList
from .errors import DataError
from .failures import back_off, retry_class
from .fetch_settings import FetchSettings
from .names import Found, Names
from .robots import MAX_ROBOTS_REDIRECTS, RobotsMemory, read_rules, robots_url
from .transfers import Answer, Line, Wire
from .turns import Turns
from .urls import Target, read_url

__all__ = ["FetchSettings", "Fetched", "Request", "fetch"]

_HELD_PER_PLACE = 32
"""Requests that wait for their host or for another try, for each place: a few MB that keep crowded hosts from
stopping the others."""

_NAMELESS_PER_PLACE = 4
"""Requests that wait for their host's addresses, ahead of the transfers, for each place."""

_BUSY = frozenset({429, 503})
_LONGEST_PAUSE_SECONDS = 3600.0
"""A host that wants more is asked again after an hour, if anything of it is still to be asked."""


@dataclass(frozen=True)
class Request:
    """One URL to fetch, and the caller's number for it."""

    slot: int
    url: str


@dataclass(frozen=True)
class Fetched:
    """What became of a request: a ``body``, or the ``reason`` why there is none (see ``failures``).

    ``http_status`` is the last response's, ``final_url`` what it answered, ``bytes`` the body bytes that it brought;
    ``seconds`` covers all tries and the waits between them.
    """

    slot: int
    url: str
    body: bytes | None
    reason: str | None
    http_status: int | None
    tries: int
    seconds: float
    bytes: int
    final_url: str


def fetch(
    requests: Iterable[Request], settings: FetchSettings, robots: RobotsMemory | None = None
) -> Iterator[Fetched]:
    """Fetch every request; yield one outcome each, in the order in which they end.

    ``robots`` is what earlier calls of this process learnt of hosts. The caller's work between two outcomes should be
    short: meanwhile nobody answers the servers.

    Raises:
        ConfigError: ``allow_hosts`` has an entry that is neither a host nor host:port.
    """
    fetcher = _Fetcher(requests, settings, RobotsMemory() if robots is None else robots)
    try:
        yield from fetcher.run()
    finally:
        fetcher.close()


@dataclass
class _Item:
    """A request under way. ``seconds`` were spent of its deadline; ``left`` remain of the try's."""

    request: Request
    first: Target
    target: Target
    tries: int = 0
    redirects: int = 0
    seconds: float = 0.0
    left: float = 0.0
    addresses: tuple[str, ...] = ()
    delay: float = 0.0
    rules_of: str | None = None
    """Whose robots.txt this is, by its URL; None for an item of the list."""


class _Fetcher:
    def __init__(self, requests: Iterable[Request], settings: FetchSettings, robots: RobotsMemory) -> None:
        self._settings = settings
        self._source: Iterator[Request] | None = iter(requests)
        self._allow = AllowList.parse(settings.allow_hosts)
        self._wire = Wire(settings.concurrency)
        self._names = Names(settings.concurrency, self._wire.ring)
        self._nameless: dict[str, list[_Item]] = {}  # those that wait for a host's addresses
        self._num_nameless = 0
        self._robots = robots
        self._ruleless: dict[str, list[_Item]] = {}  # those that wait for a robots.txt
        self._turns: Turns[_Item] = Turns(
            settings.per_host, 1 / settings.per_host_rate if settings.per_host_rate else 0
        )
        self._resting: list[tuple[float, int, _Item]] = []  # a heap of (when to try again, serial number, item)
        self._idle: list[Line] = []
        self._busy: dict[pycurl.Curl, tuple[Line, _Item]] = {}
        self._ended: deque[Fetched] = deque()
        self._held = 0  # pulled, and not ended
        self._serial = 0

    def run(self) -> Iterator[Fetched]:
        while self._source or self._held or self._ended:
            self._wake()
            self._take_names()
            self._pull()
            self._start()
            while self._ended:
                yield self._ended.popleft()
            if self._held:
                for curl, code in self._wire.wait(self._patience()):
                    self._finish(curl, code)

    def _patience(self) -> float | None:
        """Until when nothing can be begun, as far as is known now."""
        if self._has_room():
            return 0.0
        known = [when for when in (self._turns.next_at, self._resting[0][0] if self._resting else None) if when]
        return min(known, default=None)

    def close(self) -> None:
        self._names.close()
        self._wire.close(self._busy)
        for line in (*self._idle, *(line for line, _ in self._busy.values())):
            line.close()

    def _wake(self) -> None:
        """Line up what has rested long enough, and what has waited for its host's next turn."""
        self._turns.wake()
        now = time.monotonic()
        while self._resting and self._resting[0][0] <= now:
            self._begin_try(heapq.heappop(self._resting)[2])

    def _take_names(self) -> None:
        for host, found in self._names.answered():
            items = self._nameless.pop(host)
            self._num_nameless -= len(items)
            for item in items:
                self._address(item, found)

    def _has_room(self) -> bool:
        """Whether to take another request: there is a place to start it in, and not too much waits already."""
        places = self._settings.concurrency
        return (
            self._source is not None
            and len(self._busy) + self._turns.num_ready < places
            and self._num_nameless < _NAMELESS_PER_PLACE * places
            and self._held < _HELD_PER_PLACE * places
            and len(self._ended) < places
        )

    def _pull(self) -> None:
        while self._source is not None and self._has_room():
            request = next(self._source, None)
            if request is None:
                self._source = None
            else:
                self._held += 1
                self._admit(request)

    def _admit(self, request: Request) -> None:
        try:
            target = read_url(request.url)
        except DataError as error:
            self._fail(request, error.reason)
        else:
            self._begin_try(_Item(request, target, target))

    def _fail(self, request: Request, reason: str) -> None:
        self._held -= 1
        self._ended.append(Fetched(request.slot, request.url, None, reason, None, 0, 0.0, 0, request.url))

    def _begin_try(self, item: _Item) -> None:
        item.tries += 1
        item.target, item.redirects = item.first, 0
        item.left = min(self._settings.timeout_seconds, self._settings.deadline_seconds - item.seconds)
        self._line_up(item)

    def _line_up(self, item: _Item) -> None:
        target = item.target
        if self._settings.opt_outs.names(target):
            self._end(item, "opted_out")
        elif self._settings.robots and item.rules_of is None:
            self._ask_rules(item)
        else:
            self._find(item)

    def _ask_rules(self, item: _Item) -> None:
        """Let an item on if its host's rules do; where they are not known, ask for them first."""
        url = robots_url(item.target)
        rules = self._robots.recall(url)
        if rules is None:
            waiting = self._ruleless.setdefault(url, [])
            waiting.append(item)
            if len(waiting) == 1:
                target = read_url(url)
                self._begin_try(_Item(Request(-1, url), target, target, rules_of=url))
            return
        refusal = rules.refusal(item.target.url, self._settings.product, self._settings.max_crawl_delay_seconds)
        if refusal:
            self._end(item, refusal)
        else:
            item.delay = rules.delay(self._settings.product)
            self._find(item)

    def _learn(self, url: str, item: _Item, reason: str | None, answer: Answer | None) -> None:
        """A robots.txt has come, or will not: those that wait for it go on."""
        self._robots.keep(url, read_rules(reason, answer.body if answer else None, item.redirects > 0))
        for waiting in self._ruleless.pop(url):
            self._ask_rules(waiting)

    def _find(self, item: _Item) -> None:
        """Look the host's addresses up."""
        target = item.target
        if target.literal and self._allow.refusal(target.host, target.port, target.host):
            self._end(item, "blocked_address")  # here and not only where sockets open: those may lead to a proxy
        elif target.literal or self._settings.proxy:
            self._address(item, Found(()))
        elif found := self._names.recall(target.host):
            self._address(item, found)
        else:
            self._num_nameless += 1
            self._nameless.setdefault(target.host, []).append(item)
            self._names.ask(target.host)

    def _address(self, item: _Item, found: Found) -> None:
        item.addresses = found.addresses
        host = item.target.host
        if found.reason is None and self._turns.paused_for(host) >= self._settings.deadline_seconds:
            self._end(item, "asked_to_wait")
        elif found.reason is None:
            self._turns.ask(host, item, item.delay)
        elif not self._rest(item, found.reason):
            self._end(item, found.reason)

    def _start(self) -> None:
        while self._turns.num_ready and len(self._busy) < self._settings.concurrency:
            item = self._turns.take()
            line = self._idle.pop() if self._idle else Line(self._settings, self._allow)
            line.dial(item.target, item.addresses, item.left, item.rules_of is not None)
            self._busy[line.curl] = line, item
            self._wire.start(line.curl)

    def _finish(self, curl: pycurl.Curl, code: int) -> None:
        line, item = self._busy.pop(curl)
        answer = line.answer(code)
        self._idle.append(line)
        self._obey(item.target.host, answer)
        self._turns.give_back(item.target.host)
        item.seconds += answer.seconds
        item.left -= answer.seconds
        if answer.redirect is not None:
            self._redirect(item, answer)
        elif answer.reason is None or not self._rest(item, answer.reason, answer.retry_after_seconds):
            self._end(item, answer.reason, answer)

    def _obey(self, host: str, answer: Answer) -> None:
        """Leave a host alone that says for how long; what would have to wait too long ends here."""
        if answer.retry_after_seconds <= 0 or answer.status not in _BUSY:
            return
        self._turns.pause(host, min(answer.retry_after_seconds, _LONGEST_PAUSE_SECONDS))
        if answer.retry_after_seconds >= self._settings.deadline_seconds:
            for item in self._turns.drain(host):
                self._end(item, "asked_to_wait")

    def _redirect(self, item: _Item, answer: Answer) -> None:
        item.redirects += 1
        try:
            target = read_url(answer.redirect or "")
        except DataError:
            self._end(item, "bad_redirect", answer)
            return
        most = self._settings.max_redirects if item.rules_of is None else MAX_ROBOTS_REDIRECTS
        if item.redirects > most:
            self._end(item, "too_many_redirects", answer)
        else:
            item.target = target
            self._line_up(item)

    def _rest(self, item: _Item, reason: str, retry_after_seconds: float = 0.0) -> bool:
        """Put an item aside until its next try, if there is to be one."""
        settings = self._settings
        if item.tries > settings.retries or retry_class(reason) == "never":
            return False
        jitter = f"{settings.seed} {item.request.url}"
        pause = max(back_off(settings.back_off_seconds, item.tries, jitter), retry_after_seconds)
        if item.seconds + pause >= settings.deadline_seconds:
            return False
        item.seconds += pause
        self._serial += 1
        heapq.heappush(self._resting, (time.monotonic() + pause, self._serial, item))
        return True

    def _end(self, item: _Item, reason: str | None, answer: Answer | None = None) -> None:
        if item.rules_of is not None:
            self._learn(item.rules_of, item, reason, answer)
            return
        self._held -= 1
        self._ended.append(
            Fetched(
                slot=item.request.slot,
                url=item.request.url,
                body=answer.body if answer and reason is None else None,
                reason=reason,
                http_status=answer.status if answer else None,
                tries=item.tries,
                seconds=item.seconds,
                bytes=answer.received if answer else 0,
                final_url=item.target.url,
            )
        )
