"""Supervised processes of this machine: workers that tell how their set-up went, do items, and die without company.

A process hears of items and tells outcomes over a pipe, whose other end sees at once when it dies, and learns of what. A
process that loses whoever started it ends itself. Nothing heavier is imported here than what a worker needs to begin.

Price: a tenth of a second to start, and what the task imports; 0.2 ms an item.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from ...corpora.engine import Outcome, Task, attempt, here, set_up
from .supervising import Death, Worker

NAME = "local"
_GRACE_SECONDS = 5.0
"""How long a worker that closed its pipe may take to end."""

_SIGNALS = {int(known): known.name for known in signal.Signals} | {9: "SIGKILL; did memory run out?"}
_context = multiprocessing.get_context("spawn")


class Process(Worker):
    """A worker that is a process of this machine."""

    def __init__(self, task: Task, environ: Mapping[str, str]) -> None:
        self.ears, mouth = _context.Pipe()
        watched, self._lifeline = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_serve, args=(mouth, watched, task), daemon=True)
        with environment(environ):
            self._process.start()
        mouth.close()
        watched.close()

    def give(self, item: str) -> None:
        """Send it the item's name."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.ears.send(item)

    def hear(self) -> Outcome | Death:
        """Read what it sent, or wait for its end and tell the signal or exit code."""
        try:
            outcome: Outcome = self.ears.recv()
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            return Death(self._last_words(), here(NAME, process=self._process.pid))
        return outcome

    def _last_words(self) -> str:
        self._process.join(_GRACE_SECONDS)
        code = self._process.exitcode
        if code is None:
            return "worker closed its pipe and did not end"
        return f"worker died with {_SIGNALS.get(-code, f'exit code {code}')}"

    def stop(self) -> None:
        """Kill it, and close the pipes."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.ears.close()
        self._lifeline.close()


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a process started meanwhile has from its first import on, when libraries count cores and GPUs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(mouth: Connection[Any, Any], lifeline: Connection[Any, Any], task: Task) -> None:
    """The worker's life: tell how the set-up went, then an outcome for each item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides when to stop
    threading.Thread(target=_die_with_driver, args=(lifeline,), daemon=True).start()
    worker = here(NAME)
    ready = set_up(task, worker)
    mouth.send(ready)
    while ready.ok:
        try:
            item = mouth.recv()
        except EOFError:
            return
        mouth.send(attempt(task, item, worker))


def _die_with_driver(lifeline: Connection[Any, Any]) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
