"""The local engine: supervised processes on this machine, one a GPU when there are several.

The driver hands an item to each idle worker over a pipe and waits on pipes and process ends together, so a worker that
dies is seen at once: its item is tried again, the worker replaced. A worker that loses its driver ends itself.

Price: about a second of imports a worker and stage; 0.2 ms an item.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...corpora.engine import MAX_ATTEMPTS, Outcome, Resources, Task, attempt

NAME = "local"
_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class LocalEngine:
    """Runs tasks in ``workers`` processes."""

    workers: int = 2
    name: str = NAME

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; outcomes in order of completion.

        Raises:
            FatalError, ConfigError: a task or its set-up met one; all workers are stopped.
        """
        gpus = len(list(Path("/dev").glob("nvidia[0-9]*"))) if resources.gpus else 0
        pool = [_Worker(task, slot % gpus if gpus else None) for slot in range(min(self.workers, len(items)))]
        try:
            yield from _supervise(pool, items)
        finally:
            for worker in pool:
                worker.stop()


def _supervise(pool: list[_Worker], items: Sequence[str]) -> Iterator[Outcome]:
    waiting = deque((item, 1) for item in items)
    left = len(items)
    while left:
        for worker in pool:
            if worker.item is None and waiting:
                worker.give(*waiting.popleft())
        busy = {worker.ears: worker for worker in pool if worker.item is not None}
        for ears in wait(list(busy)):
            worker = busy[ears]  # type: ignore[index]
            outcome = worker.hear()
            if outcome.fatal:
                raise outcome.fatal(outcome.error)
            if not outcome.ok and outcome.attempts < MAX_ATTEMPTS:
                waiting.append((outcome.item, outcome.attempts + 1))
                continue
            left -= 1
            yield outcome


class _Worker:
    """One process and the item it works on."""

    def __init__(self, task: Task, gpu: int | None) -> None:
        self._task, self._gpu = task, gpu
        self.item: str | None = None
        self._attempts = 0
        self._start()

    def _start(self) -> None:
        self.ears, mouth = _context.Pipe()
        watched, self._lifeline = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_serve, args=(mouth, watched, self._task, self._gpu), daemon=True)
        self._process.start()
        mouth.close()
        watched.close()

    def give(self, item: str, attempts: int) -> None:
        self.item, self._attempts = item, attempts
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.ears.send(item)  # a worker that died idle is found by hear(), and replaced

    def hear(self) -> Outcome:
        assert self.item is not None
        item = self.item
        try:
            outcome: Outcome = self.ears.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            told = f"worker died with {signal.Signals(-code).name if code and code < 0 else f'exit code {code}'}"
            outcome = Outcome(item, None, told, worker={"engine": NAME, "process": self._process.pid})
            self.stop()
            self._start()
        self.item = None
        return replace(outcome, item=item, attempts=self._attempts)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self.ears.close()
        self._lifeline.close()


def _serve(mouth: Connection[Any, Any], lifeline: Connection[Any, Any], task: Task, gpu: int | None) -> None:
    """The worker's life: set up, then an outcome for each item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides when to stop
    threading.Thread(target=_die_with_driver, args=(lifeline,), daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    ready = attempt(_SetUp(task), "set-up", NAME)
    while True:
        try:
            item = mouth.recv()
        except EOFError:
            return
        mouth.send(attempt(task, item, NAME) if ready.ok else ready)


@dataclass(frozen=True)
class _SetUp:
    """The set-up as a task, so that its errors meet the same boundary."""

    task: Task

    def setup(self) -> None:
        """Nothing to do before the set-up."""

    def __call__(self, item: str) -> dict[str, Any]:
        self.task.setup()
        return {}


def _die_with_driver(lifeline: Connection[Any, Any]) -> None:
    try:
        lifeline.recv()
    except EOFError:
        os._exit(1)
