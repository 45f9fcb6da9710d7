"""The local engine: supervised processes on this machine, one a GPU when there are several.

The driver hands an item to each idle worker over a pipe and waits on pipes and process ends together, so a worker that
dies is seen at once: its item is tried again, the worker replaced. A worker that loses its driver ends itself. A set-up
that fails is no item's fault: the worker is started anew, given up after ``MAX_ATTEMPTS``, and the others go on.

Price: about a second of imports a worker and stage; 0.2 ms an item.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...corpora.engine import MAX_ATTEMPTS, Outcome, Resources, Task, attempt, here, set_up
from ...corpora.errors import FatalError

NAME = "local"
_GRACE_SECONDS = 5.0
"""How long a worker that closed its pipe may take to end."""

_SIGNALS = {int(known): known.name for known in signal.Signals} | {9: "SIGKILL; did memory run out?"}
_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class LocalEngine:
    """Runs tasks in ``workers`` processes."""

    workers: int = 2
    name: str = NAME

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; outcomes in order of completion.

        Raises:
            FatalError, ConfigError: a task or its set-up met one, or no worker could be set up; all workers are stopped.
        """
        gpus = visible_gpus(os.environ) if resources.gpus else []
        with contextlib.ExitStack() as stack:
            pool: list[_Worker] = []
            for slot in range(min(self.workers, len(items))):
                environ = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, int(resources.cpus))))}
                if gpus:
                    environ["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
                pool.append(_Worker(task, environ))
                stack.callback(pool[-1].stop)
            yield from _supervise(pool, items)


def visible_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """CUDA's names of the GPUs that this process may use: what ``CUDA_VISIBLE_DEVICES`` says, or one a device file."""
    told = environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]


def _supervise(pool: Sequence[_Worker], items: Sequence[str]) -> Iterator[Outcome]:
    waiting: deque[tuple[str, tuple[Outcome, ...]]] = deque((item, ()) for item in items)
    left = len(items)
    while left:
        for worker in pool:
            if worker.idle and waiting:
                worker.give(*waiting.popleft())
        talking = {worker.ears: worker for worker in pool if not (worker.idle or worker.given_up)}
        if not talking:
            raise FatalError(f"no worker could be set up: {pool[0].error}")
        for ears in wait(list(talking)):
            outcome = talking[ears].hear()  # type: ignore[index]
            if outcome is None:
                continue
            if outcome.fatal:
                raise outcome.fatal(outcome.error)
            if not outcome.ok and outcome.attempts < MAX_ATTEMPTS:
                waiting.append((outcome.item, (*outcome.earlier, replace(outcome, earlier=()))))
                continue
            left -= 1
            yield outcome


class _Worker:
    """One process and the item it works on."""

    def __init__(self, task: Task, environ: Mapping[str, str]) -> None:
        self._task, self._environ = task, environ
        self._item: str | None = None
        self._earlier: tuple[Outcome, ...] = ()
        self._failures = 0
        self.error: str | None = None
        self._start()

    def _start(self) -> None:
        self._ready = False
        self.ears, mouth = _context.Pipe()
        watched, self._lifeline = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_serve, args=(mouth, watched, self._task), daemon=True)
        with _environment(self._environ):
            self._process.start()
        mouth.close()
        watched.close()

    @property
    def idle(self) -> bool:
        return self._ready and self._item is None

    @property
    def given_up(self) -> bool:
        return self._failures == MAX_ATTEMPTS

    def give(self, item: str, earlier: tuple[Outcome, ...]) -> None:
        self._item, self._earlier = item, earlier
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.ears.send(item)  # a worker that died idle is found by hear(), and replaced

    def hear(self) -> Outcome | None:
        """The outcome of its item, or of a set-up that must stop the run; None for other news of a set-up."""
        died = False
        try:
            outcome: Outcome = self.ears.recv()
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            outcome, died = self._obituary(), True
        if self._item is None:
            return self._hear_set_up(outcome)
        item, self._item = self._item, None
        if died:
            self._replace()
        return replace(outcome, item=item, attempts=len(self._earlier) + 1, earlier=self._earlier)

    def _hear_set_up(self, outcome: Outcome) -> Outcome | None:
        if outcome.ok:
            self._ready, self._failures = True, 0
            return None
        self.error = outcome.error
        self._failures += 1
        if not self.given_up:
            self._replace()
        return outcome if outcome.fatal else None

    def _obituary(self) -> Outcome:
        self._process.join(_GRACE_SECONDS)
        code = self._process.exitcode
        if code is None:
            told = "worker closed its pipe and did not end"
        else:
            told = f"worker died with {_SIGNALS.get(-code, f'exit code {code}')}"
        return Outcome("", None, told, worker=here(NAME, process=self._process.pid))

    def _replace(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self.ears.close()
        self._lifeline.close()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
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
