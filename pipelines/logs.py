"""The log of a stage, ``logs/<stage>.jsonl``: a JSON line an event, written by the driver and read by anybody.

    begin   of, total, before, unit, driver     the stage starts: ``before`` of ``total`` were done
    item    of, item, size, units, ok, error, attempts, earlier, seconds, worker, value     an item ended
    end     of, error                           the stage is over; with an error if something stopped it

Every line has ``time`` (UTC), ``stage`` and ``event``; ``of`` tells several passes of a stage apart, as the exports of a
recipe. ``earlier`` has the attempts that failed before the last one. Clock times live here and in ``fetch/``, and nowhere else.

A reader follows a log from another process, on another machine, while it grows. What a kill cut short and what is not
ours is passed over: a log says what was seen, and nothing depends on it.

Price: about 500 bytes a line; a reader reads each line once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..corpora.engine import Outcome, here
from ..corpora.ranges import each
from ..corpora.store import Store

FOLDER = "logs"
STAGES = ("draft", "fetch", "score", "dedup", "decide", "export")
"""Stages in the order of a run; adopting drafts its indexes in a pass of its own."""

_ENDING = ".jsonl"
_OBJECTS = ".d"
"""What is added to a log's name for the folder in which an object store keeps its lines."""


@dataclass(frozen=True)
class Begun:
    """A stage started. ``time`` in seconds since 1970, as everywhere here; counts are of items, by size."""

    time: float
    of: str = ""
    total: int = 0
    before: int = 0
    unit: str = ""
    engine: str = ""
    node: str = ""
    process: int = 0


@dataclass(frozen=True)
class Entry:
    """An item ended, well or not: what it took, where, and what was in it."""

    time: float
    item: str
    of: str = ""
    size: int = 1
    units: int = 0
    ok: bool = True
    error: str = ""
    attempts: int = 1
    seconds: float = 0.0
    engine: str = ""
    node: str = ""
    process: int = 0
    spent: Mapping[str, float] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True)
class Ended:
    """A stage is over, or was stopped by ``error``."""

    time: float
    of: str = ""
    error: str = ""


Event = Begun | Entry | Ended


@dataclass(frozen=True)
class Log:
    """Writes the log of one pass of a stage."""

    store: Store
    stage: str
    of: str = ""

    def begin(self, total: int, before: int, unit: str, engine: str) -> None:
        """The stage starts."""
        self._write("begin", {"total": total, "before": before, "unit": unit, "driver": here(engine)})

    def item(self, outcome: Outcome, size: int, units: int) -> Entry:
        """An item ended; what a reader will read of it."""
        told = {"item": outcome.item, "size": size, "units": units, "attempts": outcome.attempts, **_told(outcome)}
        if outcome.earlier:
            told["earlier"] = [_told(one) for one in outcome.earlier]
        told["value"] = outcome.value
        return _entry(self._write("item", told))

    def end(self, error: str | None = None) -> None:
        """The stage is over."""
        self._write("end", {"error": error})
        self.store.flush_lines()

    def _write(self, event: str, told: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "stage": self.stage, "event": event, **({"of": self.of} if self.of else {}), **told}
        self.store.append_line(f"{FOLDER}/{self.stage}{_ENDING}", json.dumps(line, ensure_ascii=False))
        return line


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "ok": outcome.ok,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 4),
        "worker": dict(outcome.worker),
    }


def logged_stages(store: Store) -> list[str]:
    """The stages that have a log, by name."""
    files = {name.removesuffix(_ENDING) for name in store.names(FOLDER) if name.endswith(_ENDING)}
    folders = store.folders(FOLDER)
    ending = _ENDING + _OBJECTS
    return sorted(files | {name.removesuffix(ending) for name in folders if name.endswith(ending)})


class Follower:
    """Reads the log of a stage as it grows; what was read is not read again."""

    def __init__(self, store: Store, stage: str) -> None:
        """Start at the log's beginning."""
        self._store = store
        self._path = f"{FOLDER}/{stage}{_ENDING}"
        self._offset = 0
        self._seen: set[str] = set()

    def events(self) -> Iterator[Event]:
        """What was logged since the last call."""
        for line in self._lines():
            event = parse(line)
            if event is not None:
                yield event

    def _lines(self) -> Iterator[bytes]:
        if self._store.exists(self._path):
            with self._store.open(self._path) as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    self._offset += len(line)
                    yield line
        folder = self._path + _OBJECTS
        unread = [name for name in self._store.names(folder) if name not in self._seen]
        paths = (f"{folder}/{name}" for name in unread)
        for data in each(self._store.read, paths, self._store.requests_at_once):
            yield from data.splitlines()
        self._seen.update(unread)


def read_log(store: Store, stage: str) -> Iterator[Event]:
    """The whole log of a stage, wherever the store keeps it."""
    return Follower(store, stage).events()


def parse(line: bytes | str) -> Event | None:
    """The event that a line tells, or None for a line that is not one of ours."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or (time := _time(told.get("time"))) is None:
        return None
    match told.get("event"):
        case "begin":
            return _begun(time, told)
        case "item":
            return _entry(told)
        case "end":
            return Ended(time, _text(told.get("of")), _text(told.get("error")))
    return None


def _begun(time: float, told: Mapping[str, Any]) -> Begun:
    driver = _mapping(told.get("driver"))
    return Begun(
        time=time,
        of=_text(told.get("of")),
        total=_whole(told.get("total")),
        before=_whole(told.get("before")),
        unit=_text(told.get("unit")),
        engine=_text(driver.get("engine")),
        node=_text(driver.get("node")),
        process=_whole(driver.get("process")),
    )


def _entry(told: Mapping[str, Any]) -> Entry:
    worker, value = _mapping(told.get("worker")), _mapping(told.get("value"))
    moved = _mapping(value.get("bytes"))
    return Entry(
        time=_time(told.get("time")) or 0.0,
        item=_text(told.get("item")),
        of=_text(told.get("of")),
        size=_whole(told.get("size")),
        units=_whole(told.get("units")),
        ok=told.get("ok") is True,
        error=_text(told.get("error")),
        attempts=max(1, _whole(told.get("attempts"))),
        seconds=_number(told.get("seconds")),
        engine=_text(worker.get("engine")),
        node=_text(worker.get("node")),
        process=_whole(worker.get("process")),
        spent={phase: _number(seconds) for phase, seconds in _mapping(value.get("spent")).items()},
        bytes_in=_whole(moved.get("in")),
        bytes_out=_whole(moved.get("out")),
    )


def _time(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    """A finite number that is not negative; 0 for anything else."""
    try:
        known = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    except OverflowError:  # a whole number beyond what a float holds
        return 0.0
    return float(value) if known else 0.0


def _whole(value: Any) -> int:
    return int(_number(value))
