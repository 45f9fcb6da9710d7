"""A real S3 server on the loopback for tests: moto's, in a process of its own, a bucket a test.

A test asks for the fixture ``s3``; the server is started once a session, at the first test that wants it:

    def test_x(s3: S3) -> None:
        store = Store(s3.url("corpus"))      # s3://<the test's own bucket>/corpus; workers find it, too
        s3.files("corpus")                   # {path below the prefix: bytes}, read past all of our code
        s3.dangling_uploads()                # keys of multipart uploads that were begun and neither ended nor aborted
        with s3.behind(proxy): ...           # this process and its children reach the server at another endpoint

While the test runs the environment holds the endpoint and credentials (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` ...),
so every process that it starts finds the server, and nothing of the user's own configuration is looked at. A process that
is given another environment wants ``environment(endpoint)``.

As a script it serves until it is killed, and says where: ``python tests/s3_server.py BUCKET ...`` prints the endpoint.
Requests are answered one at a time: moto checks a condition and acts on it in two steps, S3 does so in one.
"""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from s3fs import S3FileSystem

_BUCKETS = itertools.count()
_SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"
"""What moto reads of a signature: the region; the rest it does not check."""

_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def environment(endpoint: str) -> dict[str, str]:
    """The variables by which S3 clients find the server at ``endpoint`` and nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass(frozen=True)
class S3:
    """A bucket on a running server."""

    endpoint: str
    bucket: str

    def url(self, path: str = "") -> str:
        """``path`` in the bucket, as fsspec names it."""
        return f"s3://{self.bucket}/{path}".rstrip("/")

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """Every object below the folder ``prefix``: its path in there, and its bytes."""
        folder = f"{prefix}/" if prefix else ""
        keys = self._listed(f"?list-type=2&prefix={urllib.parse.quote(folder)}", f"{_XML}Contents/{_XML}Key")
        return {key.removeprefix(folder): self.ask("GET", urllib.parse.quote(key)) for key in keys}

    def dangling_uploads(self) -> list[str]:
        """The keys of multipart uploads that are neither complete nor aborted."""
        return self._listed("?uploads", f"{_XML}Upload/{_XML}Key")

    def put(self, path: str, data: bytes) -> None:
        """Put an object past all of our code."""
        self.ask("PUT", urllib.parse.quote(path), data)

    @contextmanager
    def behind(self, proxy: str) -> Iterator[None]:
        """Have this process and its children reach the server through ``proxy``, an endpoint before ``self.endpoint``."""
        S3FileSystem.clear_instance_cache()  # a client knows the environment of its making
        os.environ["AWS_ENDPOINT_URL"] = proxy
        try:
            yield
        finally:
            os.environ["AWS_ENDPOINT_URL"] = self.endpoint
            S3FileSystem.clear_instance_cache()

    def ask(self, method: str, path: str = "", body: bytes | None = None) -> bytes:
        """Send one plain request about the bucket; the answer's body."""
        where = urllib.parse.urlsplit(self.endpoint).netloc
        connection = http.client.HTTPConnection(where, timeout=60)
        try:
            connection.request(method, f"/{self.bucket}/{path}", body, {"Authorization": _SIGNED})
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, (method, path, answer.status, told)
        return told

    def _listed(self, query: str, tag: str) -> list[str]:
        found: list[str] = []
        more = ""
        while True:
            page = ET.fromstring(self.ask("GET", query + more))
            found += [element.text or "" for element in page.iterfind(tag)]
            token = page.findtext(f"{_XML}NextContinuationToken")
            if not token:
                return found
            more = f"&continuation-token={urllib.parse.quote(token)}"


@contextmanager
def running_server() -> Iterator[str]:
    """A server process; its endpoint."""
    environ = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "100"}  # long listings are short, and have pages all the same
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True, env=environ) as server:
        assert server.stdout is not None
        try:
            endpoint = server.stdout.readline().strip()
            assert endpoint, "the S3 server did not start"
            yield endpoint
        finally:
            server.kill()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The endpoint of the session's server."""
    with running_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A new bucket on the session's server, which this process and its children find by their environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_S3"))]:
        monkeypatch.delenv(name)
    for name, value in environment(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    made = S3(s3_endpoint, f"bucket-{next(_BUCKETS)}")
    made.ask("PUT")
    return made


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _one_at_a_time(application: Application) -> Application:
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            return list(application(environ, start_response))

    return answer


def _serve(buckets: list[str]) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

        def log(self, *_: Any) -> None:
            pass

    application = _one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.port}"
    for bucket in buckets:
        S3(endpoint, bucket).ask("PUT")
    print(endpoint, flush=True)
    thread.join()


if __name__ == "__main__":
    _serve(sys.argv[1:])
