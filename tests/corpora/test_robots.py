"""robots.txt as RFC 9309 has it: rules, their lack, what is remembered and for how long."""

from __future__ import annotations

import time

import pytest

from tamis.corpora import robots
from tamis.corpora.robots import MAX_ROBOTS_BYTES, RobotsMemory, Rules, read_rules, robots_url
from tamis.corpora.urls import read_url

TEXT = b"""\xef\xbb\xbfUser-agent: *
Disallow: /private/
Allow: /private/open
Disallow: /*.gif$
Crawl-delay: 2

User-agent: tamis
User-agent: otherbot
Disallow: /no-tamis
Crawl-delay: 0.5
"""


def refusal(path: str, product: str, delay: float = 10.0) -> str | None:
    return read_rules(None, TEXT, False).refusal(f"http://a.example{path}", product, delay)


@pytest.mark.parametrize(
    ("path", "product", "expected"),
    [
        ("/private/x.jpg", "bot", "robots_disallowed"),
        ("/private/open.jpg", "bot", None),
        ("/x.gif", "bot", "robots_disallowed"),
        ("/x.gif?y", "bot", None),
        ("/private/x.jpg", "tamis", None),
        ("/no-tamis/x.jpg", "tamis", "robots_disallowed"),
        ("/no-tamis/x.jpg", "bot", None),
    ],
)
def test_the_rules_for_the_crawler_hold_and_else_those_for_all(path: str, product: str, expected: str | None) -> None:
    assert refusal(path, product) == expected


def test_crawl_delay_is_told_and_one_beyond_patience_refuses() -> None:
    rules = read_rules(None, TEXT, False)
    assert (rules.delay("tamis"), rules.delay("bot"), Rules().delay("bot")) == (0.5, 2.0, 0.0)
    assert (refusal("/", "bot", 2.0), refusal("/", "bot", 1.9)) == (None, "robots_crawl_delay")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *((reason, None) for reason in ("http_400", "http_401", "http_403", "http_404", "http_410", "http_304")),
        *((reason, None) for reason in ("empty", "too_many_redirects", "bad_redirect")),
        *((reason, "robots_unavailable") for reason in ("http_429", "http_500", "http_503", "timeout", "reset")),
        *((reason, reason) for reason in ("dns", "blocked_address", "connection_refused", "tls", "asked_to_wait")),
    ],
)
def test_without_an_answer_all_or_nothing_may_be_asked(reason: str, expected: str | None) -> None:
    assert read_rules(reason, None, False).refusal("http://a/x", "tamis", 10) == expected


def test_fault_of_another_host_is_not_this_one_s() -> None:
    assert read_rules("dns", None, True).refusal("http://a/x", "tamis", 10) == "robots_unavailable"


def test_what_stands_beyond_the_limit_does_not_hold() -> None:
    start = b"User-agent: *\nDisallow: /a\n"
    text = start + b"#" * (MAX_ROBOTS_BYTES - len(start) - 1) + b"\nDisallow: /b\n"
    rules = read_rules(None, text, False)
    assert [rules.refusal(f"http://h/{x}", "tamis", 1) for x in "ab"] == ["robots_disallowed", None]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/x/y?http://b/", "http://a.example/robots.txt"),
        ("https://a.example:8443/", "https://a.example:8443/robots.txt"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]/robots.txt"),
    ],
)
def test_rules_stand_at_the_root(url: str, expected: str) -> None:
    assert robots_url(read_url(url)) == expected


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rules_are_remembered_for_a_day_and_faults_for_ten_minutes() -> None:
    clock = Clock()
    memory = RobotsMemory(clock)
    memory.keep("good", Rules())
    memory.keep("bad", Rules(fault="dns"))
    clock.now = 599
    assert (memory.recall("good"), memory.recall("bad")) == (Rules(), Rules(fault="dns"))
    clock.now = 601
    assert (memory.recall("good"), memory.recall("bad")) == (Rules(), None)
    clock.now = 86_401
    assert memory.recall("good") is None


def test_the_least_lately_used_rules_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "REMEMBERED_CHARACTERS", 1000)
    memory = RobotsMemory()
    memory.keep("a", Rules(characters=300))
    memory.keep("b", Rules(characters=300))
    assert memory.recall("a")
    memory.keep("a", Rules(characters=200))
    memory.keep("c", Rules(characters=300))
    memory.keep("d", Rules(characters=300))
    assert [name for name in "abcd" if memory.recall(name)] == ["a", "c", "d"]
    memory.keep("e", Rules(characters=300))
    assert [name for name in "acde" if memory.recall(name)] == ["d", "e"]
    for number in range(100):
        memory.keep(str(number), Rules())
    assert len(memory) == 1000 // 64


@pytest.mark.parametrize(
    "text",
    [
        "User-agent: *\n" + "".join(f"Disallow: /{'*a' * 9}{n}$\n" for n in range(20_000)),
        "".join(f"User-agent: a{n}\n" for n in range(30_000)) + "Disallow: /\n",
        "Disallow: /" + "*a" * 200_000 + "$",
        "\0" * 500_000,
        "User-agent: *\nCrawl-delay: inf\nCrawl-delay: -1\nCrawl-delay: nan\nRequest-rate: 9/0\n",
    ],
)
def test_hostile_rules_end_soon_and_without_an_accident(text: str) -> None:
    started = time.process_time()
    rules = read_rules(None, text.encode(), False)
    for number in range(3):
        rules.refusal(f"http://h/{'a' * 3000}{number}", "tamis", 10)
    assert time.process_time() - started < 20
