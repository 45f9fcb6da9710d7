"""Log lines on object stores: none is lost but by a kill, none replaces another, few are requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tamis.corpora import lines
from tamis.corpora.store import Store

FOLDER = "logs/x.jsonl.d"


@pytest.fixture
def store() -> Iterator[Store]:
    yield Store("memory://logs")
    fsspec.filesystem("memory").store.clear()


def written(store: Store) -> list[str]:
    """The objects of the log in the order of their names."""
    return [store.read(f"{FOLDER}/{name}").decode() for name in store.names(FOLDER)]


def test_lines_become_objects_in_the_order_of_their_names(store: Store) -> None:
    for line in ("one", "zwei 图 \udcff"):
        store.append_line("logs/x.jsonl", line)
    store.append_line("logs/y.jsonl", "other")
    assert written(store) == []
    store.flush_lines()
    store.append_line("logs/x.jsonl", "three")
    store.flush_lines()
    store.flush_lines()
    assert written(store) == ["one\nzwei 图 \\udcff\n", "three\n"]


def test_many_lines_do_not_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES", 3)
    for number in range(7):
        store.append_line("logs/x.jsonl", str(number))
    assert written(store) == ["0\n1\n2\n", "3\n4\n5\n"]


def test_a_line_does_not_wait_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SECONDS", 0.01)
    pipe_file, put = MemoryFileSystem.pipe_file, threading.Event()

    def pipe(fs: MemoryFileSystem, path: str, data: bytes) -> None:
        pipe_file(fs, path, data)
        put.set()

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe)
    store.append_line("logs/x.jsonl", "one")
    assert put.wait(60)
    assert written(store) == ["one\n"]


def test_lines_that_could_not_be_written_wait_in_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network went away")

    store.append_line("logs/x.jsonl", "one")
    with monkeypatch.context() as broken:
        broken.setattr(MemoryFileSystem, "pipe_file", refuse)
        with pytest.raises(OSError, match="went away"):
            store.flush_lines()
    store.append_line("logs/x.jsonl", "two")
    store.flush_lines()
    assert written(store) == ["one\ntwo\n"]
