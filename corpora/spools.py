"""Spools: files being written, beside the data they will become, named after the process that writes them.

What a killed process left is told by its name and swept by the next run on the same machine. Here too are the two things
that make a rename last and a look-and-rename one step: the sync of a folder, and its lock.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPOOL = ".spool"
_SPOOLED = re.compile(r"(?P<node>.+)-(?P<pid>\d+)-[0-9a-f]+")


def new_spool(root: Path | None) -> Path:
    """An empty file: below ``root``, so that a rename publishes it, or in the temporary folder."""
    if root is None:
        handle, name = tempfile.mkstemp(prefix="tamis-")
        os.close(handle)
        return Path(name)
    spool = root / SPOOL / f"{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}"
    while True:
        spool.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another run's sweep took the empty folder away
            spool.touch(exist_ok=False)
            return spool


def sweep(root: Path) -> None:
    """Remove what killed processes of this machine left in the spool of ``root``."""
    with suppress(FileNotFoundError):  # nothing was written, or another run swept it
        for leftover in (root / SPOOL).iterdir():
            found = _SPOOLED.fullmatch(leftover.name)
            if found and found["node"] == platform.node() and not _alive(int(found["pid"])):
                _remove(leftover)
    with suppress(OSError):  # not empty: another run is writing
        (root / SPOOL).rmdir()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Alone among the processes of all machines that see this folder, as far as its file system has locks."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(leftover: Path) -> None:
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
