"""What every engine promises, and the task boundary: the one place that catches ``Exception``.

An engine has two verbs. ``map``: run a picklable task over item names (shards), anywhere, in any order. ``group``: bring
rows with equal keys together and reduce them. Operators do not know where they run; engines do not know what they run.
Outcomes are small and JSON-able; bulk data goes through the store.

Price: a task is pickled once a worker; an item costs one message each way. ``group``: corpora/grouping.py.
"""

from __future__ import annotations

import errno
import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .errors import ConfigError, FatalError, TamisError

if TYPE_CHECKING:
    from .grouping import Dataset, Grouping, Parts

_HOPELESS = {errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"""No space to write: another attempt on this machine, and every other item, meets the same."""

MAX_ATTEMPTS = 3
"""How often an item is tried before it is recorded as poison."""

Json = Any
"""A value that ``json.dumps`` takes. Recursive aliases confuse pydantic and pickle; the name is the promise."""


@dataclass(frozen=True)
class Resources:
    """What one worker needs, as plain data that an engine resolves; ``custom`` are resources that a cluster names itself."""

    cpus: float = 1.0
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """Work over named items; picklable."""

    def setup(self) -> None:
        """Prepare once a worker (load models, open the store)."""

    def __call__(self, item: str) -> Mapping[str, Json]:
        """Do one item and return a small JSON-able account of it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt at an item: a value, or an error with its kind."""

    item: str
    value: Mapping[str, Json] | None
    error: str | None = None
    fatal: type[TamisError] | None = None
    attempts: int = 1
    seconds: float = 0.0
    worker: Mapping[str, Json] = field(default_factory=dict)
    earlier: tuple[Outcome, ...] = ()
    """The failed attempts before this one, for the logs: what a retry mended is worth knowing, too."""

    @property
    def ok(self) -> bool:
        """Whether the item is done."""
        return self.error is None


class Engine(Protocol):
    """Where work runs."""

    @property
    def name(self) -> str:
        """What logs call it."""

    def check(self, modules: Sequence[str]) -> None:
        """Refuse workers that lack what the tasks import; asked before the first task, which may be hours before it is used.

        Raises:
            ConfigError: which worker lacks what, and the command that brings it.
        """

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; yield one outcome an item, in any order.

        An item whose attempt fails or whose worker dies is tried ``MAX_ATTEMPTS`` times, then yielded with its error.

        Raises:
            FatalError, ConfigError: a task or its set-up met one; nothing further is started.
        """

    def group(self, dataset: Dataset, grouping: Grouping, parts: Parts, resources: Resources) -> Iterator[Outcome]:
        """Make the parts of ``grouping`` over ``dataset`` that are not there; yield an outcome a part, with its ``rows``.

        Items are read and parts are made by workers; when the iterator ends, all parts are there and marked as such.

        Raises:
            FatalError, ConfigError: an item could not be read or a part not made; parts that were made stay.
        """


def here(engine: str, **known: Json) -> dict[str, Json]:
    """Who this worker is, for the logs: the engine, the node and the process, and what the engine knows of them."""
    return {"engine": engine, "node": platform.node(), "process": os.getpid(), **known}


def attempt(task: Task, item: str, worker: Mapping[str, Json]) -> Outcome:
    """Run one item and turn whatever it raises into an outcome: the task boundary of every engine."""
    started = time.perf_counter()
    try:
        value = task(item)
    except Exception as error:  # noqa: BLE001 - the task boundary: counted and recorded, never swallowed
        seconds = time.perf_counter() - started
        return Outcome(item, None, _told(error), _fatal(error), seconds=seconds, worker=worker)
    return Outcome(item, value, seconds=time.perf_counter() - started, worker=worker)


def set_up(task: Task, worker: Mapping[str, Json]) -> Outcome:
    """Prepare a worker; what the set-up raises meets the same boundary as an item's."""
    return attempt(_SetUp(task), "set-up", worker)


@dataclass(frozen=True)
class _SetUp:
    """The set-up as a task."""

    task: Task

    def setup(self) -> None:
        """Nothing to do before the set-up."""

    def __call__(self, item: str) -> Mapping[str, Json]:
        self.task.setup()
        return {}


def _told(error: Exception) -> str:
    """Our own errors speak for themselves; of others, the type and the place are needed to find them."""
    if isinstance(error, TamisError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"


def _fatal(error: Exception) -> type[TamisError] | None:
    if isinstance(error, ConfigError):
        return ConfigError
    full_or_forbidden = isinstance(error, OSError) and error.errno in _HOPELESS
    return FatalError if isinstance(error, FatalError) or full_or_forbidden else None
