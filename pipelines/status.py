"""How far a corpus is, seen from outside: from another terminal or another machine, by its logs alone.

The driver's log says when a stage began, how much there was to do, and how each item ended; so who looks on needs neither
the recipe nor the driver. Rates are of the last ``RECENT_SECONDS``, or of the whole pass where items take longer than that.
Whether a pass that has not ended still runs is told by the lock of the corpus: its holder is this driver, and is alive.
Where nobody can say so, a pass of which nothing was heard for ``QUIET_SECONDS`` is ``quiet``: it has long items, or was
killed.

Price: each log line is read once, 40 us a line; looking again reads what was added. What a corpus takes is listed at most
every ``USAGE_SECONDS``, and in bounds (see ``corpora.usage``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from ..corpora.corpus import Corpus
from ..corpora.engine import Json
from ..corpora.holders import Holder, parse
from ..corpora.lock import LOCK, Pace
from ..corpora.store import Store
from ..corpora.usage import Usage, usage
from .accounting import Tally
from .logs import STAGES, Begun, Ended, Entry, Event, Follower, logged_stages

RECENT_SECONDS = 300.0
QUIET_SECONDS = 600.0
USAGE_SECONDS = 60.0
FAILING_TOLD = 5
GONE = "its process is gone"
"""The error of a pass that was killed."""

State = Literal["running", "quiet", "done", "incomplete", "stopped"]
"""``incomplete``: it ended, and some items could not be done. ``stopped``: an error ended it."""


@dataclass
class StageStatus:
    """One stage, or one of its passes: the last time that it was begun."""

    stage: str
    begun: Begun
    tally: Tally = field(default_factory=Tally)
    failing: dict[str, Entry] = field(default_factory=dict)
    """Items that could not be done, in this pass or an earlier one, by name."""
    ended: Ended | None = None
    alive: bool | None = None
    """Whether its driver is, where that is known."""
    heard: float = 0.0
    """When the last line was written, in seconds since 1970."""
    _worked: float = 0.0
    """When the last of its items ended, or it began."""
    _recent: deque[Entry] = field(default_factory=deque)

    def begin(self, begun: Begun) -> None:
        """It begins, perhaps once more; where nothing is left to do, the account stays that of the pass that did it."""
        self.heard = begun.time
        if self.ended is not None and begun.before == begun.total == self.done:
            return
        self.begun, self.ended, self.tally = begun, None, Tally()
        self._worked = begun.time
        self._recent.clear()

    def add(self, entry: Entry) -> None:
        """One of its items ended."""
        self.tally.add(entry)
        self.heard = self._worked = entry.time
        self._recent.append(entry)
        while self._recent[0].time < entry.time - RECENT_SECONDS:
            self._recent.popleft()
        if entry.ok:
            self.failing.pop(entry.item, None)
        else:
            self.failing[entry.item] = entry

    def end(self, ended: Ended) -> None:
        """It is over."""
        self.ended, self.heard = ended, ended.time
        if not ended.error:  # it tried all that was left to do
            self.failing = {entry.item: entry for entry in self.tally.failing.values()}

    @property
    def done(self) -> int:
        """Items that are done, by size."""
        return self.begun.before + self.tally.done

    def state(self, now: float) -> State:
        """What it is doing."""
        if self.ended is not None:
            if self.ended.error:
                return "stopped"
            return "done" if self.done >= self.begun.total else "incomplete"
        if self.alive is None:
            return "running" if now - self.heard < QUIET_SECONDS else "quiet"
        return "running" if self.alive else "stopped"

    def lately(self, now: float) -> Tally:
        """What ended in the last ``RECENT_SECONDS``."""
        tally = Tally()
        for entry in self._recent:
            if entry.time >= now - RECENT_SECONDS:
                tally.add(entry)
        return tally

    def rates(self, lately: Tally, now: float) -> tuple[float, float]:
        """Items that ended and units a second: lately while it runs, else over the pass."""
        if self.ended is None and lately.entries:
            tally, seconds = lately, min(RECENT_SECONDS, now - self.begun.time)
        else:
            tally, seconds = self.tally, self._worked - self.begun.time
        seconds = max(seconds, 1e-3)
        return (tally.done + tally.failed) / seconds, tally.units / seconds

    def told(self, now: float) -> dict[str, Json]:
        """All of it as JSON."""
        lately = self.lately(now)
        items, units = self.rates(lately, now)
        state = self.state(now)
        left = max(0, self.begun.total - self.done - self.tally.failed)
        seen = lately if self.ended is None else self.tally
        told = self.tally.told(1.0)
        return {
            "stage": self.stage,
            "of": self.begun.of,
            "state": state,
            "total": self.begun.total,
            "done": self.done,
            "left": left,
            "failing": sum(entry.size for entry in self.failing.values()),
            "failures": [_failure(entry) for entry in list(self.failing.values())[-FAILING_TOLD:]],
            "error": self.ended.error if self.ended else GONE if state == "stopped" else "",
            "unit": self.begun.unit,
            "items_per_second": round(items, 4),
            "units_per_second": round(units, 2),
            "seconds_left": round(left / items, 1) if state in {"running", "quiet"} and items else None,
            "engine": self.begun.engine,
            "driver": {"node": self.begun.node, "process": self.begun.process},
            "workers": len(seen.workers),
            "nodes": seen.nodes,
            "begun_seconds_ago": round(now - self.begun.time, 1),
            "heard_seconds_ago": round(now - self.heard, 1),
            **{name: told[name] for name in ("bytes", "shares", "retries", "slowest")},
        }


def _failure(entry: Entry) -> dict[str, Json]:
    return {"item": entry.item, "error": entry.error, "attempts": entry.attempts, "node": entry.node}


class Holding:
    """Who holds the lock of a corpus, looked at time and again, since a holder on another machine lives by its beats."""

    def __init__(self) -> None:
        """Nobody is known."""
        self._holder: Holder | None = None
        self._has_beaten = False
        self._silent_since = self._now = 0.0

    def look(self, store: Store, now: float) -> None:
        """See who holds it now."""
        before, self._holder, self._now = self._holder, _holder_of(store), now
        if self._holder != before:
            self._has_beaten = before is not None and self._holder is not None and before.id == self._holder.id
            self._silent_since = now

    @property
    def alive(self) -> bool | None:
        """Whether the holder is; None if there is none, or nobody can say."""
        if self._holder is None:
            return None
        if self._holder.is_here:
            return self._holder.is_alive_here
        if self._now - self._silent_since >= Pace().patience_seconds:
            return False
        return True if self._has_beaten else None

    def drives(self, begun: Begun) -> bool | None:
        """Whether the driver that began a pass is alive; None if nobody can say."""
        if self._holder is None or (self._holder.host, self._holder.process) == (begun.node, begun.process):
            return self.alive
        return False  # there is one driver a corpus, and it is another

    def told(self) -> dict[str, Json] | None:
        """The holder as JSON."""
        if self._holder is None:
            return None
        held = asdict(self._holder)
        return {name: held[name] for name in ("host", "process", "command", "since")} | {"alive": self.alive}


def _holder_of(store: Store) -> Holder | None:
    try:
        return parse(store.read(LOCK))
    except FileNotFoundError:
        return None


class Onlooker:
    """Looks at a corpus time and again; what was read of its logs is not read again."""

    def __init__(self, corpus: Corpus) -> None:
        """Look at ``corpus``; nothing is read yet."""
        self._corpus = corpus
        self._followers: dict[str, Follower] = {}
        self._stages: dict[tuple[str, str], StageStatus] = {}
        self._used: Mapping[str, Usage] = {}
        self._used_at = float("-inf")
        self._holding = Holding()

    def look(self, now: float | None = None) -> dict[str, Json]:
        """What is known at ``now`` (seconds since 1970), as JSON."""
        now = time.time() if now is None else now
        store = self._corpus.store
        for name in logged_stages(store):
            for event in self._followers.setdefault(name, Follower(store, name)).events():
                self._take(name, event)
        if now - self._used_at >= USAGE_SECONDS:
            self._used, self._used_at = usage(store), now
        self._holding.look(store, now)
        for stage in self._stages.values():
            stage.alive = self._holding.drives(stage.begun)
        stages = sorted(self._stages.values(), key=_place)
        return {
            "corpus": self._corpus.name,
            "path": store.root,
            "held": self._holding.told(),
            "stages": [stage.told(now) for stage in stages],
            "next": next_stage(stages, now),
            "disk": {name: asdict(used) for name, used in self._used.items()},
        }

    def _take(self, stage: str, event: Event) -> None:
        key = (stage, event.of)
        if isinstance(event, Begun):
            known = self._stages.setdefault(key, StageStatus(stage, event))
            known.begin(event)
        elif key in self._stages:
            known = self._stages[key]
            known.add(event) if isinstance(event, Entry) else known.end(event)


def _place(status: StageStatus) -> tuple[int, str, str]:
    known = STAGES.index(status.stage) if status.stage in STAGES else len(STAGES)
    return known, status.stage, status.begun.of


def next_stage(stages: Sequence[StageStatus], now: float) -> str | None:
    """What a run does next: what comes after the stage that had work last, or that stage itself if it is not done.

    None when the last stage is done.
    """
    if not stages:
        return "fetch"
    last = max(stages, key=lambda status: (status.begun.time, _place(status)))
    same = [status for status in stages if status.stage == last.stage]
    if any(status.state(now) in {"incomplete", "stopped", "quiet"} for status in same):
        return last.stage
    following = STAGES[STAGES.index(last.stage) + 1 :] if last.stage in STAGES else ()
    return following[0] if following else None
