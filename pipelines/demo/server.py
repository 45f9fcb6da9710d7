"""The demo's web server: a process of its own on the loopback address that serves the planted list and misbehaves on cue.

It makes the bodies ahead (or takes over a stocked folder), then answers GET over HTTP/1.1 with keep-alive, hundreds of
connections in one asyncio loop. ``delay_seed`` delays each answer by up to 50 ms, as a function of the seed and the path,
so that answers come in another order. The process says on its standard output, as JSON lines, how many bodies are made
and then where it listens; it ends when its parent does. Price: 0.2 ms of CPU a request.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ...corpora.errors import FatalError
from .bodies import stock
from .planting import Planted, plant

PREFERRED_PORT = 18377
"""Tried first, so that the demo's URLs, and with them its uids, are the same on most machines."""

METADATA_URL = "http://169.254.169.254/latest/meta-data/"
"""Where clouds keep the credentials of a machine: a redirect that a crawler must refuse."""

_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_SLOW_SECONDS = 1.2
_DRIPS = 6
_LONGEST_DELAY_SECONDS = 0.05
_PARENT_CHECK_SECONDS = 0.5
_MAX_HEAD_BYTES = 16_384


@dataclass
class DemoServer:
    """A running server of ``plant(seed, size)``; use it as a context manager.

    ``ports`` are tried in turn, 0 for any free one, after the port that ``folder`` was last served on: a resumed run then
    finds its URLs again. ``progress`` is called with the number of bodies made and their total.
    """

    folder: Path
    seed: int = 0
    size: int = 1500
    delay_seed: int | None = None
    ports: Sequence[int] = (PREFERRED_PORT, 0)
    progress: Callable[[int, int], None] | None = None
    base_url: str = field(default="", init=False)

    def __enter__(self) -> Self:
        options = {"folder": self.folder, "seed": self.seed, "size": self.size, "parent": os.getpid()}
        if self.delay_seed is not None:
            options["delay-seed"] = self.delay_seed
        command = [sys.executable, "-m", __spec__.name, *(f"--{name}={value}" for name, value in options.items())]
        command += ["--ports", *map(str, self.ports)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "url" in told:
                self.base_url = told["url"]
                return self
            if self.progress:
                self.progress(told["made"], told["of"])
        self.__exit__()
        raise FatalError(
            f"the demo's server ended with {self._process.returncode} before it listened: see its error above"
        )

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class _Site:
    """What is served: the planted requests by path, and their files."""

    def __init__(self, planted: Sequence[Planted], folder: Path, delay_seed: int | None) -> None:
        self._planted = {one.path: one for one in planted} | {one.target: one for one in planted if one.target}
        self._folder = folder
        self._delay_seed = delay_seed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until either side closes it."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            stays_open = True
            while stays_open:
                head = await reader.readuntil(b"\r\n\r\n")
                stays_open = await self._answer(head, reader, writer) and b"\r\nconnection: close" not in head.lower()
                await writer.drain()
        writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can stay open."""
        method, path, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), ""]
        if self._delay_seed is not None:
            await asyncio.sleep(delay_seconds(self._delay_seed, path))
        one = self._planted.get(path)
        if method != "GET" or one is None or one.reply == "missing":
            page = b"<!DOCTYPE html><title>404</title><p>Nothing is here.</p>"
            writer.write(_head("404 Not Found", {"Content-Type": "text/html", "Content-Length": len(page)}) + page)
        elif one.reply == "internal":
            writer.write(_redirect(302, METADATA_URL))
        elif one.reply == "redirect" and path == one.path:
            absolute = f"http://{_host(head)}{one.target}"
            writer.write(_redirect(301, one.target) if one.index % 2 else _redirect(302, absolute))
        else:
            return await self._send(one, reader, writer)
        return True

    async def _send(self, one: Planted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = (self._folder / file_name(one)).read_bytes()
        kind = one.content_type or _TYPES[one.body.format]
        head = _head("200 OK", {"Content-Type": kind, "Content-Length": len(body)})
        match one.reply:
            case "hang":
                if one.index % 2:
                    writer.write(head + body[: len(body) // 2])
                await reader.read()  # returns when the client has given up
            case "short":
                writer.write(head + body[: len(body) // 2])
                await writer.drain()
            case "slow":
                step = len(body) // _DRIPS + 1
                writer.write(head)
                for start in range(0, len(body), step):
                    await asyncio.sleep(_SLOW_SECONDS / _DRIPS)
                    writer.write(body[start : start + step])
                    await writer.drain()
            case _:
                writer.write(head + body)
        return one.reply not in {"hang", "short"}


def file_name(one: Planted) -> str:
    """The file of a request's body in the served folder."""
    return f"{one.index:05d}.{one.body.format}"


def delay_seconds(seed: int, path: str) -> float:
    """How long the answer for ``path`` is held back under a ``delay_seed``: 0 to 50 ms."""
    digest = hashlib.sha256(f"{seed} {path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * _LONGEST_DELAY_SECONDS


def _host(head: bytes) -> str:
    """The Host header, which HTTP/1.1 demands."""
    lines = head.decode("latin-1").split("\r\n")
    return next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "127.0.0.1")


def _redirect(status: int, location: str) -> bytes:
    words = {301: "301 Moved Permanently", 302: "302 Found"}[status]
    return _head(words, {"Location": location, "Content-Length": 0})


def _head(status: str, headers: Mapping[str, object]) -> bytes:
    return "".join([f"HTTP/1.1 {status}\r\n", *(f"{k}: {v}\r\n" for k, v in headers.items()), "\r\n"]).encode("latin-1")


async def _listen(site: _Site, folder: Path, ports: Sequence[int], parent: int) -> None:
    """Serve until the parent process is gone; the port is remembered in the folder."""
    remembered = folder / "port"
    tried = [*([int(remembered.read_text())] if remembered.exists() else []), *ports]
    async with await _first_free(site, tried) as server:
        port = server.sockets[0].getsockname()[1]
        remembered.write_text(str(port))
        _tell(url=f"http://127.0.0.1:{port}")
        while os.getppid() == parent:
            await asyncio.sleep(_PARENT_CHECK_SECONDS)


async def _first_free(site: _Site, ports: Sequence[int]) -> asyncio.Server:
    for port in ports[:-1]:
        with suppress(OSError):  # another process listens there
            return await asyncio.start_server(site.serve, "127.0.0.1", port, limit=_MAX_HEAD_BYTES, backlog=1024)
    return await asyncio.start_server(site.serve, "127.0.0.1", ports[-1], limit=_MAX_HEAD_BYTES, backlog=1024)


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the bodies, listen, and serve until the parent process ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=1500)
    parser.add_argument("--delay-seed", type=int)
    parser.add_argument("--ports", type=int, nargs="+", default=[PREFERRED_PORT, 0])
    parser.add_argument("--parent", type=int, default=os.getppid())
    options = parser.parse_args(arguments)
    planted = plant(options.seed, options.size)
    bodies = {file_name(one): one.body for one in planted if one.reply not in {"missing", "refuse", "internal"}}
    for made in stock(bodies, options.folder):
        _tell(made=made, of=len(bodies))
    site = _Site(planted, options.folder, options.delay_seed)
    asyncio.run(_listen(site, options.folder, options.ports, options.parent))


if __name__ == "__main__":
    main()
