"""A proxy between S3 clients and their server that fails now and then, and counts how.

    python faults.py --to http://127.0.0.1:9000 --seed 1 --rates '{"error_500": 0.01, "truncated": 0.02}'

It prints its endpoint and serves until it is killed. A request meets at most one fault, drawn with a seeded generator;
``GET /-/faults`` tells the counts. A request that is refused (500, 503) or reset before it was passed on did nothing; one
whose answer is reset was done all the same, which is what tells idempotent clients from others.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import socket
import struct
import subprocess
import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web
from yarl import URL

KINDS = ("error_500", "slow_down", "reset_before", "reset_after", "truncated", "delayed")
"""What may become of a request; ``truncated`` are answers to GETs that break off in the middle of their body."""

COUNTS = "/-/faults"
DELAY_SECONDS = 0.2
MAX_BODY_BYTES = 1 << 30
_HOP = frozenset({"connection", "expect", "keep-alive", "te", "transfer-encoding", "upgrade", "content-length"})
_CODES = {"error_500": (500, "InternalError"), "slow_down": (503, "SlowDown")}


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class FaultyProxy:
    """Passes requests on, or fails them."""

    def __init__(self, target: str, rates: Mapping[str, float], seed: int, delay_seconds: float) -> None:
        """Fail shares of the requests: a kind of ``KINDS`` to its probability."""
        unknown = rates.keys() - set(KINDS)
        if unknown or sum(rates.values()) > 1:
            raise SystemExit(f"rates are probabilities of {', '.join(KINDS)}; found {dict(rates)}")
        self._target = target
        self._kinds = [*rates, ""]
        self._shares = [*rates.values(), 1 - sum(rates.values())]
        self._rng = np.random.default_rng(seed)
        self._delay_seconds = delay_seconds
        self._counts: Counter[str] = Counter()
        self._client: aiohttp.ClientSession | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if request.path == COUNTS:
            return web.json_response(self._counts)
        try:
            body = await request.read()  # whatever comes of it, the client has sent it
        except ConnectionError:  # or was killed
            return self._reset(request)
        fault = str(self._rng.choice(self._kinds, p=self._shares))
        if fault == "truncated" and request.method != "GET":
            fault = ""
        self._counts["requests"] += 1
        self._counts[fault or "untouched"] += 1
        if fault in _CODES:
            status, code = _CODES[fault]
            told = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
            return web.Response(status=status, text="" if request.method == "HEAD" else told, content_type="text/xml")
        if fault == "reset_before":
            return self._reset(request)
        if fault == "delayed":
            await asyncio.sleep(self._delay_seconds)
        passed = await self._passed_on(request, body)
        if fault == "reset_after":
            return self._reset(request)
        response = web.StreamResponse(status=passed.status, headers=passed.headers)
        await response.prepare(request)
        if fault == "truncated":
            await response.write(passed.body[: len(passed.body) // 2])
            return self._reset(request, response)
        await response.write(passed.body)
        return response

    async def _passed_on(self, request: web.Request, body: bytes) -> _Answer:
        if self._client is None:
            self._client = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        url = URL(self._target + request.raw_path, encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        async with self._client.request(
            request.method, url, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Content-Type",)
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            content = await answer.read()
            length = answer.headers.get("Content-Length", "0") if request.method == "HEAD" else str(len(content))
            return _Answer(answer.status, {**kept, "Content-Length": length}, content)

    @staticmethod
    def _reset(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
        transport = request.transport
        if transport is not None and response is None:  # what was sent of a truncated body shall arrive
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        elif transport is not None:
            transport.close()
        return response or web.Response()


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs."""

    endpoint: str

    def counts(self) -> dict[str, int]:
        """How many requests there were, and what became of them."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.endpoint).netloc, timeout=60)
        connection.request("GET", COUNTS)
        told: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return told


@contextmanager
def proxied(target: str, rates: Mapping[str, float], seed: int = 0, delay: float = DELAY_SECONDS) -> Iterator[Proxy]:
    """A proxy before ``target``, in a process of its own."""
    options = ["--to", target, "--rates", json.dumps(rates), "--seed", str(seed), "--delay", str(delay)]
    with subprocess.Popen([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Proxy(process.stdout.readline().strip())
        finally:
            process.kill()


async def _serve(proxy: FaultyProxy) -> None:
    application: Any = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_route("*", "/{path:.*}", proxy.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--to", required=True, help="the endpoint to pass requests on to")
    options.add_argument("--rates", type=json.loads, default={}, help="JSON: kind to probability")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--delay", type=float, default=DELAY_SECONDS, help="seconds that a delayed request waits")
    told = options.parse_args()
    asyncio.run(_serve(FaultyProxy(told.to, told.rates, told.seed, told.delay)))


if __name__ == "__main__":
    main()
