"""The failing proxy does what it says."""

from __future__ import annotations

import http.client
import urllib.parse

import pytest
from faults import proxied

from ..s3_server import S3

BODY = bytes(range(256)) * 100


def ask(endpoint: str, s3: S3, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, str | None]:
    """Status, body and claimed length of one plain request."""
    where = urllib.parse.urlsplit(endpoint).netloc
    connection = http.client.HTTPConnection(where, timeout=60)
    try:
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
        connection.request(method, f"/{s3.bucket}/{path}", body, signed)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Content-Length")
    finally:
        connection.close()


def test_without_faults_requests_pass_as_they_are(s3: S3) -> None:
    with proxied(s3.endpoint, {}) as proxy:
        assert ask(proxy.endpoint, s3, "PUT", "a%20b/%E5%9B%BE%3F?x-id=PutObject", BODY)[0] == 200
        assert s3.files() == {"a b/图?": BODY}
        assert ask(proxy.endpoint, s3, "GET", "a%20b/%E5%9B%BE%3F") == (200, BODY, str(len(BODY)))
        assert ask(proxy.endpoint, s3, "HEAD", "a%20b/%E5%9B%BE%3F") == (200, b"", str(len(BODY)))
        assert proxy.counts() == {"requests": 3, "untouched": 3}


def test_what_is_reset_before_was_not_done_and_what_is_reset_after_was(s3: S3) -> None:
    for kind, done in (("reset_before", {}), ("reset_after", {"a": BODY})):
        with proxied(s3.endpoint, {kind: 1.0}) as proxy:
            with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
                ask(proxy.endpoint, s3, "PUT", "a", BODY)
            assert proxy.counts() == {"requests": 1, kind: 1}
        assert s3.files() == done


def test_a_truncated_body_claims_its_whole_length(s3: S3) -> None:
    s3.put("a", BODY)
    with proxied(s3.endpoint, {"truncated": 1.0}) as proxy:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(proxy.endpoint, s3, "GET", "a")
        assert caught.value.partial == BODY[: len(BODY) // 2]
        assert caught.value.expected == len(BODY) - len(BODY) // 2
        assert ask(proxy.endpoint, s3, "HEAD", "a")[0] == 200, "only bodies break off"


def test_the_same_seed_fails_the_same_requests(s3: S3) -> None:
    s3.put("a", BODY)

    def statuses(seed: int) -> list[int]:
        with proxied(s3.endpoint, {"error_500": 0.3, "slow_down": 0.3}, seed) as proxy:
            return [ask(proxy.endpoint, s3, "GET", "a")[0] for _ in range(30)]

    first = statuses(1)
    assert set(first) == {200, 500, 503}
    assert statuses(1) == first
    assert statuses(2) != first
