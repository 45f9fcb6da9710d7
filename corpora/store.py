"""The store: a folder on any fsspec file system, with one commit protocol.

A file appears under its final name complete or not at all. Local: spool in ``.spool/`` beside the data, fsync, rename,
fsync the folder. Object stores: spool on local disk, then one PUT or multipart upload, which an exception aborts.
Nothing is renamed on object stores, no listing is cached, and a reader never sees half a file.

Price: one extra local copy on object stores; an fsync a file locally.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import fsspec

from .errors import ConfigError, ShardError

SPOOL = ".spool"
WRITE_BEHIND_BYTES = 64 << 20
_SPOOLED = re.compile(r"(?P<node>.+)-(?P<pid>\d+)-[0-9a-f]+")


class Store:
    """Files under one root; paths are relative, with ``/``."""

    def __init__(self, root: str) -> None:
        """Open ``root``, a local folder or any fsspec URL.

        Raises:
            ConfigError: the protocol is unknown or its package is missing.
        """
        try:
            fs, path = fsspec.core.url_to_fs(root, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"cannot open {root!r} ({error}); use a folder or an fsspec URL like s3://bucket/x"
            ) from error
        self.root = root
        self.fs = fs
        self.local: Path | None = Path(path) if isinstance(fs, fsspec.implementations.local.LocalFileSystem) else None
        self._base = str(path).rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]

    def full(self, path: str) -> str:
        """The path as the file system names it."""
        return f"{self._base}/{path}" if path else self._base

    def url(self, path: str) -> str:
        """The path as any process can open it: absolute when local, else with its protocol."""
        return self.full(path) if self.local is not None else str(self.fs.unstrip_protocol(self.full(path)))

    def check_writable(self) -> None:
        """Create the root and prove that it takes files.

        Raises:
            ConfigError: it does not.
        """
        try:
            self.fs.makedirs(self._base, exist_ok=True)
            if self.local is not None:
                with tempfile.TemporaryFile(dir=self.local):
                    pass
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.root!r}: {error.strerror or error}; choose a folder that this user may write"
            ) from error

    def exists(self, path: str) -> bool:
        """Whether ``path`` is there."""
        return bool(self.fs.exists(self.full(path)))

    def names(self, folder: str) -> list[str]:
        """The sorted names of the files directly in ``folder``; empty when there is none."""
        try:
            entries = self.fs.ls(self.full(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def folders(self, folder: str) -> list[str]:
        """The sorted names of the folders directly in ``folder``."""
        try:
            entries = self.fs.ls(self.full(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        return bytes(self.fs.cat_file(self.full(path)))

    def read_json(self, path: str) -> Any:
        """A JSON file's value."""
        return json.loads(self.read(path))

    def open(self, path: str) -> IO[bytes]:
        """A seekable reader."""
        if self.local is not None:
            return (self.local / path).open("rb")
        return self.fs.open(self.full(path), "rb", cache_type="readahead")  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def commit(self, path: str | Callable[[], str]) -> Iterator[IO[bytes]]:
        """Write a file that appears under ``path`` when the block ends well, and not at all when it raises.

        A callable is asked for the path after the block, for names that depend on the content.
        """
        with self._spooled() as (spool, file):
            yield file
            _flush(file)
            self._publish(spool, path if isinstance(path, str) else path())

    @contextlib.contextmanager
    def _spooled(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file that is gone after the block: beside the data, so that a rename publishes it, or in the temporary folder."""
        spool = self._new_spool()
        try:
            with spool.open("r+b") as file:
                yield spool, file
        finally:
            spool.unlink(missing_ok=True)

    def _new_spool(self) -> Path:
        if self.local is None:
            handle, name = tempfile.mkstemp(prefix="tamis-")
            os.close(handle)
            return Path(name)
        spool = self.local / SPOOL / f"{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}"
        while True:
            spool.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another run's sweep took the empty folder away
                spool.touch(exist_ok=False)
                return spool

    def _publish(self, spool: Path, path: str) -> None:
        if self.local is None:
            self.fs.put_file(str(spool), self.full(path))
            return
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        spool.replace(target)
        _sync_folder(target.parent)

    def put_atomic(self, path: str, data: bytes) -> None:
        """Write ``data`` under ``path``, complete or not at all."""
        with self.commit(path) as file:
            file.write(data)

    def put_json(self, path: str, value: Any) -> None:
        """Write a value as indented JSON with sorted keys."""
        told = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        self.put_atomic(path, told.encode("utf-8", "backslashreplace"))  # a lone surrogate becomes its JSON escape

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write ``data`` unless ``path`` exists; whether it was written. Atomic against other writers."""
        if self.local is None:
            try:
                self.fs.pipe_file(self.full(path), data, mode="create")
            except OSError:  # not every server answers "it exists" in the words that become FileExistsError
                if self.exists(path):
                    return False
                raise
            return True
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._spooled() as (spool, file):
            file.write(data)
            _flush(file)
            try:
                os.link(spool, target)  # unlike rename, fails when the name is taken
            except FileExistsError:
                return False
        _sync_folder(target.parent)
        return True

    def append_line(self, path: str, line: str) -> None:
        """Append one line to a log file; local stores only append, object stores get a file a line elsewhere."""
        if self.local is None:
            name = f"{path}.d/{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}"
            self.fs.pipe_file(self.full(name), line.encode("utf-8", "backslashreplace"))
            return
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")

    def sweep(self) -> None:
        """Remove what killed processes of this machine left in the spool."""
        if self.local is None:
            return
        with contextlib.suppress(FileNotFoundError):  # nothing was written, or another run swept it
            for leftover in (self.local / SPOOL).iterdir():
                found = _SPOOLED.fullmatch(leftover.name)
                if found and found["node"] == platform.node() and not _alive(int(found["pid"])):
                    leftover.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: another run is writing
            (self.local / SPOOL).rmdir()

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(path):
            self.fs.rm_file(self.full(path))

    def remove_tree(self, path: str) -> None:
        """Remove a folder and all in it."""
        if self.local is not None:
            shutil.rmtree(self.local / path, ignore_errors=True)
        elif self.fs.exists(self.full(path)):
            self.fs.rm(self.full(path), recursive=True)


class WriteBehind:
    """Has the disk write what has come so far while more is made, so that the sync of a commit finds little to do."""

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


class RangeReader:
    """Reads byte ranges of one file: ``pread`` locally, range requests elsewhere."""

    def __init__(self, url: str) -> None:
        """Open ``url`` (a path or an fsspec URL)."""
        self._fs, self._path = fsspec.core.url_to_fs(url)
        local = isinstance(self._fs, fsspec.implementations.local.LocalFileSystem)
        self._file: int | None = os.open(self._path, os.O_RDONLY) if local else None

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``.

        Raises:
            ShardError: the file is shorter than that.
        """
        if self._file is None:
            data = bytes(self._fs.cat_file(self._path, start=offset, end=offset + size))
        else:
            data = os.pread(self._file, size, offset)
            while 0 < len(data) < size:  # a single pread gives at most 2 GiB
                more = os.pread(self._file, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        if len(data) != size:
            raise ShardError(
                f"{self._path}: found {len(data)} of {size} bytes at offset {offset}; the file is shorter than its index "
                "says: restore it, or remove its index to have it made again"
            )
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` from ``offset``; no new memory for local files.

        Raises:
            ShardError: the file is shorter than that.
        """
        filled = os.preadv(self._file, [buffer], offset) if self._file is not None else 0
        if filled < len(buffer):
            buffer[filled:] = self.read(offset + filled, len(buffer) - filled)

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
