"""How to fetch: limits in time, bytes and requests, and whose wishes are obeyed.

The defaults are those of a guest: robots.txt is read, words against use in training are obeyed, and the crawler says who
it is. An operator who has other rights to a host's images says so in the recipe, where readers of the recipe see it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version

from .errors import ConfigError
from .opt_outs import OptOuts

OBJECTIONS = ("noai", "noimageai", "noindex", "noimageindex")
"""The words of ``X-Robots-Tag`` that can be obeyed. ``none`` stands for noindex, too."""

_PRODUCT = re.compile(r"[A-Za-z_-]+")


@cache
def user_agent() -> str:
    """What the fetcher calls itself; an operator should add where to complain: ``tamis/1.0 (+https://...)``."""
    return f"tamis/{version('tamis')} (curates image-text datasets)"


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """How to fetch.

    A try, its redirects included, may take ``timeout_seconds``. An item may take ``retries + 1`` times that for its
    tries and the waits between them; the time in which it waits for its host's turn does not count, so that a busy
    host's items end as an idle host's do. Memory is at most ``concurrency * max_bytes``, and in practice the mean.
    """

    concurrency: int = 256
    per_host: int = 16
    per_host_rate: float | None = None
    """The most requests a second that one host is asked, robots.txt and redirects included; None sets no limit."""
    timeout_seconds: float = 20.0
    connect_timeout_seconds: float = 10.0
    max_bytes: int = 25_000_000
    retries: int = 2
    back_off_seconds: float = 1.0
    """The wait after the first try; it doubles with each, and a longer ``Retry-After`` is obeyed."""
    max_redirects: int = 5
    allow_hosts: tuple[str, ...] = ()
    user_agent: str = field(default_factory=user_agent)
    proxy: str = ""
    """A proxy's URL. It is asked as it stands, and then judging the addresses that names resolve to is its affair."""
    seed: int = 0
    """Of the jitter in the waits."""
    robots: bool = True
    """Whether each host's robots.txt is read first and obeyed (RFC 9309)."""
    max_crawl_delay_seconds: float = 10.0
    """A host whose robots.txt asks for longer pauses than this is not asked at all."""
    robots_tags: tuple[str, ...] = ("noai", "noimageai")
    """The words of the header ``X-Robots-Tag`` that are obeyed; any of ``OBJECTIONS``."""
    tdm_reservation: bool = True
    """Whether the header ``tdm-reservation: 1`` is obeyed (TDMRep: rights to text and data mining are reserved)."""
    opt_outs: OptOuts = field(default_factory=OptOuts, repr=False)

    def __post_init__(self) -> None:
        for name in ("concurrency", "per_host", "timeout_seconds", "connect_timeout_seconds", "max_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"fetch.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("retries", "back_off_seconds", "max_redirects", "max_crawl_delay_seconds"):
            if getattr(self, name) < 0:
                raise ConfigError(f"fetch.{name} is {getattr(self, name)}; it must be 0 or more")
        if self.per_host_rate is not None and self.per_host_rate <= 0:
            raise ConfigError(f"fetch.per_host_rate is {self.per_host_rate}; it must be above 0, or null for no limit")
        for tag in self.robots_tags:
            if tag not in OBJECTIONS:
                raise ConfigError(f"fetch.robots_tags has {tag!r}; the words are {', '.join(OBJECTIONS)}")

    @property
    def product(self) -> str:
        """The name by which robots.txt and headers speak of this crawler: ``tamis`` in ``tamis/1.0 (...)``."""
        found = _PRODUCT.match(self.user_agent)
        return found[0].lower() if found else "tamis"

    @property
    def deadline_seconds(self) -> float:
        """What all tries of an item, and the waits between them, may take together."""
        return (self.retries + 1) * self.timeout_seconds
