"""HTTP transfers on libcurl: a handle that is used again and again, and the wire that drives many of them.

All handles of one wire share its connections, TLS context and TLS sessions. Handles are configured once; a request sets
four options. The wire is libcurl's multi-socket interface on epoll or kqueue: waiting costs what
happens and not what is open, and has no limit of 1,024 file descriptors as ``select`` has.

Price of one 58 KB body: about 0.05 ms of CPU on a kept connection, 0.1 ms on a new one, 0.6 ms with a TLS handshake.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pycurl

from .addresses import AllowList
from .failures import status_reason, transport_reason
from .fetch_settings import FetchSettings
from .objections import MAX_LINES, is_heeded, objection
from .robots import MAX_ROBOTS_BYTES
from .urls import Target

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BYTES = 1 << 16
_NO_SOCKET: int = pycurl.SOCKET_BAD
_PROTOCOLS = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS


@dataclass(frozen=True)
class Answer:
    """What came of one transfer: a body, a reason, or where to go on."""

    body: bytes | None
    reason: str | None
    status: int | None
    redirect: str | None
    retry_after_seconds: float
    seconds: float
    received: int


class Line:
    """One libcurl handle, used for one transfer after another."""

    def __init__(self, settings: FetchSettings, allow: AllowList) -> None:
        self._allow = allow
        self._settings = settings
        self._max_bytes = settings.max_bytes
        self._rules = False
        self._told: list[bytes] = []
        self._connect_ms = _milliseconds(settings.connect_timeout_seconds)
        self._target: Target | None = None
        self._body = bytearray()
        self._blocked = False
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.PROTOCOLS, _PROTOCOLS)  # a second lock: ``read_url`` lets nothing else through
        curl.setopt(pycurl.FOLLOWLOCATION, False)  # a redirect is a request of its own, to a host with its own turns
        curl.setopt(pycurl.BUFFERSIZE, _READ_BYTES)
        curl.setopt(pycurl.NOSIGNAL, True)
        curl.setopt(pycurl.USERAGENT, settings.user_agent)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        if settings.robots_tags or settings.tdm_reservation:
            curl.setopt(pycurl.HEADERFUNCTION, self._hear)
        curl.setopt(pycurl.PROXY, settings.proxy)  # the empty string also shuts out the environment's proxies
        if not settings.proxy:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        if authorities := ssl.get_default_verify_paths().cafile:  # obeys SSL_CERT_FILE, which libcurl does not
            curl.setopt(pycurl.CAINFO, authorities)

    def dial(self, target: Target, addresses: tuple[str, ...], seconds: float, rules: bool = False) -> None:
        """Set the handle up for one request; ``addresses`` are those of the host's name, where it has one.

        ``rules`` asks for a robots.txt: what goes beyond its limit is left out, and its headers object to nothing.
        """
        self._target, self._blocked, self._rules = target, False, rules
        self._max_bytes = MAX_ROBOTS_BYTES if rules else self._settings.max_bytes
        self._body = bytearray()
        self._told.clear()
        timeout_ms = _milliseconds(seconds)
        shown = ",".join(f"[{address.partition('%')[0]}]" if ":" in address else address for address in addresses)
        self.curl.setopt(pycurl.URL, target.url)
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, 0 if rules else self._max_bytes)
        self.curl.setopt(pycurl.RESOLVE, [f"+{target.host}:{target.port}:{shown}"] if shown else [])
        self.curl.setopt(pycurl.TIMEOUT_MS, timeout_ms)
        self.curl.setopt(pycurl.CONNECTTIMEOUT_MS, min(timeout_ms, self._connect_ms))

    def _open_socket(self, purpose: int, address: pycurl.CurlSockAddr) -> int:
        """Open the socket that libcurl asks for, if its address may be asked."""
        assert self._target is not None
        inet = address.family in {socket.AF_INET, socket.AF_INET6}
        if not inet or self._allow.refusal(self._target.host, self._target.port, address.addr[0]):
            self._blocked = True
            return _NO_SOCKET
        return socket.socket(address.family, address.socktype, address.protocol).detach()

    def _hear(self, line: bytes) -> None:
        if is_heeded(line) and len(self._told) < MAX_LINES:
            self._told.append(line)

    def _write(self, chunk: bytes) -> int | None:
        self._body += chunk
        # libcurl counts too, but before 8.4 it judged announced lengths only
        return 0 if len(self._body) > self._max_bytes else None

    def answer(self, code: int) -> Answer:
        """Tell what came of the transfer that ended with libcurl's ``code``."""
        curl, body = self.curl, self._body
        self._body = bytearray()
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        redirect = curl.getinfo_raw(pycurl.REDIRECT_URL) if status in _REDIRECTS else None
        reason = status_reason(status) if status else None
        if not reason and code:
            reason = "blocked_address" if self._blocked and code == pycurl.E_COULDNT_CONNECT else self._fault(code)
            if self._rules and reason == "too_large":
                reason = None
        elif not reason and not body:
            reason = "empty"
        if self._told and not self._rules and (redirect or not reason):
            objected = self._objection()
            reason, redirect = objected or reason, None if objected else redirect
        return Answer(
            body=None if reason else bytes(body),
            reason=reason,
            status=status or None,
            redirect=redirect.decode("utf-8", "replace") if redirect else None,
            retry_after_seconds=curl.getinfo(pycurl.RETRY_AFTER) if reason else 0.0,
            seconds=curl.getinfo(pycurl.TOTAL_TIME),
            received=len(body),
        )

    def _objection(self) -> str | None:
        settings = self._settings
        return objection(self._told, settings.robots_tags, settings.tdm_reservation, settings.product)

    def _fault(self, code: int) -> str:
        # libcurl's times do not tell how far it came: 8.23 dates what never began.
        sent = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        return transport_reason(code, self.curl.getinfo(pycurl.OS_ERRNO), sent)

    def close(self) -> None:
        """Let go of the handle and its callbacks."""
        self.curl.close()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class Wire:
    """libcurl's multi handle on the system's event queue."""

    def __init__(self, num_connections: int) -> None:
        """Keep at most ``num_connections`` connections open."""
        self._selector = selectors.DefaultSelector()
        self._watched: set[int] = set()
        self._alarm: float | None = None
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, num_connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_alarm)

    def _watch(self, events: int, descriptor: int, multi: pycurl.CurlMulti, data: object) -> None:
        # libcurl's POLL_IN and POLL_OUT are the selectors' EVENT_READ and EVENT_WRITE
        if events == pycurl.POLL_REMOVE:
            self._watched.discard(descriptor)
            self._selector.unregister(descriptor)
        elif descriptor in self._watched:
            self._selector.modify(descriptor, events)
        else:
            self._watched.add(descriptor)
            self._selector.register(descriptor, events)

    def _set_alarm(self, milliseconds: int) -> None:
        self._alarm = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def ring(self) -> None:
        """End a ``wait`` from another thread."""
        with suppress(OSError):  # as good as done: full of rings, or closed
            self._ringer.send(b"!")

    def start(self, curl: pycurl.Curl) -> None:
        """Begin a transfer."""
        self._multi.add_handle(curl)

    def wait(self, until: float | None) -> Iterator[tuple[pycurl.Curl, int]]:
        """Wait for something to happen, at the longest until this ``time.monotonic``; the handles that ended, with codes."""
        alarms = [alarm for alarm in (self._alarm, until) if alarm is not None]
        seconds = max(0.0, min(alarms) - time.monotonic()) if alarms else None
        for key, events in self._selector.select(seconds):
            if key.fileobj is self._bell:
                self._bell.recv(_READ_BYTES)
            else:
                self._multi.socket_action(key.fd, events)
        if self._alarm is not None and self._alarm <= time.monotonic():
            self._alarm = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        more = 1
        while more:
            more, done, failed = self._multi.info_read()
            ended = [(curl, pycurl.E_OK) for curl in done] + [(curl, code) for curl, code, _ in failed]
            for curl, code in ended:
                self._multi.remove_handle(curl)
                yield curl, code

    def close(self, busy: Iterable[pycurl.Curl]) -> None:
        """Abandon the transfers under way and close every connection."""
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, None)  # there is nothing to watch any more
        self._multi.setopt(pycurl.M_TIMERFUNCTION, None)
        for curl in busy:
            self._multi.remove_handle(curl)
        self._multi.close()
        self._selector.close()
        self._bell.close()
        self._ringer.close()
