"""Web servers on the loopback for the tests of fetching."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from .http_server import UNTRUSTED, Web


def _serve(web: Web) -> Iterator[Web]:
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on 127.0.0.1 that knows no pages yet."""
    yield from _serve(Web())


@pytest.fixture
def other_web() -> Iterator[Web]:
    """A second one."""
    yield from _serve(Web())


@pytest.fixture
def secure_web() -> Iterator[Web]:
    """One that speaks TLS, with a certificate that nobody trusts."""
    yield from _serve(Web(certificate=UNTRUSTED))


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
