"""Ranges come whole or not at all, near and far; a far file reads like any other."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora import ranges
from tamis.corpora.errors import ShardError
from tamis.corpora.ranges import RangeReader, each, open_file

DATA = bytes(range(256)) * 4


@pytest.fixture
def far() -> Iterator[str]:
    """A file on another machine, as far as fsspec is concerned."""
    fsspec.filesystem("memory").pipe_file("/ranges/a.tar", DATA)
    yield "memory://ranges/a.tar"
    fsspec.filesystem("memory").store.clear()


Cat = Callable[..., bytes]


def breaking_off(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Let the first ``times`` answers end early; the requests made."""
    whole: Cat = MemoryFileSystem.cat_file
    asked: list[int] = []

    def cat(fs: MemoryFileSystem, path: str, start: int, end: int) -> bytes:
        asked.append(start)
        return whole(fs, path, start=start, end=end)[: -1 if len(asked) <= times else None]

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat)
    monkeypatch.setattr(ranges, "PAUSES_SECONDS", (0.0, 0.0))
    return asked


def test_a_body_that_breaks_off_is_asked_for_again(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = breaking_off(monkeypatch, 2)
    with RangeReader(far) as reader:
        assert reader.read(3, 9) == DATA[3:12]
    assert asked == [3, 3, 3]


def test_a_body_that_breaks_off_time_and_again_is_an_error_of_the_shard(
    far: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = breaking_off(monkeypatch, 99)
    with RangeReader(far) as reader, pytest.raises(ShardError, match="9 bytes at offset 3 broke off after 8"):
        reader.read(3, 9)
    assert len(asked) == 3


def test_a_file_that_is_too_short_is_not_asked_for_again(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = breaking_off(monkeypatch, 0)
    with (
        RangeReader(far) as reader,
        pytest.raises(ShardError, match="found 4 of 9 bytes at offset 1020; the file is sh"),
    ):
        reader.read(1020, 9)
    assert len(asked) == 1


def test_a_window_serves_ranges_in_order_from_any_thread(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = breaking_off(monkeypatch, 0)
    with RangeReader(far, ahead=300) as reader:
        found: dict[int, bytes] = {}

        def read(first: int) -> None:
            for start in range(first, 1024 - 16, 32):
                found[start] = reader.read(start, 16)

        threads = [threading.Thread(target=read, args=(first,)) for first in (0, 16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reader.read(1000, 24) == DATA[1000:]
        with pytest.raises(ShardError, match="shorter"):
            reader.read(1000, 25)
    assert found == {start: DATA[start : start + 16] for start in range(0, 1024 - 16, 16)}
    assert len(asked) < 20, "as many requests as ranges"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 400)),
        st.tuples(st.just("seek"), st.integers(0, 1200), st.sampled_from([io.SEEK_SET])),
        st.tuples(st.just("seek"), st.integers(-1024, 100), st.sampled_from([io.SEEK_END])),
        st.tuples(st.just("readline")),
        st.tuples(st.just("read")),
        st.tuples(st.just("tell")),
    )
)


@given(steps=STEPS, buffered=st.integers(1, 300), tail=st.sampled_from([1, 99, 1024, 1025]))
def test_a_far_file_reads_like_any_other(steps: list[tuple[Any, ...]], buffered: int, tail: int) -> None:
    fsspec.filesystem("memory").pipe_file("/ranges/b", DATA)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranges, "AHEAD_BYTES", buffered)
        patched.setattr(ranges, "TAIL_BYTES", tail)
        with open_file("memory://ranges/b") as far, io.BytesIO(DATA) as near:
            for verb, *told in steps:
                assert getattr(far, verb)(*told) == getattr(near, verb)(*told)


def test_a_reader_travels_by_its_name(far: str) -> None:
    with RangeReader(far, ahead=50) as reader, pickle.loads(pickle.dumps(reader)) as other:  # noqa: S301 - our own
        assert other.read(3, 4) == reader.read(3, 4) == DATA[3:7]


def test_opening_what_is_not_there_says_so(tmp_path: Path) -> None:
    for url in ("memory://ranges/none", str(tmp_path / "none")):
        with pytest.raises(FileNotFoundError):
            open_file(url)


@pytest.mark.parametrize("at_once", [1, 3])
def test_items_are_read_in_order_and_no_more_ahead_than_asked_for(at_once: int) -> None:
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            begun.append(number)
            yield number

    seen: list[int] = []
    for square in each(lambda n: n * n, numbers(), at_once):
        assert len(begun) - len(seen) <= at_once
        seen.append(square)
    assert seen == [n * n for n in range(10)]


def test_an_error_of_one_item_comes_in_its_turn() -> None:
    def read(number: int) -> int:
        if number == 2:
            raise ShardError("third")
        return number

    found = each(read, range(9), 4)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ShardError, match="third"):
        next(found)
