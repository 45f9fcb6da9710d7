import http.client
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tamis.corpora.drawn.fonts import find_fonts
from tamis.corpora.errors import DataError, FatalError
from tamis.corpora.fetch_settings import FetchSettings
from tamis.corpora.fetching import Fetched, Request, fetch
from tamis.corpora.sniffing import inspect
from tamis.pipelines.demo.bodies import make
from tamis.pipelines.demo.planting import Kind, Planted, plant
from tamis.pipelines.demo.server import METADATA_URL, DemoServer, delay_seconds

SIZE = 60
LIST = plant(3, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("www")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[DemoServer]:
    told: list[tuple[int, int]] = []
    with DemoServer(
        folder, seed=3, size=SIZE, ports=(0,), progress=lambda made, of: told.append((made, of))
    ) as running:
        assert told[-1][0] == told[-1][1] == sum(one.reply not in {"missing", "refuse", "internal"} for one in LIST)
        yield running


def _one(kind: Kind) -> Planted:
    return next(one for one in LIST if one.kind == kind)


def _get(server: DemoServer, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def _begin(server: DemoServer, path: str) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port or 0), timeout=5)
    wire.sendall(f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
    return wire


@pytest.mark.parametrize(
    "kind", ["scene", "poster", "photograph", "sign", "copy", "variant", "icon", "mislabelled", "cut"]
)
def test_a_body_is_served_as_planted(server: DemoServer, kind: Kind) -> None:
    one = _one(kind)
    response, body = _get(server, one.path)
    assert body == make(one.body, find_fonts())
    assert response.status == 200
    assert response.headers["Content-Type"] == (one.content_type or f"image/{one.body.format}")


def test_every_body_is_what_its_plan_says(server: DemoServer, folder: Path) -> None:
    for one in LIST:
        if one.outcome == "ok":
            _, body = _get(server, one.target or one.path)
            header = inspect(body)
            assert header.format == one.body.format
            assert header.width == round(one.body.picture.width * one.body.scale)


def test_a_missing_page_is_a_404_and_so_is_an_unknown_one(server: DemoServer) -> None:
    for path in (_one("missing").path, "/nothing", "/../server.py"):
        response, body = _get(server, path)
        assert response.status == 404
        assert b"Nothing is here" in body


def test_connections_are_kept_alive_until_the_client_asks_otherwise(server: DemoServer) -> None:
    with _begin(server, "/nothing") as wire:
        assert wire.recv(4096).startswith(b"HTTP/1.1 404 ")
        wire.sendall(b"GET /nothing HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        assert wire.recv(4096).startswith(b"HTTP/1.1 404 ")
        assert wire.recv(4096) == b""


def test_redirects_lead_to_the_body_or_to_the_metadata_address(server: DemoServer) -> None:
    one = _one("redirect")
    with urllib.request.urlopen(server.base_url + one.path) as response:
        assert response.geturl() == server.base_url + one.target
        assert response.read() == make(one.body, find_fonts())
    response, _ = _get(server, _one("internal").path)
    assert response.status == 302
    assert response.headers["Location"] == METADATA_URL


def test_a_slow_body_comes_in_drips_within_a_second_and_a_half(server: DemoServer) -> None:
    started = time.monotonic()
    _, body = _get(server, _one("slow").path)
    assert body == make(_one("slow").body, find_fonts())
    assert 0.8 < time.monotonic() - started < 3


def test_a_short_body_says_more_than_it_brings(server: DemoServer) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        _get(server, _one("short").path)
    whole = make(_one("short").body, find_fonts())
    assert caught.value.partial == whole[: len(whole) // 2]


def test_hanging_requests_stay_open_and_block_nobody(server: DemoServer) -> None:
    for one in (one for one in LIST if one.kind == "hanging"):
        with _begin(server, one.path) as wire:
            assert _get(server, _one("scene").path)[0].status == 200
            wire.settimeout(0.3)
            with pytest.raises(TimeoutError):
                _drain(wire)


def _drain(wire: socket.socket) -> None:
    while wire.recv(65536):
        pass


def test_a_refused_request_finds_no_listener(server: DemoServer) -> None:
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(_one("refused").url(server.base_url))


def test_64_slow_requests_are_answered_side_by_side(server: DemoServer) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(64) as clients:
        bodies = list(clients.map(lambda _: _get(server, _one("slow").path)[1], range(64)))
    assert set(bodies) == {make(_one("slow").body, find_fonts())}
    assert time.monotonic() - started < 5  # one after the other they would take 77 seconds


def test_the_fetcher_finds_what_was_planted(server: DemoServer) -> None:
    settings = FetchSettings(per_host=64, timeout_seconds=2.5, retries=0, allow_hosts=("127.0.0.1",))
    requests = [Request(place, one.url(server.base_url)) for place, one in enumerate(LIST)]
    found = {fetched.slot: _outcome(fetched) for fetched in fetch(requests, settings)}
    expected = {place: "ok" if one.outcome == "duplicate_uid" else one.outcome for place, one in enumerate(LIST)}
    assert found == expected


def _outcome(fetched: Fetched) -> str:
    try:
        return fetched.reason or ("ok" if inspect(fetched.body or b"") else "")
    except DataError as error:
        return error.reason


def test_a_delay_seed_changes_when_an_answer_comes_and_nothing_else(folder: Path, server: DemoServer) -> None:
    one = max(LIST, key=lambda one: delay_seconds(1, one.path) if one.kind == "scene" else 0)
    with DemoServer(folder, seed=3, size=SIZE, ports=(0,), delay_seed=1) as delayed:
        started = time.monotonic()
        _, body = _get(delayed, one.path)
        assert time.monotonic() - started > delay_seconds(1, one.path) > 0.03
    assert body == _get(server, one.path)[1]


def test_every_delay_seed_gives_another_order_and_no_long_wait() -> None:
    delays = [{one.path: delay_seconds(seed, one.path) for one in LIST} for seed in (1, 2)]
    assert all(0 <= delay < 0.05 for waits in delays for delay in waits.values())
    assert sorted(delays[0], key=delays[0].__getitem__) != sorted(delays[1], key=delays[1].__getitem__)


def test_a_later_server_takes_over_the_folder_and_the_port(folder: Path, server: DemoServer) -> None:
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*.jpeg")}
    with DemoServer(folder, seed=3, size=SIZE, ports=(0,)) as second:
        assert second.base_url != server.base_url  # whose port is taken
        taken = second.base_url
    with DemoServer(folder, seed=3, size=SIZE, ports=(0,)) as third:
        assert third.base_url == taken
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.jpeg")} == made


def test_ports_are_tried_in_turn(folder: Path, tmp_path: Path, server: DemoServer) -> None:
    taken = urlsplit(server.base_url).port or 0
    copied = tmp_path / "www"
    shutil.copytree(folder, copied)
    (copied / "port").unlink()
    with DemoServer(copied, seed=3, size=SIZE, ports=(taken, 0)) as second:
        assert urlsplit(second.base_url).port not in {taken, 0}
    (copied / "port").unlink()
    with pytest.raises(FatalError, match="ended with 1 before it listened"):
        DemoServer(copied, seed=3, size=SIZE, ports=(taken,)).__enter__()


def test_the_server_ends_with_its_parent(folder: Path) -> None:
    parent = (
        "import os, signal; from pathlib import Path; from tamis.pipelines.demo.server import DemoServer;"
        f"server = DemoServer(Path({str(folder)!r}), seed=3, size={SIZE}, ports=(0,)).__enter__();"
        "print(server.base_url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = urlsplit(process.stdout.readline().strip()).port
        assert process.wait() == -signal.SIGKILL
    assert port
    until = time.monotonic() + 5
    while _listens(port):
        assert time.monotonic() < until, "the server outlived its parent"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_leaving_the_context_ends_the_process(folder: Path) -> None:
    with DemoServer(folder, seed=3, size=SIZE, ports=(0,)) as running:
        port = urlsplit(running.base_url).port or 0
        assert _listens(port)
    assert not _listens(port)
