"""A small web on the loopback: pages are functions, and the server remembers who asked for what, and how."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

UNTRUSTED = Path(__file__).parent / "untrusted.pem"
"""A key and a certificate for localhost and 127.0.0.1 that nobody has signed."""

Page = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One connection; ``do_GET`` runs a request after another on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every response waits 40 ms for an acknowledgement
    server: Web

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        with self.server.lock:
            if self.path == "/robots.txt":
                self.server.asked_rules.append(time.monotonic())
            else:
                self.server.asked.append((self.path, time.monotonic()))
            self.server.headers = dict(self.headers)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            self.server.pages.get(self.path.partition("?")[0], reply(404, b"nothing here"))(self)
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def send(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        """Send a whole response; ``length`` is what the header claims, where that is not the truth."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Web(ThreadingHTTPServer):
    """The server: ``pages`` by path; what was ``asked`` and when; connections and requests counted."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0), certificate: Path | None = None) -> None:
        super().__init__(address, Exchange)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, float]] = []  # paths, robots.txt apart
        self.asked_rules: list[float] = []
        self.headers: dict[str, str] = {}
        self.connections = self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def times_asked(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up in the middle here; that is what is being tested."""


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Page:
    """A page that always answers the same."""
    return lambda exchange: exchange.send(status, body, headers)


def in_turn(*pages: Page) -> Page:
    """One page after the other; the last one stays."""
    left = list(pages)

    def next_page(exchange: Exchange) -> None:
        page = left.pop(0) if len(left) > 1 else left[0]
        page(exchange)

    return next_page


def redirect(location: str, status: int = 302) -> Page:
    return reply(status, b"over there", Location=location)


def hang(exchange: Exchange) -> None:
    """Never answer."""
    exchange.server.closing.wait(30)
    exchange.close_connection = True


def drip(exchange: Exchange) -> None:
    """Send a byte now and then, for ever."""
    exchange.send(200, b"", {}, length=1_000_000)
    while not exchange.server.closing.wait(0.02):
        exchange.wfile.write(b".")


def flood(exchange: Exchange) -> None:
    """Send chunks without end."""
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    while not exchange.server.closing.is_set():
        exchange.wfile.write(b"4000\r\n" + bytes(0x4000) + b"\r\n")


def slow(page: Page, seconds: float) -> Page:
    """The same, after a while."""

    def wait(exchange: Exchange) -> None:
        exchange.server.closing.wait(seconds)
        page(exchange)

    return wait


def cut(body: bytes, length: int) -> Page:
    """Promise ``length`` bytes, send ``body``, and hang up."""
    return lambda exchange: exchange.send(200, body, {}, length)


def reset(exchange: Exchange) -> None:
    """Hang up with a TCP reset instead of an answer."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.close_connection = True
