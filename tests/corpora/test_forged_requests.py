"""Server-side request forgery: a table of tricks that have worked on others, none of which reaches the inside here.

A web server on the loopback is the secret. Nothing is allowed, or only another server is; names resolve as the test says.
For each trick: the reason in the ledger, and that the secret heard nothing.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tamis.corpora import names
from tamis.corpora.fetching import Fetched, FetchSettings, Request, fetch
from tamis.corpora.opt_outs import OptOuts

from .http_server import Web, redirect, reply

SECRET = b"the key of the kingdom"

LITERALS = {
    "dotted": "http://127.0.0.1:{port}/",
    "decimal": "http://2130706433:{port}/",
    "hexadecimal": "http://0x7f000001:{port}/",
    "octal": "http://0177.0.0.1:{port}/",
    "octal in one number": "http://017700000001:{port}/",
    "mixed bases": "http://0x7f.0.0x0.01:{port}/",
    "short forms": "http://127.1:{port}/",
    "another address of the loopback": "http://127.99.3.7:{port}/",
    "no address at all": "http://0.0.0.0:{port}/",
    "zero": "http://0:{port}/",
    "full-width digits": "http://１２７.０.０.１:{port}/",
    "circled digits": "http://①②⑦.⓪.⓪.①:{port}/",
    "ideographic dots": "http://127。0。0。1:{port}/",
    "a dot at the end": "http://127.0.0.1.:{port}/",
    "IPv6 loopback": "http://[::1]:{port}/",
    "IPv6 unspecified": "http://[::]:{port}/",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]:{port}/",
    "IPv4-mapped in hexadecimal": "http://[0:0:0:0:0:ffff:7f00:1]:{port}/",
    "IPv4-compatible": "http://[::127.0.0.1]:{port}/",
    "NAT64": "http://[64:ff9b::7f00:1]:{port}/",
    "NAT64 of a site": "http://[64:ff9b:1::7f00:1]:{port}/",
    "6to4": "http://[2002:7f00:1::]:{port}/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/",
    "ISATAP": "http://[2606:4700::5efe:7f00:1]:{port}/",
    "unique local": "http://[fd00:ec2::254]/latest/meta-data/",
    "link-local": "http://[fe80::1]:{port}/",
    "metadata of most clouds": "http://169.254.169.254/latest/meta-data/",
    "metadata in decimal": "http://2852039166/latest/meta-data/",
    "metadata of Alibaba": "http://100.100.100.200/latest/meta-data/",
    "metadata of Oracle": "http://192.0.0.192/opc/v1/",
    "host channel of Azure": "http://168.63.129.16/machine?comp=goalstate",
    "private 10": "http://10.0.0.1/",
    "private 172": "http://172.31.255.1/",
    "private 192": "http://192.168.1.1/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
}

NAMED = {
    "localhost": "http://localhost:{port}/",
    "localhost with capitals and a dot": "http://LocalHost.:{port}/",
    "a name that points inside": "http://inside.example:{port}/",
    "a name with the address in it": "http://127.0.0.1.nip.example:{port}/",
    "a name with an inner IPv6 address": "http://six.example:{port}/",
    "a name with a mapped address": "http://mapped.example:{port}/",
    "a name in Unicode": "http://ınside.example:{port}/",
    "one inner address among several": "http://several.example:{port}/",
}

MALFORMED = {
    "credentials that look like a host": "http://public.example@127.0.0.1:{port}/",
    "credentials": "http://user:word@127.0.0.1:{port}/",
    "a second at sign": "http://127.0.0.1:{port}@public.example@127.0.0.1:{port}/",
    "a zone": "http://[fe80::1%25lo]:{port}/",
    "an escaped host": "http://127%2e0%2e0%2e1:{port}/",
    "a line break for a second request": "http://a.example%0d%0aHost: 127.0.0.1/\r\n",
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.1/etc/passwd",
    "gopher": "gopher://127.0.0.1:{port}/_GET%20/",
    "dict": "dict://127.0.0.1:{port}/info",
    "ftp": "ftp://127.0.0.1:{port}/",
    "ldap": "ldap://127.0.0.1:{port}/",
    "jar": "jar:http://127.0.0.1:{port}!/",
    "data": "data:text/plain,hello",
    "an address too long": "http://127.0.0.1.5:{port}/",
    "an address too large": "http://4294967297:{port}/",
}

ADDRESSES = {
    "localhost": ["127.0.0.1"],
    "inside.example": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "xn--nside-m4a.example": ["127.0.0.1"],
    "several.example": ["10.0.0.1", "127.0.0.1", "fe80::1"],
}


class Resolver:
    """The system's, as the tests have it; names not in ``known`` do not exist. A name may answer otherwise each time."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = dict(ADDRESSES)
        self.in_turn: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        turns = self.in_turn.get(host)
        found = turns.pop(0) if turns else self.known.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    known = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", known.getaddrinfo)
    return known


@pytest.fixture
def secret(web: Web) -> Web:
    web.pages["/"] = web.pages["/robots.txt"] = reply(200, SECRET)
    return web


def ask(url: str, *allowed: str, **changes: Any) -> Fetched:
    how = FetchSettings(**{"allow_hosts": allowed, "timeout_seconds": 5.0, "back_off_seconds": 0.01, **changes})
    [outcome] = fetch([Request(0, url)], how)
    return outcome


