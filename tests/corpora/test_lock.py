"""One driver a corpus: of racers one wins, the dead are succeeded, the living are named and left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from tamis.corpora.errors import ConfigError, FatalError
from tamis.corpora.holders import myself, parse
from tamis.corpora.lock import LOCK, Lock, Pace, locked
from tamis.corpora.store import Store

FOR_EVER = 3600.0
BUSY = Pace(beat_seconds=0.01, patience_seconds=FOR_EVER, looks=360_000)
"""Beats and looks all the time, and never gives anybody up."""

HASTY = Pace(beat_seconds=FOR_EVER, patience_seconds=0.2)

HOLD = """
import sys
from tamis.corpora.errors import ConfigError
from tamis.corpora.lock import Pace, locked
from tamis.corpora.store import Store
root, patience = sys.argv[1], float(sys.argv[2])
store = Store(root)
store.exists("warm")
print("ready", flush=True)
sys.stdin.readline()
try:
    with locked(store, lambda told: print(told, file=sys.stderr), Pace(3600.0, patience)):
        print("held", flush=True)
        sys.stdin.readline()
except ConfigError as error:
    print("refused:", error, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

Process = subprocess.Popen[str]


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a corpus would be."""
    return str(tmp_path / "corpus") if request.param == "local" else str(request.getfixturevalue("s3").url("corpus"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "corpus"))


@contextmanager
def waiting(root: str, patience: float = FOR_EVER) -> Iterator[Process]:
    """A process that takes the lock when it reads a line, and gives it back at another."""
    command = [sys.executable, "-c", HOLD, root, str(patience)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert heard(process) == "ready"
            yield process
        finally:
            process.kill()


def heard(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, generously."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_of_two_processes_one_works_and_the_other_is_told_of_it(root: str) -> None:
    with waiting(root) as first, waiting(root) as second:
        tell(first)
        assert heard(first) == "held"
        tell(second)
        told = heard(second)
        assert told.startswith(f"refused: {root} is in use by `-c {root}")
        assert f"process {first.pid} on " in told
        tell(first)
        assert first.wait(60) == 0
    store = Store(root)
    assert not store.exists(LOCK)
    with locked(store, print, BUSY) as lock:
        assert lock is not None
        assert store.exists(LOCK)


def test_a_holder_that_was_killed_is_succeeded_at_once(root: str) -> None:
    with waiting(root) as first:
        tell(first)
        assert heard(first) == "held"
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and left a zombie
        told: list[str] = []
        with locked(Store(root), told.append, BUSY) as lock:
            assert lock is not None
    assert len(told) == 1
    assert told[0].startswith(f"took the lock of {root} over from `-c {root}")
    assert told[0].endswith("which is gone")


def test_of_racers_for_a_stale_lock_one_wins(root: str) -> None:
    left = replace(myself(), machine="another", process=1)
    Store(root).put_atomic(LOCK, left.encoded())
    with waiting(root, 0.2) as one, waiting(root, 0.2) as two, waiting(root, 0.2) as three:
        racers = (one, two, three)
        for racer in racers:
            tell(racer)
        told = [heard(racer) for racer in racers]
        [winner] = [racer for racer, words in zip(racers, told, strict=True) if words == "held"]
        refused = [words for words in told if words != "held"]
        assert len(refused) == 2
        assert all(f"process {winner.pid} on " in words for words in refused)


def test_of_racers_that_give_a_holder_up_at_the_same_moment_one_wins(root: str) -> None:
    Store(root).put_atomic(LOCK, replace(myself(), machine="another").encoded())
    together, won = threading.Barrier(3, timeout=60), threading.Event()

    def race(_: int) -> bool:
        store = Store(root)
        replace_if = store.replace_if

        def at_once(path: str, expected: bytes, data: bytes) -> bool:
            together.wait()
            return replace_if(path, expected, data)

        store.replace_if = at_once  # type: ignore[method-assign]
        with suppress(ConfigError), locked(store, lambda _: None, HASTY):
            won.set()
            together.wait()  # until the others were refused
            return True
        assert won.wait(60)
        together.wait()
        return False

    with ThreadPoolExecutor(3) as racers:
        assert sorted(racers.map(race, range(3))) == [False, False, True]


@pytest.mark.parametrize("way", ["exception", "sigterm"])
def test_a_lock_is_given_back_however_the_work_ends(store: Store, way: str) -> None:
    if way == "exception":
        with suppress(RuntimeError), locked(store, print, BUSY):
            raise RuntimeError("stop")
    else:
        with waiting(store.root) as process:
            tell(process)
            assert heard(process) == "held"
            process.send_signal(signal.SIGTERM)
            assert heard(process) == "interrupted"
            assert process.wait(60) == 0
    assert store.local is not None
    assert not store.local.exists()


def test_a_folder_that_was_there_stays(store: Store) -> None:
    store.put_atomic("corpus.json", b"{}")
    with locked(store, print, BUSY):
        assert sorted(store.names("")) == ["corpus.json", LOCK]
    assert store.local is not None
    assert [path.name for path in store.local.iterdir()] == ["corpus.json"]


def test_a_silent_holder_elsewhere_is_given_up_by_our_own_clock(store: Store) -> None:
    left = replace(myself(), machine="another", since="2099-01-01 00:00:00 UTC")
    store.put_atomic(LOCK, left.encoded())
    told: list[str] = []
    begun = time.monotonic()
    with locked(store, told.append, HASTY) as lock:
        assert time.monotonic() - begun >= HASTY.patience_seconds
        assert lock is not None
        lock.check()
    assert told[0].startswith(f"waiting for a sign of life of {left}: silent for 0 s")
    assert told[-1] == f"took the lock of {store.root} over from {left}, which is gone"


def test_a_holder_elsewhere_that_beats_is_left_alone(store: Store) -> None:
    elsewhere = replace(myself(), machine="another", host="far.example")
    store.put_atomic(LOCK, elsewhere.encoded())
    other = Lock(store, elsewhere, BUSY)
    try:
        with pytest.raises(ConfigError, match=r"is in use by .* on far\.example, since"), locked(store, print, BUSY):
            pass
    finally:
        other.release()
    assert not store.exists(LOCK)


def test_a_holder_that_was_taken_over_stops_and_leaves_the_lock_alone(store: Store) -> None:
    with locked(store, print, BUSY) as lock:
        assert lock is not None
        lock.check()
        successor = replace(myself(), machine="another")
        until(lambda: store.replace_if(LOCK, store.read(LOCK), successor.encoded()))

        def stopped() -> bool:
            try:
                lock.check()
            except FatalError as error:
                return f"{successor} took the lock over while this run was silent" in str(error)
            return False

        until(stopped)
    assert store.read(LOCK) == successor.encoded()


def test_the_lock_of_a_successor_is_not_given_back(store: Store) -> None:
    successor = replace(myself(), machine="another")
    with locked(store, print, Pace(FOR_EVER)):
        store.put_atomic(LOCK, successor.encoded())
    assert store.read(LOCK) == successor.encoded()


def test_a_lock_that_somebody_removed_comes_back(store: Store) -> None:
    with locked(store, print, BUSY) as lock:
        assert lock is not None
        store.remove(LOCK)
        until(lambda: store.exists(LOCK))
        lock.check()
    assert not store.exists(LOCK)


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"not json",
        b"[" * 100_000,
        b"{}",
        b'{"id": 7}',
        myself().encoded().replace(b'since": "', b'since": "\\u001b'),
    ],
)
def test_a_lock_that_is_none_of_ours_is_watched_like_any_other(store: Store, left: bytes) -> None:
    assert parse(left) is None
    store.put_atomic(LOCK, left)
    told: list[str] = []
    with locked(store, told.append, HASTY):
        assert parse(store.read(LOCK)) is not None
    assert "an unknown holder" in told[0]


def test_a_store_that_is_away_for_a_while_is_no_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def away(*_: object) -> bool:
        calls.append(1)
        raise OSError("the network went away")

    with locked(store, print, BUSY) as lock:
        assert lock is not None
        with monkeypatch.context() as broken:
            broken.setattr(store, "replace_if", away)
            until(lambda: len(calls) > 3)
        beats = json.loads(store.read(LOCK))["beats"]
        until(lambda: json.loads(store.read(LOCK))["beats"] > beats)
        lock.check()


def test_where_nothing_is_conditional_there_is_no_lock_but_a_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    memory = Store("memory://unlocked")
    with locked(memory, told.append, BUSY) as lock:
        assert (lock, memory.names("")) == (None, [])

    def regardless(path: str, data: bytes) -> bool:
        store.put_atomic(path, data)
        return True

    monkeypatch.setattr(store, "put_if_absent", regardless)
    with locked(store, told.append, BUSY) as lock:
        assert (lock, store.names("")) == (None, [])
    fsspec.filesystem("memory").store.clear()
    assert [words.rpartition(" has ")[2] for words in told] == [
        "no conditional writes, so nothing keeps a second run away from it"
    ] * 2


def test_a_process_is_known_by_its_machine_its_id_and_its_start() -> None:
    me = myself()
    assert me.is_alive_here
    assert not replace(me, started=me.started + 1).is_alive_here, "another process that got its id"
    assert not replace(me, machine="").is_here
    assert not replace(me, machine="another").is_alive_here
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not replace(me, process=ended.pid).is_alive_here
    assert parse(me.beaten().encoded()) == replace(me, beats=1)


def test_a_command_of_any_bytes_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tamis", "run", "a\x1b[2J\nb \udcff.yaml", "x" * 9999])
    me = myself()
    assert me.command.startswith("tamis run 'a?[2J?b ?.yaml' xxx")
    assert len(me.command) == 500
    assert parse(me.encoded()) == me
    assert os.linesep not in str(me)
