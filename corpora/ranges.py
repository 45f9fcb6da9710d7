"""Reading byte ranges of one file: ``pread`` on this machine, range requests elsewhere.

A range is given whole or an error is raised: a body that broke off is asked for again, a file that is shorter than its
index says is not. Far files are read in few large requests where they are read in order: by a window that runs ahead of
the ranges asked for, or by a buffer under an ordinary file object.

Price: a request of 8 MiB where ranges are read in order, else a request a range; two windows of memory a reader.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

from .errors import ShardError
from .filesystems import filesystem, is_local, reaching

AHEAD_BYTES = 8 << 20
"""How much of a far file that is read in order is asked for at a time."""

TAIL_BYTES = 256 << 10
"""How much of the end of a far file is asked for first: footers are there, and small files are that and no more."""

PAUSES_SECONDS = (0.1, 0.5, 2.0)
"""The waits before a range whose body broke off is asked for again."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def each(read: Callable[[Item], Found], items: Iterable[Item], at_once: int) -> Iterator[Found]:
    """What ``read`` gives of each item, in order; ``at_once`` are read at a time, and no more wait to be taken."""
    if at_once == 1:
        yield from map(read, items)
        return
    ahead: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="read") as pool:
        for item in items:
            ahead.append(pool.submit(read, item))
            if len(ahead) == at_once:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class RangeReader:
    """Reads byte ranges of one file, from any thread."""

    def __init__(self, url: str, ahead: int = 0) -> None:
        """Open ``url`` (a path or an fsspec URL); of a far file at least ``ahead`` bytes are asked for at a time."""
        self._url = url
        self._ahead = ahead
        self._fs, self._path = filesystem(url)
        self._file: int | None = os.open(self._path, os.O_RDONLY) if is_local(self._fs) else None
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=2)  # threads are at most a few rows apart
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RangeReader], tuple[str, int]]:
        return RangeReader, (self._url, self._ahead)

    @property
    def far(self) -> bool:
        """Whether every read is a request to another machine."""
        return self._file is None

    @cached_property
    def size(self) -> int:
        """The size of the file in bytes."""
        if self._file is not None:
            return os.fstat(self._file).st_size
        with reaching(self._url):
            return int(self._fs.size(self._path))

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``.

        Raises:
            ShardError: the file is shorter than that, or its server breaks off again and again.
        """
        if self._file is None:
            return self._from_window(offset, size) if self._ahead else self._ask(offset, size)
        data = os.pread(self._file, size, offset)
        while 0 < len(data) < size:  # a single pread gives at most 2 GiB
            more = os.pread(self._file, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        if len(data) != size:
            raise self._too_short(offset, size, len(data))
        return data

    def tail(self) -> bytes:
        """The last ``TAIL_BYTES`` of a far file, or all of a smaller one."""
        with reaching(self._url):
            try:
                return bytes(self._fs.cat_file(self._path, start=-TAIL_BYTES))
            except FileNotFoundError:
                raise
            except OSError:
                if self.size:
                    raise
                return b""  # servers refuse the end of nothing

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` from ``offset``; no new memory for local files.

        Raises:
            ShardError: the file is shorter than that.
        """
        filled = os.preadv(self._file, [buffer], offset) if self._file is not None else 0
        if filled < len(buffer):
            buffer[filled:] = self.read(offset + filled, len(buffer) - filled)

    def _from_window(self, offset: int, size: int) -> bytes:
        with self._lock:  # whoever waits wants the same window
            for start, data in self._windows:
                if start <= offset and offset + size <= start + len(data):
                    return data[offset - start : offset - start + size]
            data = self._ask(offset, max(size, min(self._ahead, self.size - offset)))
            self._windows.append((offset, data))
            return data[:size]

    def _ask(self, offset: int, size: int) -> bytes:
        """Request a range until it comes whole."""
        if not size:
            return b""
        for pause in (*PAUSES_SECONDS, None):
            with reaching(self._url):
                try:
                    data = bytes(self._fs.cat_file(self._path, start=offset, end=offset + size))
                except OSError:
                    if self.size >= offset + size:
                        raise
                    data = b""  # servers refuse a range that begins behind the end
            if len(data) == size:
                return data
            if self.size < offset + size:
                raise self._too_short(offset, size, max(0, self.size - offset))
            if pause is not None:
                time.sleep(pause)
        raise ShardError(f"{self._path}: {size} bytes at offset {offset} broke off after {len(data)}, time and again")

    def _too_short(self, offset: int, size: int, found: int) -> ShardError:
        return ShardError(
            f"{self._path}: found {found} of {size} bytes at offset {offset}; the file is shorter than its index "
            "says: restore it, or remove its index to have it made again"
        )

    def close(self) -> None:
        """Release the file."""
        self._windows.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_file(url: str) -> IO[bytes]:
    """A seekable reader of a path or fsspec URL; a far file is read from its end, then ``AHEAD_BYTES`` at a time.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fs, path = filesystem(url)
    if is_local(fs):
        return Path(path).open("rb")
    reader = RangeReader(url)
    tail = reader.tail()
    if len(tail) < TAIL_BYTES:
        return io.BytesIO(tail)
    return io.BufferedReader(_RangeFile(reader, tail), AHEAD_BYTES)


class _RangeFile(io.RawIOBase):
    """The ranges of a reader as an unbuffered file, whose end is here already."""

    def __init__(self, reader: RangeReader, tail: bytes) -> None:
        self._reader, self._tail = reader, tail
        self._size = reader.size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._read(self._size), b""))

    def _read(self, most: int) -> bytes:
        """Some bytes: up to where the end begins, or of the end."""
        before_tail = self._size - len(self._tail) - self._position
        if before_tail > 0:
            data = self._reader.read(self._position, min(most, before_tail))
        else:
            data = self._tail[-before_tail : -before_tail + most]
        self._position += len(data)
        return data
