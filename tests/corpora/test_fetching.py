"""Fetching from real servers on the loopback: good ones, broken ones, hostile ones."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

import pycurl
import pytest

from tamis.corpora.errors import ConfigError
from tamis.corpora.fetching import Fetched, FetchSettings, Request, fetch
from tamis.corpora.opt_outs import OptOuts
from tamis.corpora.robots import RobotsMemory

from .http_server import UNTRUSTED, Web, cut, drip, flood, hang, in_turn, redirect, reply, reset, slow

BODY = bytes(range(256)) * 8


def settings(*webs: Web, **changes: Any) -> FetchSettings:
    """Quick ones, that allow these servers and nothing else on the loopback."""
    hosts = tuple(f"127.0.0.1:{web.port}" for web in webs)
    return FetchSettings(
        **{"allow_hosts": hosts, "back_off_seconds": 0.01, "timeout_seconds": 5.0, "robots": False, **changes}
    )


def fetch_all(urls: list[str], how: FetchSettings) -> list[Fetched]:
    """The outcomes in the order of the URLs."""
    outcomes = sorted(fetch([Request(slot, url) for slot, url in enumerate(urls)], how), key=lambda f: f.slot)
    assert [outcome.slot for outcome in outcomes] == list(range(len(urls)))
    return outcomes


def fetch_one(url: str, how: FetchSettings) -> Fetched:
    return fetch_all([url], how)[0]


def test_body_arrives_with_its_account(web: Web) -> None:
    web.pages["/cat.jpg"] = reply(200, BODY)
    got = fetch_one(web.url("/cat.jpg"), settings(web))
    assert (got.body, got.reason, got.http_status, got.tries, got.bytes) == (BODY, None, 200, 1, len(BODY))
    assert (got.url, got.final_url) == (web.url("/cat.jpg"), web.url("/cat.jpg"))
    assert 0 < got.seconds < 5


def test_request_says_who_asks_and_offers_no_compression(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    fetch_one(web.url("/"), settings(web))
    assert web.headers["User-Agent"].startswith("tamis/")
    assert set(web.headers) == {"Host", "User-Agent", "Accept"}
    fetch_one(web.url("/"), settings(web, user_agent="tamis/1.0 (+https://example.org/crawl)"))
    assert web.headers["User-Agent"] == "tamis/1.0 (+https://example.org/crawl)"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 304])
def test_refusal_is_final(web: Web, status: int) -> None:
    web.pages["/"] = reply(status)
    got = fetch_one(web.url("/"), settings(web))
    assert (got.body, got.reason, got.http_status, got.tries) == (None, f"http_{status}", status, 1)
    assert len(web.asked) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again(web: Web, status: int) -> None:
    web.pages["/"] = in_turn(reply(status), reply(status), reply(200, BODY))
    got = fetch_one(web.url("/"), settings(web, retries=2))
    assert (got.body, got.reason, got.http_status, got.tries) == (BODY, None, 200, 3)


def test_tries_are_counted(web: Web) -> None:
    web.pages["/"] = reply(503)
    got = fetch_one(web.url("/"), settings(web, retries=2))
    assert (got.reason, got.http_status, got.tries, len(web.asked)) == ("http_503", 503, 3, 3)
    assert fetch_one(web.url("/"), settings(web, retries=0)).tries == 1


def test_waits_double(web: Web) -> None:
    web.pages["/"] = reply(500)
    got = fetch_one(web.url("/"), settings(web, retries=2, back_off_seconds=0.1))
    first, second, third = (when for _, when in web.asked)
    assert second - first >= 0.05
    assert third - second >= 0.1
    assert got.seconds >= 0.15


def test_retry_after_is_obeyed(web: Web) -> None:
    web.pages["/"] = in_turn(reply(503, Retry_After="1"), reply(200, BODY))
    got = fetch_one(web.url("/"), settings(web))
    first, second = (when for _, when in web.asked)
    assert got.body == BODY
    assert second - first >= 1.0
    assert got.seconds >= 1.0


def test_retry_after_beyond_the_deadline_ends_it_at_once(web: Web) -> None:
    web.pages["/"] = reply(429, Retry_After="16")
    got = fetch_one(web.url("/"), settings(web, timeout_seconds=5.0, retries=2))
    assert (got.reason, got.tries) == ("http_429", 1)
    assert got.seconds < 5


def test_redirects_are_followed(web: Web) -> None:
    web.pages["/a"] = redirect("b", 301)
    web.pages["/b"] = redirect("/c?x=1#y", 307)
    web.pages["/c"] = redirect(web.url("/d e"), 308)
    web.pages["/d%20e"] = reply(200, BODY)
    got = fetch_one(web.url("/a"), settings(web))
    assert (got.body, got.final_url, got.tries) == (BODY, web.url("/d%20e"), 1)
    assert [path for path, _ in web.asked] == ["/a", "/b", "/c?x=1", "/d%20e"]


@pytest.mark.parametrize("location", ["/café.jpg", "/caf%C3%A9.jpg"])
def test_redirect_to_unquoted_location_is_followed(web: Web, location: str) -> None:
    web.pages["/a"] = redirect(location.encode().decode("latin-1"))
    web.pages["/caf%C3%A9.jpg"] = reply(200, BODY)
    assert fetch_one(web.url("/a"), settings(web)).body == BODY


def test_redirects_are_counted(web: Web) -> None:
    web.pages["/loop"] = redirect("/loop")
    got = fetch_one(web.url("/loop"), settings(web, max_redirects=5))
    assert (got.body, got.reason, got.http_status, got.tries) == (None, "too_many_redirects", 302, 1)
    assert len(web.asked) == 6


def test_try_after_redirects_starts_over(web: Web) -> None:
    web.pages["/a"] = redirect("/b")
    web.pages["/b"] = in_turn(reply(503), reply(200, BODY))
    got = fetch_one(web.url("/a"), settings(web, max_redirects=1))
    assert (got.body, got.tries) == (BODY, 2)
    assert [path for path, _ in web.asked] == ["/a", "/b", "/a", "/b"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1:70/_x", "ftp://a.example/"])
def test_redirect_out_of_the_web_is_refused(web: Web, location: str) -> None:
    web.pages["/"] = redirect(location)
    got = fetch_one(web.url("/"), settings(web))
    assert (got.body, got.reason, got.http_status, got.tries) == (None, "bad_redirect", 302, 1)


def test_redirect_without_a_place_is_an_answer(web: Web) -> None:
    web.pages["/"] = reply(302, BODY)
    assert fetch_one(web.url("/"), settings(web)).reason == "http_302"


def test_redirect_to_the_metadata_service_is_refused(web: Web) -> None:
    web.pages["/"] = redirect("http://169.254.169.254/latest/meta-data/")
    got = fetch_one(web.url("/"), settings(web))
    assert (got.body, got.reason, got.tries, got.final_url) == (
        None,
        "blocked_address",
        1,
        "http://169.254.169.254/latest/meta-data/",
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1"])
def test_redirect_to_another_port_inside_sends_nothing(web: Web, other_web: Web, host: str) -> None:
    web.pages["/"] = redirect(other_web.url("/secret", host))
    other_web.pages["/secret"] = reply(200, BODY)
    got = fetch_one(web.url("/"), settings(web))
    assert (got.body, got.reason, got.tries) == (None, "blocked_address", 1)
    assert other_web.connections == 0


INSIDE = (
    *("127.0.0.1", "localhost", "LOCALHOST.", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"),
    *("１２７.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
)


@pytest.mark.parametrize("host", INSIDE)
def test_loopback_is_refused_by_every_name(web: Web, host: str) -> None:
    got = fetch_one(web.url("/", host), settings())
    assert (got.body, got.reason, got.http_status, got.tries) == (None, "blocked_address", None, 1)
    assert web.connections == 0


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}", "localhost", "localhost:{port}"])
def test_allowed_host_is_asked(web: Web, entry: str) -> None:
    web.pages["/"] = reply(200, BODY)
    how = settings(allow_hosts=(entry.format(port=web.port),))
    assert fetch_one(web.url("/", "localhost"), how).body == BODY


def test_broken_allow_list_is_told() -> None:
    with pytest.raises(ConfigError, match="allow_hosts"):
        list(fetch([], settings(allow_hosts=("http://a/",))))


def test_kept_connection_does_not_get_round_the_address_check(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    how = settings(allow_hosts=(f"localhost:{web.port}",), concurrency=1)
    first, inside, again = fetch_all([web.url("/", "localhost"), web.url("/"), web.url("/", "localhost")], how)
    assert (first.body, again.body) == (BODY, BODY)
    assert (inside.body, inside.reason) == (None, "blocked_address")
    assert (web.connections, len(web.asked)) == (1, 2)


def test_connections_are_kept(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    web.pages["/no"] = reply(404, BODY)
    urls = [web.url("/"), web.url("/no")] * 20
    assert Counter(f.reason for f in fetch_all(urls, settings(web, per_host=2))) == {None: 20, "http_404": 20}
    assert web.connections <= 2


def test_environment_proxies_are_not_asked(web: Web, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    web.pages["/"] = reply(200, BODY)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    assert fetch_one(web.url("/"), settings(web)).body == BODY


def test_named_proxy_is_asked_and_inner_addresses_are_not(web: Web) -> None:
    web.pages["http://images.example/cat.jpg"] = reply(200, BODY)
    how = settings(proxy=f"http://127.0.0.1:{web.port}")
    outside, inside, disguised = fetch_all(
        ["http://images.example/cat.jpg", "http://169.254.169.254/", "http://2852039166/"], how
    )
    assert outside.body == BODY
    assert (inside.reason, disguised.reason) == ("blocked_address", "blocked_address")
    assert [path for path, _ in web.asked] == ["http://images.example/cat.jpg"]


def test_hanging_server_holds_up_nobody(web: Web) -> None:
    web.pages["/hang"] = hang
    web.pages["/"] = reply(200, BODY)
    urls = [web.url("/hang"), *[web.url("/")] * 30]
    how = settings(web, timeout_seconds=0.5, retries=0, concurrency=4, per_host=4)
    outcomes = list(fetch([Request(slot, url) for slot, url in enumerate(urls)], how))
    assert [outcome.slot for outcome in outcomes][-1] == 0
    assert (outcomes[-1].reason, outcomes[-1].http_status) == ("timeout", None)
    assert all(outcome.body == BODY for outcome in outcomes[:-1])


def test_crowded_host_holds_up_only_itself(web: Web) -> None:
    web.pages["/hang"] = hang
    web.pages["/"] = reply(200, BODY)
    urls = [web.url("/hang", "localhost")] * 2 + [web.url("/")] * 20
    how = settings(web, allow_hosts=("127.0.0.1",), timeout_seconds=0.8, retries=0, concurrency=8, per_host=1)
    outcomes = [outcome.slot for outcome in fetch([Request(slot, url) for slot, url in enumerate(urls)], how)]
    assert outcomes == [*range(2, 22), 0, 1]


def test_timeout_on_a_kept_connection_is_the_server_s(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    web.pages["/hang"] = hang
    how = settings(web, timeout_seconds=0.3, retries=0, concurrency=1)
    assert [f.reason for f in fetch_all([web.url("/"), web.url("/hang")], how)] == [None, "timeout"]
    assert web.connections == 1


def test_resting_request_does_not_stop_the_list(web: Web) -> None:
    web.pages["/busy"] = reply(503, Retry_After="2")
    web.pages["/"] = reply(200, BODY)
    urls = [web.url("/busy"), *["nonsense"] * 50, web.url("/")]
    outcomes = fetch([Request(slot, url) for slot, url in enumerate(urls)], settings(web, concurrency=2))
    assert [outcome.slot for outcome in islice(outcomes, 51)] == list(range(1, 52))
    assert web.times_asked("/busy") == 1
    outcomes.close()  # type: ignore[attr-defined]


def test_dripping_server_is_cut_off(web: Web) -> None:
    web.pages["/"] = drip
    got = fetch_one(web.url("/"), settings(web, timeout_seconds=0.3, retries=0))
    assert (got.body, got.reason, got.http_status) == (None, "timeout", 200)


def test_deadline_of_a_try_covers_its_redirects(web: Web) -> None:
    web.pages["/"] = slow(redirect("/"), 0.15)
    got = fetch_one(web.url("/"), settings(web, timeout_seconds=0.4, retries=0, max_redirects=50))
    assert got.reason == "timeout"
    assert len(web.asked) < 5


@pytest.mark.parametrize("page", [flood, reply(200, bytes(70_000)), cut(b"", 70_000)])
def test_body_beyond_the_limit_is_not_read(web: Web, page: Any) -> None:
    web.pages["/"] = page
    got = fetch_one(web.url("/"), settings(web, max_bytes=65_536))
    assert (got.body, got.reason, got.http_status, got.tries) == (None, "too_large", 200, 1)
    assert got.bytes <= 65_536 + (1 << 17)


def test_endless_body_ends_where_libcurl_counts_announced_bytes_only(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pycurl, "MAXFILESIZE_LARGE", pycurl.MAXCONNECTS)  # as libcurl did before 8.4
    web.pages["/"] = flood
    assert fetch_one(web.url("/"), settings(web, max_bytes=65_536)).reason == "too_large"


def test_body_of_exactly_the_limit_is_taken(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    assert fetch_one(web.url("/"), settings(web, max_bytes=len(BODY))).body == BODY
    assert fetch_one(web.url("/"), settings(web, max_bytes=len(BODY) - 1)).reason == "too_large"


def test_cut_body_is_told_and_tried_again(web: Web) -> None:
    web.pages["/"] = in_turn(cut(BODY, len(BODY) + 1), reply(200, BODY))
    web.pages["/always"] = cut(BODY, len(BODY) + 1)
    got, cut_off = fetch_all([web.url("/"), web.url("/always")], settings(web))
    assert (got.body, got.tries) == (BODY, 2)
    assert (cut_off.body, cut_off.reason, cut_off.http_status, cut_off.tries) == (None, "truncated", 200, 3)
    assert cut_off.bytes == len(BODY)


def test_error_page_that_is_cut_off_is_still_its_status(web: Web) -> None:
    web.pages["/"] = cut(b"not fou", 100)
    web.pages["/gone"] = lambda exchange: exchange.send(404, b"not fou", {}, 100)
    assert fetch_one(web.url("/gone"), settings(web)).reason == "http_404"


def test_no_bytes_are_empty(web: Web) -> None:
    web.pages["/"] = reply(200)
    web.pages["/204"] = reply(204)
    assert {f.reason for f in fetch_all([web.url("/"), web.url("/204")], settings(web))} == {"empty"}


def test_reset_is_told(web: Web) -> None:
    web.pages["/"] = reset
    got = fetch_one(web.url("/"), settings(web, retries=1))
    assert (got.reason, got.http_status, got.tries) == ("reset", None, 2)


def test_what_is_no_http_is_told(web: Web) -> None:
    def chatter(exchange: Any) -> None:
        exchange.wfile.write(b"220 mail.example ESMTP\r\n" * 100)
        exchange.close_connection = True

    web.pages["/"] = chatter
    assert fetch_one(web.url("/"), settings(web, retries=0)).reason == "bad_response"


def test_closed_port_refuses(closed_port: int) -> None:
    got = fetch_one(f"http://127.0.0.1:{closed_port}/", settings(allow_hosts=("127.0.0.1",), retries=1))
    assert (got.reason, got.http_status, got.tries) == ("connection_refused", None, 2)


def test_server_that_accepts_nobody_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        how = settings(allow_hosts=("127.0.0.1",), connect_timeout_seconds=0.2, retries=0)
        got = fetch_one(f"http://127.0.0.1:{port}/", how)
        for client in waiting:
            client.close()
    assert (got.reason, got.http_status) == ("connect_timeout", None)
    assert got.seconds < 4


Hosts = dict[str, list[str] | int]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Names that exist in this test: their addresses, or the resolver's error; all others do not exist."""
    known: Hosts = {}

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        found = known.get(host, socket.EAI_NONAME)
        if isinstance(found, int):
            raise socket.gaierror(found, "refused")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_unknown_name_is_final_and_a_busy_resolver_is_not(hosts: Hosts) -> None:
    hosts["busy.example"] = socket.EAI_AGAIN
    unknown, busy = fetch_all(["http://unknown.example/", "http://busy.example/"], settings(retries=2))
    assert (unknown.reason, unknown.http_status, unknown.tries) == ("dns", None, 1)
    assert (busy.reason, busy.http_status, busy.tries) == ("dns_unavailable", None, 3)


