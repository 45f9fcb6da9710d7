"""robots.txt as RFC 9309 has it: what a host lets this crawler ask for, and how often.

    2xx                            the rules in its first 500 KiB hold
    4xx, endless redirects         no rules: everything may be asked for
    429, 5xx, no or a cut answer   nothing may be asked for now: ``robots_unavailable``
    the host cannot be reached     what its own images would meet, by that name: ``dns``, ``connection_refused`` ...

Rules hold for a day at most, the lack of an answer for ten minutes. A ``Crawl-delay`` is obeyed; where it is longer than
the recipe's patience the host is not asked at all, for asking it more often than it wants would be no obedience.

Price: 1.5 us a URL with ordinary rules. 500 KiB of hostile rules cost 0.4 s to read, 8 MB to keep and 0.1 s a URL; what is
kept is bounded by the size of the texts, so it is below 64 MB.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from protego import Protego

from .urls import Target

MAX_ROBOTS_BYTES = 500 * 1024
MAX_ROBOTS_REDIRECTS = 5
REMEMBERED_SECONDS = 86_400.0
REMEMBERED_FAULT_SECONDS = 600.0
REMEMBERED_CHARACTERS = 4 << 20
_OVERHEAD_CHARACTERS = 64
"""What an entry without rules counts: 64,000 hosts without a robots.txt are remembered."""

UNAVAILABLE = "robots_unavailable"

_OWN_FAULTS = frozenset(
    {
        *("blocked_address", "connect_timeout", "connection_refused", "dns", "dns_unavailable", "opted_out"),
        *("asked_to_wait", "proxy", "tls", "unreachable"),
    }
)
"""Faults of reaching the host, which its images would meet as well."""


@dataclass(frozen=True)
class Rules:
    """What one robots.txt says, or ``fault``: the reason why nothing may be asked for."""

    parsed: Protego | None = None
    fault: str | None = None
    characters: int = 0

    def refusal(self, url: str, product: str, max_delay_seconds: float) -> str | None:
        """Say why this URL may not be asked for by the crawler ``product``, or None."""
        if self.fault or self.parsed is None:
            return self.fault
        if not self.parsed.can_fetch(url, product):
            return "robots_disallowed"
        return "robots_crawl_delay" if self.delay(product) > max_delay_seconds else None

    def delay(self, product: str) -> float:
        """Seconds that the host wants between requests."""
        return max(0.0, self.parsed.crawl_delay(product) or 0.0) if self.parsed else 0.0


def robots_url(target: Target) -> str:
    """Where the rules for a URL stand: at the root of its scheme, host and port."""
    return target.url[: target.url.index("/", len(target.scheme) + 3)] + "/robots.txt"


def read_rules(reason: str | None, body: bytes | None, redirected: bool) -> Rules:
    """Make rules of what came: a ``body``, or the ``reason`` why there is none, after a redirect or at first hand."""
    if body is not None:
        text = body[:MAX_ROBOTS_BYTES].decode("utf-8-sig", "replace")
        return Rules(Protego.parse(text), characters=len(text))
    status = int(reason[5:]) if reason and reason.startswith("http_") else 0
    absent = reason in {None, "empty", "too_many_redirects", "bad_redirect"} or 0 < status < 500
    if absent and status != 429:
        return Rules()
    return Rules(fault=reason if reason in _OWN_FAULTS and not redirected else UNAVAILABLE)


class RobotsMemory:
    """Rules by the URL of their robots.txt; the least lately used go first when there are too many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Rules]] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, url: str) -> Rules | None:
        """Give the rules that still hold."""
        until, rules = self._known.get(url, (0.0, None))
        if rules is None or until <= self._clock():
            return None
        self._known.move_to_end(url)
        return rules

    def keep(self, url: str, rules: Rules) -> None:
        """Remember rules for as long as they hold."""
        self._drop(url)
        seconds = REMEMBERED_FAULT_SECONDS if rules.fault else REMEMBERED_SECONDS
        self._known[url] = self._clock() + seconds, rules
        self._characters += rules.characters + _OVERHEAD_CHARACTERS
        while self._characters > REMEMBERED_CHARACTERS:
            self._drop(next(iter(self._known)))

    def _drop(self, url: str) -> None:
        if found := self._known.pop(url, None):
            self._characters -= found[1].characters + _OVERHEAD_CHARACTERS