@pytest.mark.parametrize("robots", [True, False], ids=["robots", "no robots"])
@pytest.mark.parametrize("trick", [*LITERALS, *NAMED])
def test_no_spelling_of_the_inside_is_asked(trick: str, robots: bool, secret: Web, resolver: Resolver) -> None:
    got = ask({**LITERALS, **NAMED}[trick].format(port=secret.port), robots=robots)
    assert (got.reason, got.body, got.tries) == ("blocked_address", None, 1)
    assert secret.connections == 0


@pytest.mark.parametrize("trick", MALFORMED)
def test_what_can_be_read_in_two_ways_is_not_read(trick: str, secret: Web, resolver: Resolver) -> None:
    got = ask(MALFORMED[trick].format(port=secret.port), "127.0.0.1", "public.example", "a.example")
    assert (got.reason, got.body, got.tries) == ("bad_url", None, 0)
    assert (secret.connections, resolver.asked) == (0, [])


@pytest.mark.parametrize("trick", [*LITERALS, *NAMED])
@pytest.mark.parametrize("page", ["/", "/robots.txt"])
def test_no_redirect_leads_inside(trick: str, page: str, secret: Web, other_web: Web, resolver: Resolver) -> None:
    url = {**LITERALS, **NAMED}[trick].format(port=secret.port)
    location = url.encode().decode("latin-1")  # as servers send it
    other_web.pages[page] = redirect(location)
    got = ask(other_web.url("/"), f"127.0.0.1:{other_web.port}")
    assert got.reason in ({"blocked_address", "bad_redirect"} if page == "/" else {"robots_unavailable", "http_404"})
    assert (got.body, secret.connections) == (None, 0)


@pytest.mark.parametrize("trick", MALFORMED)
def test_no_redirect_leaves_the_web(trick: str, secret: Web, other_web: Web, resolver: Resolver) -> None:
    other_web.pages["/"] = redirect(MALFORMED[trick].format(port=secret.port).strip())
    got = ask(other_web.url("/"), f"127.0.0.1:{other_web.port}", robots=False)
    assert got.reason in {"bad_redirect", "blocked_address", "http_302", "http_404"}
    assert (got.body, secret.connections) == (None, 0)


def test_a_name_is_not_looked_up_again_between_check_and_connection(secret: Web, resolver: Resolver) -> None:
    resolver.in_turn["rebinding.example"] = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]]
    got = ask(f"http://rebinding.example:{secret.port}/", "127.0.0.1", robots=False)
    assert got.body == SECRET
    assert resolver.asked == ["rebinding.example"], "libcurl connects to the address that was judged"


@pytest.mark.parametrize("robots", [True, False])
def test_a_name_that_turns_inside_from_one_request_to_the_next_is_refused(
    robots: bool, secret: Web, other_web: Web, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "REMEMBERED_SECONDS", 0.0)
    other_web.pages["/"] = reply(200, b"public")
    resolver.in_turn["turning.example"] = [["127.0.0.1"]] * (1 + robots)
    resolver.known["turning.example"] = ["127.0.0.2"]
    how = FetchSettings(allow_hosts=(f"127.0.0.1:{other_web.port}",), concurrency=1, robots=robots, timeout_seconds=5)
    url = f"http://turning.example:{other_web.port}/"
    first, second = fetch([Request(0, url), Request(1, url + "?again")], how)
    assert first.body == b"public"
    assert second.body == b"public" or second.reason == "blocked_address"  # the connection to the first may be kept
    assert secret.connections == 0


def test_the_proxy_of_the_environment_is_no_way_inside(
    secret: Web, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{secret.port}")
    assert ask("http://inside.example/").reason == "blocked_address"
    assert secret.connections == 0


def test_an_allowed_port_opens_no_other(secret: Web, other_web: Web, resolver: Resolver) -> None:
    other_web.pages["/"] = reply(200, b"public")
    allowed = f"127.0.0.1:{other_web.port}"
    assert ask(other_web.url("/"), allowed).body == b"public"
    assert ask(secret.url("/"), allowed).reason == "blocked_address"
    assert ask(f"http://inside.example:{secret.port}/", allowed).reason == "blocked_address"
    assert secret.connections == 0


def test_an_allowed_name_does_not_open_its_address(secret: Web, resolver: Resolver) -> None:
    assert ask(f"http://inside.example:{secret.port}/", "inside.example").body == SECRET
    before = secret.connections
    assert ask(secret.url("/"), "inside.example").reason == "blocked_address"
    assert ask(f"http://localhost:{secret.port}/", "inside.example").reason == "blocked_address"
    assert secret.connections == before


def test_opting_out_is_not_got_round_by_another_spelling(secret: Web, resolver: Resolver) -> None:
    opt_outs = OptOuts.parse(["inside.example", "127.0.0.1"])
    for url in ("http://INSIDE.example.:{port}/", "http://2130706433:{port}/", "http://a.inside.example:{port}/"):
        assert ask(url.format(port=secret.port), "127.0.0.1", opt_outs=opt_outs).reason == "opted_out"
    assert secret.connections == 0