def test_name_is_asked_at_its_own_address(web: Web, hosts: Hosts) -> None:
    hosts["images.example"] = ["127.0.0.1"]
    web.pages["/"] = reply(200, BODY)
    assert fetch_one(web.url("/", "images.example"), settings(web)).body == BODY
    assert web.headers["Host"] == f"images.example:{web.port}"


def test_name_that_leads_inside_is_refused(web: Web, hosts: Hosts) -> None:
    hosts["rebound.example"] = ["127.0.0.1"]
    hosts["inner.example"] = ["10.0.0.7", "::1", "fe80::1%lo"]
    urls = [web.url("/", "rebound.example"), "http://inner.example/"]
    assert {f.reason for f in fetch_all(urls, settings())} == {"blocked_address"}
    assert web.connections == 0


def test_second_address_is_asked_where_the_first_is_refused(web: Web, hosts: Hosts) -> None:
    hosts["two.example"] = ["169.254.169.254", "127.0.0.1"]
    web.pages["/"] = reply(200, BODY)
    assert fetch_one(web.url("/", "two.example"), settings(web)).body == BODY


def test_redirect_looks_the_new_name_up(web: Web, hosts: Hosts) -> None:
    hosts["old.example"] = hosts["new.example"] = ["127.0.0.1"]
    web.pages["/old"] = redirect(web.url("/new", "new.example"))
    web.pages["/lost"] = redirect(web.url("/new", "unknown.example"))
    web.pages["/new"] = reply(200, BODY)
    moved, lost = fetch_all([web.url("/old", "old.example"), web.url("/lost", "old.example")], settings(web))
    assert (moved.body, moved.final_url) == (BODY, web.url("/new", "new.example"))
    assert (lost.reason, lost.tries) == ("dns", 1)


