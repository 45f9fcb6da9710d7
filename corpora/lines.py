"""Log lines where nothing can be appended: gathered for a few seconds, then written as one object.

Lines of ``logs/x.jsonl`` become objects ``logs/x.jsonl.d/<time>-<node>-<process>-<random>``, which sort by time and never
meet; a reader takes them as one file. Whoever writes a log ends with ``flush``, for at the exit of a process nothing can be
sent any more (client libraries then start no threads); a kill loses the lines of the last seconds. No line is ever cut.

Price: a request every ``SECONDS``, or every ``LINES`` lines.
"""

from __future__ import annotations

import os
import platform
import secrets
import threading
from contextlib import suppress
from datetime import UTC, datetime

from .errors import TamisError
from .filesystems import filesystem, reaching

SECONDS = 5.0
LINES = 1000


class GatheredLines:
    """The lines of one process that are not written yet."""

    def __init__(self, root: str) -> None:
        """Lines of the logs below ``root``, an fsspec URL."""
        self._root = root
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._lines: dict[str, list[str]] = {}
        self._timer: threading.Timer | None = None

    def append(self, path: str, line: str) -> None:
        """Take a line; it is written within ``SECONDS``."""
        with self._lock:
            lines = self._lines.setdefault(path, [])
            lines.append(line)
            full = len(lines) >= LINES
            if self._timer is None:
                self._timer = threading.Timer(SECONDS, self._flush_quietly)
                self._timer.daemon = True
                self._timer.start()
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what cannot be written waits on."""
        if os.getpid() != self._pid:
            return  # a forked child has a copy of its parent's lines
        with self._lock:
            lines, self._lines = self._lines, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        try:
            for path in list(lines):
                self._write(path, lines[path])
                del lines[path]
        finally:
            with self._lock:
                for path, unwritten in lines.items():
                    self._lines[path] = unwritten + self._lines.get(path, [])

    def _flush_quietly(self) -> None:
        with suppress(OSError, TamisError):  # they wait for the next line, or the end, where it is told
            self.flush()

    def _write(self, path: str, lines: list[str]) -> None:
        fs, root = filesystem(self._root)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        name = f"{now}-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        with reaching(self._root):
            fs.pipe_file(
                f"{root}/{path}.d/{name}", "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
            )
