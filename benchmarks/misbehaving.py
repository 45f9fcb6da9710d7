"""A web server that misbehaves on cue, on many addresses of the loopback: run as a program, it serves until its input ends.

The path says what happens: ``/good/...`` an image, ``/gone/`` 404, ``/hang/`` nothing, ``/drip/`` the image over 45 s,
``/cut/`` half of what was announced, ``/short/`` half an image and the end, ``/html/`` a page, ``/bomb/`` a small PNG of
400 megapixels. ``/strict/`` bans the crawler for good when it asks more than 20 times in a second; ``/busy/`` answers every
25th request 503 with ``Retry-After: 1`` and counts those that come before. ``/report`` tells what its log says of these two.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
import zlib
from collections import deque
from contextlib import suppress

import numpy as np
from web import photograph

BAN_ABOVE = 20
DRIP_SECONDS = 45


class Behaviour:
    """What the server knows of its guests."""

    def __init__(self, width: int, height: int) -> None:
        """Answer with an image of this size."""
        self.image = photograph(np.random.default_rng(0), width, height)
        self.bomb = _bomb(20_000)
        self.asked: deque[float] = deque()
        self.most_in_a_second = self.strict = self.busy = self.too_early = self.at_once = self.most_at_once = 0
        self.banned = False
        self.open_again = 0.0

    def report(self) -> bytes:
        """What the log says."""
        names = ("most_in_a_second", "banned", "strict", "busy", "too_early", "most_at_once")
        return json.dumps({name: getattr(self, name) for name in names}).encode()

    def judge_strict(self) -> bool:
        """Count a request to ``/strict/``; whether its sender is welcome."""
        now = time.monotonic()
        self.strict += 1
        self.asked.append(now)
        while self.asked[0] <= now - 1:
            self.asked.popleft()
        self.most_in_a_second = max(self.most_in_a_second, len(self.asked))
        self.banned |= len(self.asked) > BAN_ABOVE
        return not self.banned

    def judge_busy(self) -> bool:
        """Count a request to ``/busy/``; whether it is answered."""
        now = time.monotonic()
        self.busy += 1
        self.too_early += now < self.open_again
        if self.busy % 25 == 0:
            self.open_again = now + 1
            return False
        return now >= self.open_again


def _bomb(side: int) -> bytes:
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(side + 1)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _head(status: int, length: int | None, more: str = "") -> bytes:
    size = f"Content-Length: {length}\r\n" if length is not None else "Connection: close\r\n"
    return f"HTTP/1.1 {status} X\r\n{size}{more}\r\n".encode()


async def serve(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            kind = request.split(b" ", 2)[1].decode("latin-1").split("/")[1].partition("?")[0]
            if not await _answer(behaviour, kind, writer):
                break
    writer.close()


async def _answer(behaviour: Behaviour, kind: str, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; whether the connection stays."""
    image, half = behaviour.image, behaviour.image[: len(behaviour.image) // 2]
    bodies = {"good": image, "html": b"<!doctype html><html>" + bytes(500), "bomb": behaviour.bomb}
    if kind == "hang":
        await asyncio.sleep(600)
    elif kind == "drip":
        writer.write(_head(200, len(image)))
        for start in range(0, len(image), len(image) // DRIP_SECONDS):
            writer.write(image[start : start + len(image) // DRIP_SECONDS])
            await writer.drain()
            await asyncio.sleep(1)
    elif kind in {"cut", "short"}:
        writer.write(_head(200, len(image) if kind == "cut" else None) + half)
        await writer.drain()
        return False
    elif kind == "report":
        report = behaviour.report()
        writer.write(_head(200, len(report)) + report)
    elif kind == "strict":
        writer.write(_head(200, len(image)) + image if behaviour.judge_strict() else _head(403, 0))
    elif kind == "busy":
        writer.write(_head(200, len(image)) + image if behaviour.judge_busy() else _head(503, 0, "Retry-After: 1\r\n"))
    elif kind in bodies:
        writer.write(_head(200, len(bodies[kind])) + bodies[kind])
    else:
        writer.write(_head(404, 0))
    await writer.drain()
    return True


async def _main(hosts: int, width: int, height: int) -> None:
    behaviour = Behaviour(width, height)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(behaviour, reader, writer)

    server = await asyncio.start_server(connected, "127.0.1.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    others = [await asyncio.start_server(connected, f"127.0.1.{n}", port, backlog=256) for n in range(2, hosts + 1)]
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for one in (server, *others):
        one.close()


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:4])))