def test_untrusted_certificate_is_refused(secure_web: Web) -> None:
    secure_web.pages["/"] = reply(200, BODY)
    got = fetch_one(secure_web.url("/"), settings(secure_web))
    assert (got.body, got.reason, got.http_status, got.tries) == (None, "tls", None, 1)
    assert secure_web.asked == []


def test_trusted_certificate_is_taken(secure_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(UNTRUSTED))
    secure_web.pages["/"] = reply(200, BODY)
    assert fetch_one(secure_web.url("/"), settings(secure_web)).body == BODY


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fast; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {certificate};
        location / {{ return 200 "$server_protocol $connection"; }}
        location /robots.txt {{ return 404; }}
    }}
}}
"""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.needs_nginx
def test_http_2_is_spoken_where_it_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(UNTRUSTED))
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, port=closed_port, certificate=UNTRUSTED))
    server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not answers(closed_port) and time.monotonic() < until:
            time.sleep(0.02)
        how = settings(allow_hosts=("127.0.0.1",), concurrency=4, per_host=4, robots=True)
        got = fetch_all([f"https://127.0.0.1:{closed_port}/"] * 40, how)
    finally:
        server.terminate()
        server.wait()
    spoken = Counter((f.body or b"").split()[0] for f in got)
    assert spoken == {b"HTTP/2.0": 40}
    assert len({f.body for f in got}) <= 4, "connections are kept"


def test_server_without_tls_is_told(web: Web) -> None:
    got = fetch_one(web.url("/").replace("http:", "https:"), settings(web))
    assert (got.reason, got.tries) == ("tls", 1)


def test_broken_urls_are_outcomes_too(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    broken = [
        "",
        "cat.jpg",
        "http://",
        "file:///etc/passwd",
        "http://a b/",
        "http://u:p@127.0.0.1/",
        "http://[::1",
        "\ud800",
    ]
    outcomes = fetch_all([*broken, web.url("/")], settings(web))
    assert [(f.reason, f.tries, f.http_status, f.url) for f in outcomes[:-1]] == [
        ("bad_url", 0, None, u) for u in broken
    ]
    assert outcomes[-1].body == BODY


def test_requests_are_pulled_as_there_is_room(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    pulled = 0

    def endless() -> Iterator[Request]:
        nonlocal pulled
        for slot in count():
            pulled += 1
            yield Request(slot, web.url("/"))

    outcomes = fetch(endless(), settings(web, concurrency=4, per_host=4))
    for taken in range(1, 50):
        assert next(outcomes).body == BODY
        assert pulled <= taken + 2 * 4
    outcomes.close()  # type: ignore[attr-defined]


def test_backlog_of_a_crowded_host_is_bounded(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    pulled: list[int] = []
    requests = (pulled.append(slot) or Request(slot, web.url("/")) for slot in range(1000))  # type: ignore[func-returns-value]
    outcomes = fetch(requests, settings(web, concurrency=2, per_host=1))
    next(outcomes)
    assert len(pulled) <= 1 + 2 * 32
    assert len(list(outcomes)) == 999


def test_requests_that_wait_for_a_name_are_bounded(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    pulled: list[int] = []
    requests = (pulled.append(slot) or Request(slot, web.url("/", "localhost")) for slot in range(1000))  # type: ignore[func-returns-value]
    outcomes = fetch(requests, settings(web, concurrency=2))
    next(outcomes)
    assert len(pulled) <= 2 * (1 + 4 + 1)
    assert len(list(outcomes)) == 999


def test_broken_urls_are_told_a_few_at_a_time() -> None:
    pulled: list[int] = []
    requests = (pulled.append(slot) or Request(slot, "nonsense") for slot in range(1000))  # type: ignore[func-returns-value]
    outcomes = fetch(requests, settings(concurrency=4))
    next(outcomes)
    assert len(pulled) <= 4
    assert len(list(outcomes)) == 999


def test_threads_that_looked_names_up_go_home(web: Web) -> None:
    others = set(threading.enumerate())
    web.pages["/"] = reply(200, BODY)
    fetch_all([web.url("/", "localhost")] * 3, settings(web))
    until = time.monotonic() + 10
    while (
        left := [t for t in threading.enumerate() if t not in others and t.name == "tamis-names"]
    ) and time.monotonic() < until:
        time.sleep(0.01)
    assert left == []


def test_host_is_asked_so_many_times_at_once(web: Web) -> None:
    web.pages["/"] = slow(reply(200, BODY), 0.02)
    outcomes = fetch_all([web.url("/")] * 40, settings(web, concurrency=32, per_host=3))
    assert all(f.body == BODY for f in outcomes)
    assert web.most_at_once == 3
    web.most_at_once = 0
    fetch_all([web.url("/", "localhost")] * 40, settings(web, concurrency=5, per_host=32))
    assert web.most_at_once == 5


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def test_leaving_early_closes_everything(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    before = descriptors()
    for _ in range(20):
        outcomes = fetch((Request(slot, web.url("/")) for slot in count()), settings(web, concurrency=4))
        assert next(outcomes).body == BODY
        outcomes.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 10
    while descriptors() > before + 10 and time.monotonic() < until:  # the server's ends live in this process too
        time.sleep(0.01)
    assert descriptors() <= before + 10


def test_failing_source_closes_everything_and_is_told(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)

    def failing() -> Iterator[Request]:
        yield Request(0, web.url("/"))
        raise OSError("the list cannot be read on")

    with pytest.raises(OSError, match="cannot be read on"):
        list(fetch(failing(), settings(web, concurrency=1)))


def test_same_responses_give_the_same_outcomes_in_any_order(web: Web) -> None:
    web.pages["/good"] = reply(200, BODY)
    web.pages["/gone"] = reply(410)
    web.pages["/busy"] = reply(503)
    web.pages["/cut"] = cut(BODY, 9999)
    web.pages["/moved"] = redirect("/good")
    web.pages["/loop"] = redirect("/loop")
    web.pages["/inside"] = redirect("http://10.0.0.1/")
    web.pages["/reset"] = reset
    paths = ["/good", "/gone", "/busy", "/cut", "/moved", "/loop", "/inside", "/reset", "/nothing", ":"]
    requests = [Request(slot, web.url(paths[slot % len(paths)])) for slot in range(60)]

    def account(order: list[Request], how: FetchSettings) -> set[tuple[Any, ...]]:
        outcomes = list(fetch(order, how))
        assert len(outcomes) == len(requests)
        return {(f.slot, f.url, f.body, f.reason, f.http_status, f.tries, f.final_url) for f in outcomes}

    expected = account(requests, settings(web, concurrency=1))
    Random(0).shuffle(requests)
    assert account(requests, settings(web, concurrency=64, per_host=7, seed=5)) == expected


def polite(*webs: Web, **changes: Any) -> FetchSettings:
    return settings(*webs, **{"robots": True, **changes})


def reasons(outcomes: list[Fetched]) -> list[str | None]:
    return [outcome.reason for outcome in outcomes]


def test_robots_txt_is_asked_once_a_host_and_obeyed(web: Web) -> None:
    web.pages["/robots.txt"] = reply(200, b"User-agent: *\nDisallow: /no\n\nUser-agent: other\nDisallow: /\n")
    web.pages["/yes"] = web.pages["/no"] = reply(200, BODY)
    outcomes = fetch_all([web.url("/yes"), web.url("/no")] * 20, polite(web))
    assert reasons(outcomes) == [None, "robots_disallowed"] * 20
    assert {path for path, _ in web.asked} == {"/yes"}
    assert len(web.asked_rules) == 1


def test_robots_txt_is_remembered_from_one_call_to_the_next(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    memory = RobotsMemory()
    for _ in range(2):
        assert [f.body for f in fetch([Request(0, web.url("/"))], polite(web), memory)] == [BODY]
    assert len(web.asked_rules) == 1


def test_robots_txt_speaks_to_the_crawler_that_the_recipe_names(web: Web) -> None:
    web.pages["/robots.txt"] = reply(200, b"User-agent: painter\nDisallow: /\n")
    web.pages["/"] = reply(200, BODY)
    assert fetch_one(web.url("/"), polite(web)).reason is None
    assert fetch_one(web.url("/"), polite(web, user_agent="Painter/2 (+https://a/)")).reason == "robots_disallowed"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (reply(404), None),
        (reply(403), None),
        (reply(200), None),
        (redirect("/robots.txt"), None),
        (reply(200, b"<html>not found</html>"), None),
        (reply(200, b"User-agent: *\nDisallow: /\n", X_Robots_Tag="noai"), "robots_disallowed"),
        (reply(200, b"User-agent: *\nDisallow: /\n" + bytes(700_000)), "robots_disallowed"),
        (cut(b"User-agent: *\nDisallow: /\n", 99), "robots_unavailable"),
        (reply(429), "robots_unavailable"),
        (reply(503), "robots_unavailable"),
        (hang, "robots_unavailable"),
        (reset, "robots_unavailable"),
        (redirect("http://10.0.0.1/robots.txt"), "robots_unavailable"),
    ],
)
def test_rules_that_are_absent_allow_and_rules_that_do_not_come_forbid(web: Web, page: Any, expected: str) -> None:
    web.pages["/robots.txt"] = page
    web.pages["/"] = reply(200, BODY)
    got = fetch_one(web.url("/"), polite(web, timeout_seconds=1.0 if page is hang else 5.0, retries=0))
    assert got.reason == expected
    assert len(web.asked) == (expected is None)


def test_robots_txt_is_tried_again_and_followed(web: Web, other_web: Web) -> None:
    web.pages["/robots.txt"] = in_turn(reply(503), reset, redirect(other_web.url("/rules")))
    other_web.pages["/rules"] = reply(200, b"User-agent: *\nDisallow: /no\n")
    web.pages["/"] = reply(200, BODY)
    assert reasons(fetch_all([web.url("/"), web.url("/no")], polite(web, other_web))) == [None, "robots_disallowed"]
    assert (len(web.asked_rules), [path for path, _ in other_web.asked]) == (3, ["/rules"])


def test_a_host_that_cannot_be_reached_says_so_itself(hosts: Hosts, closed_port: int) -> None:
    hosts["inner.example"] = ["10.0.0.7"]
    urls = [
        *("http://unknown.example/", "http://inner.example/", "http://10.0.0.7/", f"http://127.0.0.1:{closed_port}/"),
        "http://169.254.169.254/",
    ]
    assert reasons(fetch_all(urls, polite(allow_hosts=("127.0.0.1",)))) == [
        *("dns", "blocked_address", "blocked_address", "connection_refused"),
        "blocked_address",
    ]


def test_redirect_to_another_host_is_judged_by_its_rules(web: Web, other_web: Web) -> None:
    web.pages["/"] = redirect(other_web.url("/no"))
    other_web.pages["/robots.txt"] = reply(200, b"User-agent: *\nDisallow: /no\n")
    got = fetch_one(web.url("/"), polite(web, other_web))
    assert (got.reason, got.final_url, other_web.asked) == ("robots_disallowed", other_web.url("/no"), [])


def test_crawl_delay_is_kept(web: Web) -> None:
    web.pages["/robots.txt"] = reply(200, b"User-agent: *\nCrawl-delay: 0.2\n")
    web.pages["/"] = reply(200, BODY)
    started = time.monotonic()
    assert all(f.body == BODY for f in fetch_all([web.url("/")] * 5, polite(web)))
    assert web.asked[-1][1] - started >= 4 * 0.2
    assert reasons(fetch_all([web.url("/")], polite(web, max_crawl_delay_seconds=0.1))) == ["robots_crawl_delay"]


def test_a_host_is_asked_no_more_often_than_its_budget(web: Web) -> None:
    web.pages["/"] = reply(200, BODY)
    web.pages["/moved"] = redirect("/")
    started = time.monotonic()
    fetch_all([web.url("/"), web.url("/moved")] * 5, polite(web, per_host_rate=20.0))
    assert (len(web.asked), len(web.asked_rules)) == (15, 1)
    assert max(when for _, when in web.asked) - started >= 15 / 20


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("X-Robots-Tag", "noai", "noai"),
        ("X-Robots-Tag", "noindex, noimageai", "noimageai"),
        ("X-Robots-Tag", "tamis: noai", "noai"),
        ("X-Robots-Tag", "googlebot: noai", None),
        ("X-Robots-Tag", "noindex", None),
        ("tdm-reservation", "1", "tdm_reserved"),
        ("tdm-reservation", "0", None),
    ],
)
def test_an_image_that_objects_is_not_kept(web: Web, header: str, value: str, expected: str | None) -> None:
    web.pages["/"] = reply(200, BODY, **{header.replace("-", "_"): value})
    web.pages["/moved"] = reply(301, b"", **{header.replace("-", "_"): value, "Location": "/plain"})
    web.pages["/plain"] = reply(200, BODY)
    for path in ("/", "/moved"):
        got = fetch_one(web.url(path), settings(web))
        assert (got.reason, got.body, got.tries) == (expected, None if expected else BODY, 1)
    assert fetch_one(web.url("/"), settings(web, robots_tags=(), tdm_reservation=False)).body == BODY


def test_objection_of_an_error_page_is_not_the_reason(web: Web) -> None:
    web.pages["/"] = in_turn(reply(503, X_Robots_Tag="noai"), reply(200, BODY))
    assert fetch_one(web.url("/"), settings(web)).body == BODY


def test_who_opted_out_is_not_asked_not_even_by_a_redirect(web: Web) -> None:
    web.pages["/moved"] = redirect("/anna/1")
    web.pages["/anna/1"] = web.pages["/bert/1"] = reply(200, BODY)
    opt_outs = OptOuts.parse(["opted-out.example", web.url("/anna/")])
    urls = ["http://x.opted-out.example/", web.url("/anna/1"), web.url("/moved"), web.url("/bert/1")]
    outcomes = fetch_all(urls, polite(web, opt_outs=opt_outs))
    assert reasons(outcomes) == ["opted_out", "opted_out", "opted_out", None]
    assert {path for path, _ in web.asked} == {"/moved", "/bert/1"}


def test_retry_after_of_one_image_holds_for_its_host(web: Web) -> None:
    web.pages["/busy"] = in_turn(reply(429, Retry_After="1"), reply(200, BODY))
    web.pages["/"] = reply(200, BODY)
    outcomes = fetch_all([web.url("/busy"), *[web.url("/")] * 5], settings(web, per_host=1))
    assert all(f.body == BODY for f in outcomes)
    assert min(when for path, when in web.asked if path == "/") - web.asked[0][1] >= 0.99


def test_retry_after_may_be_a_date(web: Web) -> None:
    web.pages["/far"] = reply(503, Retry_After=formatdate(time.time() + 86_400, usegmt=True))
    web.pages["/past"] = in_turn(
        reply(503, Retry_After=formatdate(time.time() - 86_400, usegmt=True)), reply(200, BODY)
    )
    past, far = (fetch_one(web.url(path), settings(web)) for path in ("/past", "/far"))
    assert (far.reason, far.tries, past.body, past.tries) == ("http_503", 1, BODY, 2)


def test_host_that_wants_a_long_pause_gets_it(web: Web) -> None:
    web.pages["/"] = reply(429, Retry_After="3600")
    outcomes = fetch_all([web.url("/")] * 50, settings(web, per_host=1))
    assert Counter(reasons(outcomes)) == {"http_429": 1, "asked_to_wait": 49}
    assert len(web.asked) == 1


def test_no_requests_give_no_outcomes() -> None:
    assert list(fetch([], FetchSettings())) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("per_host", 0),
        ("timeout_seconds", 0),
        ("max_bytes", -1),
        ("retries", -1),
        ("max_redirects", -1),
        ("max_crawl_delay_seconds", -1),
        ("per_host_rate", 0),
    ],
)
def test_senseless_setting_is_told(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"fetch.{name} is {value}"):
        FetchSettings(**{name: value})  # type: ignore[arg-type]


def test_unknown_robots_tag_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="robots_tags has 'noarchive'; the words are noai, noimageai, noindex"):
        FetchSettings(robots_tags=("noai", "noarchive"))
