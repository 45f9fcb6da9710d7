"""Counters and gauges of a run for Prometheus: ``--metrics PORT`` answers ``GET /metrics`` in its text format, 0.0.4.

Metrics are one watcher of a run, progress bars are another. They count what this run did; what a corpus holds is told by
``tamis status``. The server listens on this machine alone unless a host is named, knows one page, reads no body and
changes nothing.

Price: a few additions an item, under a lock; a thread for each scrape.
"""

from __future__ import annotations

import math
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from ..corpora.errors import ConfigError
from ..pipelines.logs import Entry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_HOST = "127.0.0.1"
REQUEST_SECONDS = 10.0

FAMILIES = {
    "tamis_items_total": ("counter", "Items (shards, parts) that ended, by how."),
    "tamis_units_total": ("counter", "What was in them: URLs, images, rows, samples."),
    "tamis_bytes_total": ("counter", "Bytes of content that tasks read and wrote."),
    "tamis_seconds_total": ("counter", "Seconds that tasks spent, by phase; threads count side by side."),
    "tamis_task_seconds_total": ("counter", "Seconds in which workers had an item."),
    "tamis_retries_total": ("counter", "Attempts beyond the first."),
    "tamis_workers": ("gauge", "Workers that ended an item of this stage in this run."),
    "tamis_stage_items": ("gauge", "Items of the stage, those done before this run among them."),
    "tamis_stage_items_done": ("gauge", "Items of the stage that are done."),
    "tamis_stage_running": ("gauge", "Whether the stage is under way."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Watches a run and adds up."""

    def __init__(self) -> None:
        """Start from nothing."""
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in FAMILIES}
        self._workers: set[tuple[str, int]] = set()
        self._stage = self._unit = ""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """A stage starts: ``done`` of ``total`` items were done before."""
        with self._lock:
            if stage != self._stage:
                self._workers.clear()
            self._stage, self._unit = stage, unit
            self._set("tamis_stage_items", total)
            self._set("tamis_stage_items_done", done)
            self._set("tamis_stage_running", 1)
            self._set("tamis_workers", len(self._workers))
            for state in ("ok", "failed"):  # a counter that appears with its first event hides that event from rate()
                self._count("tamis_items_total", 0, state=state)
            for direction in ("in", "out"):
                self._count("tamis_bytes_total", 0, direction=direction)
            self._count("tamis_units_total", 0, unit=unit)
            self._count("tamis_task_seconds_total", 0)
            self._count("tamis_retries_total", 0)

    def advance(self, items: int, units: int, failures: int) -> None:
        """Items ended, with the units in them."""
        with self._lock:
            self._count("tamis_items_total", items - failures, state="ok")
            self._count("tamis_items_total", failures, state="failed")
            self._count("tamis_stage_items_done", items - failures)
            self._count("tamis_units_total", units, unit=self._unit)

    def hear(self, entry: Entry) -> None:
        """An item ended: where its time and bytes went, and who did it."""
        with self._lock:
            self._count("tamis_bytes_total", entry.bytes_in, direction="in")
            self._count("tamis_bytes_total", entry.bytes_out, direction="out")
            self._count("tamis_task_seconds_total", entry.seconds)
            self._count("tamis_retries_total", entry.attempts - 1)
            for phase, seconds in entry.spent.items():
                self._count("tamis_seconds_total", seconds, phase=phase)
            self._workers.add((entry.node, entry.process))
            self._set("tamis_workers", len(self._workers))

    def end(self) -> None:
        """The stage is over."""
        with self._lock:
            self._set("tamis_stage_running", 0)

    def _count(self, name: str, more: float, **labels: str) -> None:
        values, key = self._values[name], (("stage", self._stage), *labels.items())
        values[key] = values.get(key, 0) + more

    def _set(self, name: str, value: float) -> None:
        self._values[name][("stage", self._stage),] = value

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, (kind, about) in FAMILIES.items():
            if self._values[name]:
                yield f"# HELP {name} {about}"
                yield f"# TYPE {name} {kind}"
            for labels, value in sorted(self._values[name].items()):
                told = ",".join(f'{label}="{escaped(text)}"' for label, text in labels)
                yield f"{name}{{{told}}} {number(value)}"


def escaped(text: str) -> str:
    r"""A label's value as it stands between quotes.

    >>> escaped('a "b" \\ c\n')
    'a \\"b\\" \\\\ c\\n'
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """A sample's value: Go reads what Python writes, but for infinity and NaN."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else str(value)


def address_of(told: str) -> tuple[str, int]:
    """Where ``[HOST:]PORT`` is; port 0 is any that is free.

    Raises:
        ConfigError: it is neither.

    >>> address_of("9100"), address_of("0.0.0.0:9100"), address_of("[::1]:0")
    (('127.0.0.1', 9100), ('0.0.0.0', 9100), ('::1', 0))
    """
    host, _, port = told.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(f"--metrics: found {told!r}, expected PORT or HOST:PORT, such as 9100 or 0.0.0.0:9100")
    return host.removeprefix("[").removesuffix("]") or DEFAULT_HOST, int(port)


class MetricsServer(ThreadingTCPServer):
    """Answers scrapes until it is closed or the process ends.

    It is no ``HTTPServer``: that one looks the host's name up, and a name server that hangs would hold up the run.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, metrics: Metrics, address: str) -> None:
        """Listen at ``[HOST:]PORT``.

        Raises:
            ConfigError: there is no such address, or it is taken.
        """
        host, port = address_of(address)
        self.metrics = metrics
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Page)
        except OSError as error:
            raise ConfigError(f"--metrics {address}: {error.strerror or error}; give another host or port") from error
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What to scrape."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}/metrics"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that goes away is no news; anything else is an error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Page(BaseHTTPRequestHandler):
    """The one page."""

    server: MetricsServer
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "there is /metrics")
            return
        body = self.server.metrics.text().encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""
