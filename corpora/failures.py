"""Why a request brought no body: stable snake_case names, and whether asking once more may help.

A reason is counted over billions of rows and compared between runs, so it holds no numbers but an HTTP status and no
text of a library. The status line decides before the transport does: a 404 whose error page is cut off is a 404.
"""

from __future__ import annotations

import errno
import hashlib
from typing import Literal

import pycurl

_TLS_FAULTS = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_SSL_INVALIDCERTSTATUS,
    }
)

_CURL_REASONS = {
    pycurl.E_URL_MALFORMAT: "bad_url",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy",
    pycurl.E_UNSUPPORTED_PROTOCOL: "bad_response",  # an answer that is no HTTP/1 or 2
    pycurl.E_FILESIZE_EXCEEDED: "too_large",
    pycurl.E_WRITE_ERROR: "too_large",  # our own count of an endless body
    pycurl.E_PARTIAL_FILE: "truncated",
    pycurl.E_GOT_NOTHING: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_HTTP2: "reset",
    92: "reset",  # CURLE_HTTP2_STREAM, which pycurl has no name for
    **dict.fromkeys(_TLS_FAULTS, "tls"),
}

RetryClass = Literal["never", "later", "now"]

_NOW = frozenset({"bad_response", "empty", "reset", "timeout", "truncated"})
"""Faults of one exchange; the next may go well."""

_LATER = frozenset(
    {
        *("asked_to_wait", "connect_timeout", "connection_refused", "dns_unavailable", "proxy", "robots_unavailable"),
        "unreachable",
    }
)
"""Trouble of a host or of the network, which takes its time."""

_NOW_STATUS = frozenset({408, 425})


def transport_reason(code: int, os_error: int, sent: bool) -> str:
    """Name libcurl's error ``code``, given the system's error number and whether the request had been sent."""
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return "timeout" if sent else "connect_timeout"
    if code == pycurl.E_COULDNT_CONNECT:
        return "connection_refused" if os_error == errno.ECONNREFUSED else "unreachable"
    if code == pycurl.E_SSL_CONNECT_ERROR and os_error == errno.ECONNRESET:
        return "reset"
    return _CURL_REASONS.get(code, f"curl_{code}")


def status_reason(status: int) -> str | None:
    """Name an HTTP status that brings no image, exactly (``http_404``), or None for 2xx."""
    return None if 200 <= status < 300 else f"http_{status}"


def retry_class(reason: str) -> RetryClass:
    """Say when asking again may help: ``now``, ``later`` (the server's or the network's passing trouble), or ``never``."""
    status = int(reason.removeprefix("http_")) if reason.startswith("http_") else 0
    if reason in _NOW or status in _NOW_STATUS or reason.startswith("curl_"):
        return "now"
    return "later" if reason in _LATER or status == 429 or status >= 500 else "never"


def back_off(base_seconds: float, tries: int, key: str) -> float:
    """Seconds to wait after ``tries`` tries: doubling, times a jitter in [0.5, 1.5) that is a function of ``key``."""
    digest = hashlib.blake2b(f"{tries} {key}".encode("utf-8", "replace"), digest_size=4).digest()
    return base_seconds * (1 << (tries - 1)) * (0.5 + int.from_bytes(digest, "big") / 2**32)
