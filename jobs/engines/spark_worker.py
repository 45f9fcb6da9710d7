"""What runs inside Spark's Python workers: each supervises one process of its own, which does the items.

A Python worker of Spark's that dies takes a Spark task with it, which says neither why nor in what, and four such tasks
end the job. So items run in a process beside it, as the local engine's do: its death is an outcome like any other, it
has its environment before its first import, and it serves later tasks of the same map. Spark itself loses a task only
with the executor, and then begins it anew with a higher attempt number, which counts against the item. (A speculative
copy has a higher number, too, and runs: tasks may run twice, as everything here may, and the first to end is heard.)

Price: a process of 60 MB a slot that only waits; 0.2 ms an item.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from pyspark import SparkFiles, TaskContext
from pyspark.accumulators import Accumulator, AccumulatorParam

from ...corpora.engine import MAX_ATTEMPTS, Json, Outcome, here
from .leases import Slots
from .processes import Process
from .shipped import Shipped
from .supervising import Death

NAME = "spark"
LOST = "worker died with its executor, or was killed by it; did memory run out?"
_HOLD_SECONDS = 2.0
"""How long a worker that could not be set up keeps the next item before it tries again: the others shall have them."""

_IDLE_SECONDS = 5.0
"""After so long without an item a process ends, and its memory and its GPU are the next map's; Spark keeps its own for 60."""


@dataclass(frozen=True)
class Report:
    """What a Spark task says of the item with this number in its round."""

    number: int
    outcome: Outcome
    lost: int = 0
    """Attempts before this one that ended with their executor, and could not be told of."""
    attempted: bool = True
    """False when no process could be set up for it, which is not the item's fault."""


class Stream(AccumulatorParam[tuple[Report, ...]]):  # type: ignore[misc]
    """Reports as their tasks end: kept until then on the worker, handed to ``heard`` on the driver."""

    def __init__(self, heard: Callable[[Report], None] | None = None) -> None:
        """Without ``heard``, as it arrives on workers, it keeps."""
        self._heard = heard

    def __reduce__(self) -> tuple[type[Stream], tuple[()]]:
        return Stream, ()

    def zero(self, value: tuple[Report, ...]) -> tuple[Report, ...]:
        """Nothing told yet."""
        return ()

    def addInPlace(self, value1: tuple[Report, ...], value2: tuple[Report, ...]) -> tuple[Report, ...]:  # noqa: N802
        """Hand the second on, or keep it beside the first."""
        if self._heard is None:
            return value1 + value2
        for report in value2:
            self._heard(report)
        return ()


@contextmanager
def quiet_at_the_end() -> Iterator[None]:
    """Around the work of a task: when Spark hangs up afterwards, PySpark ends with a traceback; so, without."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


@dataclass(frozen=True)
class Order:
    """What a map asks of every Spark task: the task in a pickle, its process's environment, and where reports go."""

    map_name: str
    code: str
    """The zip of tamis and the user's modules, by its name among Spark's files."""
    task: bytes
    environ: Mapping[str, str]
    gpus: float
    reports: Accumulator[tuple[Report, ...]] | None = None

    def __call__(self, entries: Iterable[tuple[int, str, int]]) -> Iterator[None]:
        """Do the items of a partition, each with its number and how many attempts at it failed in earlier rounds."""
        assert self.reports is not None
        with quiet_at_the_end():
            for number, item, tried in entries:
                self.reports.add((self._do(number, item, tried),))
        return iter(())

    def _do(self, number: int, item: str, tried: int) -> Report:
        context = TaskContext.get()
        assert context is not None
        lost, executor = context.attemptNumber(), executor_id()
        place: dict[str, Json] = {"executor": executor, "stage": context.stageId(), "task": context.taskAttemptId()}
        if tried + lost >= MAX_ATTEMPTS:
            return Report(number, Outcome(item, None, LOST, worker=here(NAME, **place)), lost - 1)
        with _seat(self).awake() as seat:
            if self.gpus:
                seat.slots.offer(context.resources()["gpu"].addresses)
            refusal = seat.fill()
            if refusal is not None:
                told = replace(refusal, item=item, worker=here(NAME, **place))
                return Report(number, told, lost, attempted=False)
            outcome = seat.work(item)
        worker = {**outcome.worker, "engine": NAME, **place}
        return Report(number, replace(outcome, item=item, worker=worker), lost)


class _Seat:
    """The process that does the items of one map, for as long as this Python worker serves it."""

    def __init__(self, order: Order) -> None:
        self.map_name = order.map_name
        self.slots = Slots(_executor_folder() / "tamis-gpus", order.gpus)
        self._task = Shipped(order.task, SparkFiles.get(order.code), self.slots if order.gpus else None)
        self._environ = order.environ
        self._process: Process | None = None
        self._failed = False
        self._rest = threading.Timer(0, self.empty)

    @contextmanager
    def awake(self) -> Iterator[_Seat]:
        """Keep the process that is there, and let it go when nobody comes for long after this."""
        self._rest.cancel()
        if self._rest.ident is not None:
            self._rest.join()
        try:
            yield self
        finally:
            self._rest = threading.Timer(_IDLE_SECONDS, self.empty)
            self._rest.daemon = True
            self._rest.start()

    def fill(self) -> Outcome | None:
        """Set a process up, unless there is one; how it failed the last time, when it cannot be."""
        if self._process is not None:
            return None
        if self._failed:
            time.sleep(_HOLD_SECONDS)
        for _ in range(MAX_ATTEMPTS):
            self._process = Process(self._task, self._environ)
            told = self._hear()
            self._failed = not told.ok
            if told.ok:
                return None
            self.empty()
            if told.fatal:
                break
        return told

    def work(self, item: str) -> Outcome:
        """Have an item done; a process that dies of it is replaced when the next comes."""
        assert self._process is not None
        self._process.give(item)
        return self._hear()

    def _hear(self) -> Outcome:
        assert self._process is not None
        news = self._process.hear()
        if not isinstance(news, Death):
            return news
        self.empty()
        return Outcome("", None, news.told, worker=news.worker)

    def empty(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()


_SEATS: list[_Seat] = []
"""This Python worker's one seat: that of the newest map it has served."""


def _seat(order: Order) -> _Seat:
    if not _SEATS or _SEATS[0].map_name != order.map_name:
        for seat in _SEATS:
            with seat.awake():
                seat.empty()
        _SEATS[:] = [_Seat(order)]
        # PySpark is what runs here, and would be imported anew by each process that starts from here: 0.5 s.
        sys.modules["__main__"] = ModuleType("__main__")
        # Spark collects garbage after each task, over all that PySpark has imported: 15 ms of an item's 20.
        gc.collect()
        gc.freeze()
    return _SEATS[0]


def _executor_folder() -> Path:
    """A folder that is this executor's alone, and goes with it."""
    return Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0])


@cache
def executor_id() -> str:
    """What Spark calls the executor that this process belongs to: ``driver`` when there is but the driver."""
    told = os.environ.get("SPARK_EXECUTOR_ID")
    return told or id_of_ancestor(os.getppid(), Path("/proc"))


def id_of_ancestor(process: int, folder: Path) -> str:
    """The ``--executor-id`` with which the executor, a parent of the parent of Python workers, was started."""
    while process > 1:
        try:
            words = (folder / str(process) / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            status = (folder / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        told = [after for word, after in pairwise(words) if word == "--executor-id" and after]
        if told:
            return told[0]
        process = int(status.rpartition(")")[2].split()[1])
    return "driver"
