"""Reasons are stable names, and each is worth another try or not."""

from __future__ import annotations

import errno
from itertools import pairwise

import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.failures import back_off, retry_class, status_reason, transport_reason

NEVER = (
    *("bad_url", "bad_redirect", "blocked_address", "dns", "too_large", "too_many_redirects", "tls"),
    *("http_304", "http_400", "http_401", "http_403", "http_404", "http_410", "http_451"),
    *("opted_out", "robots_disallowed", "robots_crawl_delay", "noai", "noimageindex", "tdm_reserved"),
    *("html", "not_an_image", "too_many_pixels", "bad_header", "duplicate_uid"),
)
LATER = (
    *("connect_timeout", "dns_unavailable", "connection_refused", "unreachable", "proxy"),
    *("robots_unavailable", "asked_to_wait"),
    *("http_429", "http_500", "http_502", "http_503", "http_504", "http_520", "http_599"),
)
NOW = ("timeout", "reset", "truncated", "empty", "bad_response", "curl_27", "http_408", "http_425")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [*((r, "never") for r in NEVER), *((r, "later") for r in LATER), *((r, "now") for r in NOW)],
)
def test_reason_says_when_to_ask_again(reason: str, expected: str) -> None:
    assert retry_class(reason) == expected


@pytest.mark.parametrize(
    ("code", "os_error", "sent", "reason"),
    [
        (pycurl.E_OPERATION_TIMEDOUT, 0, False, "connect_timeout"),
        (pycurl.E_OPERATION_TIMEDOUT, 0, True, "timeout"),
        (pycurl.E_COULDNT_CONNECT, errno.ECONNREFUSED, False, "connection_refused"),
        (pycurl.E_COULDNT_CONNECT, errno.EHOSTUNREACH, False, "unreachable"),
        (pycurl.E_SSL_CONNECT_ERROR, 0, False, "tls"),
        (pycurl.E_SSL_CONNECT_ERROR, errno.ECONNRESET, False, "reset"),
        (pycurl.E_PEER_FAILED_VERIFICATION, 0, False, "tls"),
        (pycurl.E_PARTIAL_FILE, 0, True, "truncated"),
        (pycurl.E_RECV_ERROR, errno.ECONNRESET, True, "reset"),
        (pycurl.E_GOT_NOTHING, 0, True, "reset"),
        (pycurl.E_FILESIZE_EXCEEDED, 0, True, "too_large"),
        (pycurl.E_OUT_OF_MEMORY, 0, True, "curl_27"),
    ],
)
def test_transport_faults_have_names(code: int, os_error: int, sent: bool, reason: str) -> None:
    assert transport_reason(code, os_error, sent) == reason


def test_success_has_no_reason_and_other_statuses_their_number() -> None:
    assert [status_reason(status) for status in (200, 203, 299, 300, 404, 503)] == [
        None,
        None,
        None,
        "http_300",
        "http_404",
        "http_503",
    ]


@given(st.integers(1, 10), st.text())
def test_back_off_doubles_with_a_jitter_that_its_key_fixes(tries: int, key: str) -> None:
    wait = back_off(2.0, tries, key)
    assert 0.5 <= wait / (2.0 * 2 ** (tries - 1)) < 1.5
    assert wait == back_off(2.0, tries, key)


def test_back_off_spreads_those_that_failed_together() -> None:
    waits = sorted(back_off(1.0, 1, f"0 http://example.org/{number}") for number in range(1000))
    gaps = [b - a for a, b in pairwise(waits)]
    assert waits[0] < 0.51
    assert waits[-1] > 1.49
    assert max(gaps) < 0.02
