"""Writing behind: the disk writes what has come so far while more is made, so that a commit's sync finds little to do.

Price: a thread a file; the bytes that came since the last request, ``WRITE_BEHIND_BYTES``, wait in the page cache.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

WRITE_BEHIND_BYTES = 64 << 20


class WriteBehind:
    """Has the disk write while more is made."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to ``file``, a real one."""
        self._file = file
        self._ahead = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._pending: Future[None] | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write; from time to time the disk is asked to follow."""
        self._ahead += len(data)
        if self._ahead >= WRITE_BEHIND_BYTES and (self._pending is None or self._pending.done()):
            self._check()
            self._file.flush()
            self._pending, self._ahead = self._pool.submit(os.fdatasync, self._file.fileno()), 0
        return self._file.write(data)

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._check()

    def _check(self) -> None:
        """Raise what the disk said: it says so once, and the sync of the commit would hear nothing of it."""
        if self._pending is not None:
            self._pending.result()
