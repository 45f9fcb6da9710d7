"""Names are looked up side by side, each once, and remembered as long as they should be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tamis.corpora import names as module
from tamis.corpora.names import Found, Names, look_up


class Resolver:
    """Stands in for the system's: answers from ``hosts``; those in ``slow`` wait until ``patience`` is set."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str] | Exception] = {}
        self.slow: set[str] = set()
        self.patience = threading.Event()
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: None, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host in self.slow:
            self.patience.wait(10)
        found = self.hosts.get(host, socket.gaierror(socket.EAI_NONAME, "unknown"))
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    stand_in = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", stand_in.getaddrinfo)
    yield stand_in
    stand_in.patience.set()


def names(num_threads: int = 8) -> tuple[Names, threading.Semaphore]:
    """A resolver, and what counts its rings."""
    rung = threading.Semaphore(0)
    return Names(num_threads, rung.release), rung


def answers(asked: Names, rung: threading.Semaphore, number: int) -> dict[str, Found]:
    for _ in range(number):
        assert rung.acquire(timeout=10)
    return dict(asked.answered())


def test_addresses_come_once_each_in_order(resolver: Resolver) -> None:
    resolver.hosts["a"] = ["2606:4700::1", "1.1.1.1", "2606:4700::1"]
    assert look_up("a") == Found(("2606:4700::1", "1.1.1.1"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "dns"),
        (socket.gaierror(socket.EAI_FAIL, "broken"), "dns"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "dns_unavailable"),
        (OSError(24, "too many files"), "dns_unavailable"),
        (UnicodeError("label too long"), "dns"),
    ],
)
def test_faults_have_reasons(resolver: Resolver, fault: Exception, reason: str) -> None:
    resolver.hosts["a"] = fault
    assert look_up("a") == Found((), reason)


def test_slow_names_hold_up_no_others(resolver: Resolver) -> None:
    resolver.slow = {f"slow{n}" for n in range(7)}
    resolver.hosts.update({f"quick{n}": ["1.1.1.1"] for n in range(50)})
    resolver.hosts.update({host: ["2.2.2.2"] for host in resolver.slow})
    asked, rung = names(8)
    for host in [*sorted(resolver.slow), *(f"quick{n}" for n in range(50))]:
        asked.ask(host)
    assert sorted(answers(asked, rung, 50)) == sorted(f"quick{n}" for n in range(50))
    resolver.patience.set()
    assert answers(asked, rung, 7) == dict.fromkeys(resolver.slow, Found(("2.2.2.2",)))
    asked.close()


def test_name_is_looked_up_once_while_it_is_under_way(resolver: Resolver) -> None:
    resolver.slow = {"a"}
    resolver.hosts["a"] = ["1.1.1.1"]
    asked, rung = names()
    for _ in range(5):
        asked.ask("a")
    resolver.patience.set()
    assert answers(asked, rung, 1) == {"a": Found(("1.1.1.1",))}
    assert resolver.asked == ["a"]
    asked.close()


def test_answers_are_remembered_for_a_while(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver.hosts = {"good": ["1.1.1.1"], "busy": socket.gaierror(socket.EAI_AGAIN, "later")}
    asked, rung = names()
    assert asked.recall("good") is None
    for host in ("good", "missing", "busy"):
        asked.ask(host)
    answers(asked, rung, 3)
    known = [asked.recall(host) for host in ("good", "missing", "busy")]
    assert known == [Found(("1.1.1.1",)), Found((), "dns"), None]
    later = time.monotonic() + module.REMEMBERED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert [asked.recall(host) for host in ("good", "missing")] == [None, None]
    asked.close()


def test_memory_is_bounded_and_forgets_the_oldest(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_NAMES", 3)
    asked, rung = names(1)
    for host in "abcde":
        asked.ask(host)
    answers(asked, rung, 5)
    assert [host for host in "abcde" if asked.recall(host)] == ["c", "d", "e"]
    asked.close()


@pytest.mark.parametrize("num_slow", [0, 20])
def test_threads_are_as_many_as_needed_and_go_home(resolver: Resolver, num_slow: int) -> None:
    others = set(threading.enumerate())

    def workers() -> int:
        return len(set(threading.enumerate()) - others)

    resolver.slow = {f"slow{n}" for n in range(num_slow)}
    asked, rung = names(5)
    asked.ask("quick")
    answers(asked, rung, 1)
    assert workers() == 1
    for host in sorted(resolver.slow):
        asked.ask(host)
    assert workers() == min(5, max(1, num_slow))
    until = time.monotonic() + 10
    while len(resolver.asked) < 1 + min(5, num_slow) and time.monotonic() < until:
        time.sleep(0.01)  # a thread that has not begun when the names are closed never does
    asked.close()
    resolver.patience.set()
    while workers() and time.monotonic() < until:
        time.sleep(0.01)
    assert workers() == 0
    assert len(resolver.asked) == 1 + min(5, num_slow)  # what had not been begun is left undone
