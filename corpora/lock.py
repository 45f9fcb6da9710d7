"""One driver a corpus: a lock file with a heartbeat.

Whoever writes to a corpus holds ``lock.json`` in it: who it is, and a counter that it raises every few seconds. It is
created, raised and taken over by conditional writes, so that of any number of racers one wins. A lock whose process is
gone from this machine is taken over at once. One that was left on another machine is watched by the clock of who waits:
it beats, and the waiting ends with an error; or it does not for ``patience_seconds``, and is taken over.

Locks save work; correctness never rests on them. Two drivers at once make the same bytes twice, and a holder that was
silent for too long finds that it was taken over and stops. Where the file system has no conditional writes there is no lock.

Price: two small requests a beat.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError, FatalError, TamisError
from .holders import Holder, myself, parse
from .store import Store

LOCK = "lock.json"
_AWAY = (OSError, TamisError)
"""What a store raises that cannot be reached."""


@dataclass(frozen=True)
class Pace:
    """How often a holder beats, how long it may be silent, and how many times meanwhile who waits looks."""

    beat_seconds: float = 10.0
    patience_seconds: float = 60.0
    looks: int = 30


Tell = Callable[[str], None]


@contextmanager
def locked(store: Store, tell: Tell, pace: Pace = Pace()) -> Iterator[Lock | None]:
    """Hold the lock of the corpus in ``store``; None where no lock can be had. SIGTERM ends the block as SIGINT does.

    ``tell`` is told what is waited for.

    Raises:
        ConfigError: another process works on this corpus, or the folder cannot be written.
    """
    with _writable(store), _interrupted_by_sigterm():
        held = _acquire(store, tell, pace) if store.conditional else None
        if held is not None and store.put_if_absent(LOCK, held.encoded()):  # the server ignores conditions
            store.remove(LOCK)
            held = None
        if held is None:
            tell(f"warning: {store.root} has no conditional writes, so nothing keeps a second run away from it")
            yield None
            return
        lock = Lock(store, held, pace)
        try:
            yield lock
        finally:
            lock.release()


@contextmanager
def _writable(store: Store) -> Iterator[None]:
    """Make the folder of the corpus; one in which nothing was made in the end is taken away again."""
    made = store.local if store.local is not None and not store.local.exists() else None
    store.check_writable()
    try:
        yield
    finally:
        if made is not None:
            with suppress(OSError):  # it holds a corpus
                made.rmdir()


class Lock:
    """A lock that is held; a thread beats for it."""

    def __init__(self, store: Store, held: Holder, pace: Pace) -> None:
        """Begin to beat."""
        self._store, self._held, self._pace = store, held, pace
        self._taken_by = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that nobody took the lock over.

        Raises:
            FatalError: somebody did.
        """
        if self._taken_by:
            raise FatalError(
                f"{self._store.root}: {self._taken_by} took the lock over while this run was silent; what is finished "
                "is kept: let that one end, then run again"
            )

    def release(self) -> None:
        """Give the lock back, unless somebody took it over."""
        self._stop.set()
        self._thread.join(self._pace.beat_seconds)
        with suppress(*_AWAY):  # then it is left to be taken over
            if not self._taken_by and self._whose() == self._held.id:
                self._store.remove(LOCK)
            self._store.sweep()

    def _live(self) -> None:
        while not self._taken_by and not self._stop.wait(self._pace.beat_seconds):
            with suppress(*_AWAY):  # the next beat may reach it
                self._beat()

    def _beat(self) -> None:
        beaten = self._held.beaten()
        if self._store.replace_if(LOCK, self._held.encoded(), beaten.encoded()):
            self._held = beaten
            return
        found = _read(self._store)
        if found is None:  # removed by a user; who is alive holds on
            if self._store.put_if_absent(LOCK, beaten.encoded()):
                self._held = beaten
            return
        holder = parse(found)
        if holder is None or holder.id != self._held.id:
            self._taken_by = str(holder or "somebody")

    def _whose(self) -> str | None:
        holder = parse(_read(self._store) or b"")
        return holder.id if holder else None


def _read(store: Store) -> bytes | None:
    try:
        return store.read(LOCK)
    except FileNotFoundError:
        return None


def _acquire(store: Store, tell: Tell, pace: Pace) -> Holder:
    """Create the lock, or take it over from a holder that is dead.

    Raises:
        ConfigError: the holder is alive.
    """
    me = myself()
    watched: _Watched | None = None
    while not store.put_if_absent(LOCK, me.encoded()):
        found = _read(store)
        if found is None:
            continue
        holder = parse(found)
        if holder is not None and (holder.is_alive_here or (watched and watched.has_beaten(holder))):
            raise ConfigError(
                f"{store.root} is in use by {holder}: wait for it to end, or stop it. `tamis status {store.root}` says how "
                "far it is"
            )
        if watched is None or watched.found != found:
            watched = _Watched(found, holder, time.monotonic())
        dead = holder is not None and holder.is_here
        if not dead and not watched.is_given_up(tell, pace):
            time.sleep(pace.patience_seconds / pace.looks)
        elif store.replace_if(LOCK, found, me.encoded()):
            tell(f"took the lock of {store.root} over from {holder or 'an unknown holder'}, which is gone")
            return me
    return me


@dataclass
class _Watched:
    """A lock as it was first seen, and when by our own clock."""

    found: bytes
    holder: Holder | None
    since: float
    told: float = 0.0

    def has_beaten(self, holder: Holder) -> bool:
        return self.holder is not None and self.holder.id == holder.id and self.holder.beats != holder.beats

    def is_given_up(self, tell: Tell, pace: Pace) -> bool:
        silent = time.monotonic() - self.since
        if silent >= self.told:
            self.told = silent + pace.beat_seconds
            tell(
                f"waiting for a sign of life of {self.holder or 'an unknown holder'}: silent for {silent:.0f} s, taken over "
                f"after {pace.patience_seconds:.0f} s"
            )
        return silent >= pace.patience_seconds


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which would leave the lock behind, end the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
