"""The store: a folder on any fsspec file system, with one commit protocol.

A file appears under its final name complete or not at all. Local: spool in ``.spool/`` beside the data, fsync, rename,
fsync the folder. Object stores: spool on local disk, then one PUT or multipart upload, which an exception aborts.
Nothing is renamed on object stores, no listing is cached, and a reader never sees half a file. Uploads carry the client
library's checksum, so a server refuses what arrives otherwise than it was sent.

What is offered where:
    this machine       all of it
    S3 (and alike)     all of it; no renames, no folders
    other object stores (GCS, Azure)   all but ``replace_if``
    HDFS, SFTP, SMB    no ``replace_if``, and a file is seen while it is being written

Price: one extra local copy on object stores; an fsync a file locally.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from . import s3
from .errors import ConfigError
from .filesystems import filesystem, is_local, is_s3, reaching
from .lines import GatheredLines
from .ranges import RangeReader, open_file
from .spools import SPOOL, alone_in, new_spool, sweep, sync_folder
from .write_behind import WriteBehind

__all__ = ["SPOOL", "RangeReader", "Store", "WriteBehind"]

REQUESTS_AT_ONCE = 16
"""How many far files are asked for at a time where many are read."""


class Store:
    """Files under one root; paths are relative, with ``/``."""

    def __init__(self, root: str) -> None:
        """Open ``root``, a local folder or any fsspec URL.

        Raises:
            ConfigError: the protocol is unknown or its package is missing, or the URL holds a password.
        """
        self.root = root
        self._fs, path = filesystem(root)
        self._pid = os.getpid()
        self.local: Path | None = Path(path) if is_local(self._fs) else None
        self._base = path.rstrip("/")
        self._lines = None if self.local is not None else GatheredLines(root)

    @property
    def fs(self) -> Any:
        """The file system; a forked process opens its own, since clients are not to be shared."""
        if self._pid != os.getpid():
            self._fs, self._pid = filesystem(self.root)[0], os.getpid()
        return self._fs

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

    @property
    def conditional(self) -> bool:
        """Whether ``replace_if`` is offered here."""
        return self.local is not None or is_s3(self.fs)

    def check_writable(self) -> None:
        """Create the root and prove that it takes files; a bucket must be there, and its first write is the proof.

        Raises:
            ConfigError: it does not.
        """
        try:
            if self.local is not None:
                self.local.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.local):
                    pass
                return
            with reaching(self.root):
                if is_s3(self.fs):  # where making folders would make the bucket
                    s3.check_bucket(self.fs, self._base)
                else:
                    self.fs.makedirs(self._base, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.root!r}: {error.strerror or error}; choose a folder that this user may write"
            ) from error

    def exists(self, path: str) -> bool:
        """Whether the file ``path`` is there."""
        with reaching(self.root):
            full = self.full(path)
            return s3.exists(self.fs, full) if is_s3(self.fs) else bool(self.fs.exists(full))

    def names(self, folder: str) -> list[str]:
        """The sorted names of the files directly in ``folder``; empty when there is none."""
        return self._listed(folder, "file")

    def folders(self, folder: str) -> list[str]:
        """The sorted names of the folders directly in ``folder``."""
        return self._listed(folder, "directory")

    def _listed(self, folder: str, kind: str) -> list[str]:
        full = self.full(folder)
        try:
            with reaching(self.root):
                entries = self.fs.ls(full, detail=True)
        except FileNotFoundError:
            return []
        found = (entry["name"].rstrip("/") for entry in entries if entry["type"] == kind)
        # object stores may hold an empty object named like the folder
        return sorted(name.rsplit("/", 1)[-1] for name in found if name.strip("/") != full.strip("/"))

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        with reaching(self.root):
            return bytes(self.fs.cat_file(self.full(path)))

    def read_json(self, path: str) -> Any:
        """A JSON file's value."""
        return json.loads(self.read(path))

    def open(self, path: str) -> IO[bytes]:
        """A seekable reader."""
        return (self.local / path).open("rb") if self.local is not None else open_file(self.url(path))

    @property
    def requests_at_once(self) -> int:
        """How many files to ask for at a time where many are read; see ``ranges.each``."""
        return 1 if self.local is not None else REQUESTS_AT_ONCE

    @contextlib.contextmanager
    def commit(self, path: str | Callable[[], str]) -> Iterator[IO[bytes]]:
        """Write a file that appears under ``path`` when the block ends well, and not at all when it raises.

        A callable is asked for the path after the block, for names that depend on the content.
        """
        with self._spooled() as (spool, file):
            yield file
            self._flush(file)
            self._publish(spool, path if isinstance(path, str) else path())

    @contextlib.contextmanager
    def _spooled(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file that is gone after the block: beside the data, so that a rename publishes it, or in the temporary folder."""
        spool = new_spool(self.local)
        try:
            with spool.open("r+b") as file:
                yield spool, file
        finally:
            spool.unlink(missing_ok=True)

    def _publish(self, spool: Path, path: str) -> None:
        if self.local is None:
            with reaching(self.root):
                s3.upload(self.fs, spool, self.full(path)) if is_s3(self.fs) else self.fs.put_file(
                    spool, self.full(path)
                )
            return
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        spool.replace(target)
        sync_folder(target.parent)

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
            with reaching(self.root):
                return self._create(path, data)
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._spooled() as (spool, file):
            file.write(data)
            self._flush(file)
            try:
                os.link(spool, target)  # unlike rename, fails when the name is taken
            except FileExistsError:
                return False
        sync_folder(target.parent)
        return True

    def _create(self, path: str, data: bytes) -> bool:
        if is_s3(self.fs):
            return s3.put_if_absent(self.fs, self.full(path), data)
        try:
            self.fs.pipe_file(self.full(path), data, mode="create")
        except OSError:  # not every server answers "it exists" in the words that become FileExistsError
            if self.exists(path):
                return False
            raise
        return True

    def replace_if(self, path: str, expected: bytes, data: bytes) -> bool:
        """Write ``data`` where ``path`` holds ``expected``; whether it was written. Atomic against others who call this.

        Raises:
            ConfigError: the file system has no conditional writes (see ``conditional``).
        """
        if not self.conditional:
            raise ConfigError(f"{self.root!r}: only this machine's folders and S3 replace a file on a condition")
        if self.local is None:
            with reaching(self.root):
                return s3.replace_if(self.fs, self.full(path), expected, data)
        target = self.local / path
        with alone_in(target.parent):
            if not target.is_file() or target.read_bytes() != expected:
                return False
            self.put_atomic(path, data)
        return True

    def append_line(self, path: str, line: str) -> None:
        """Append one line to a log; on object stores it waits a few seconds for others, or for ``flush_lines``."""
        if self._lines is not None:
            self._lines.append(path, line)
            return
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")

    def flush_lines(self) -> None:
        """Write the lines that wait; whoever appends ends with this."""
        if self._lines is not None:
            self._lines.flush()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder of this machine for files on their way, gone after the block: in the spool, or in the temporary folder."""
        if self.local is None:
            with tempfile.TemporaryDirectory(prefix="tamis-") as folder:
                yield folder
            return
        held = new_spool(self.local)  # while it is there, no sweep takes the spool away
        scratch = held.with_name(held.name + "0")
        scratch.mkdir()
        try:
            yield str(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            held.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes left: spools of this machine's, uploads to S3 that are a day old."""
        if self.local is None:
            with reaching(self.root), contextlib.suppress(OSError):  # not every user may list uploads
                if is_s3(self.fs):
                    s3.abort_given_up_uploads(self.fs, self._base)
            return
        sweep(self.local)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with reaching(self.root), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.full(path))

    def remove_tree(self, path: str) -> None:
        """Remove a folder and all in it."""
        if self.local is not None:
            shutil.rmtree(self.local / path, ignore_errors=True)
            return
        with reaching(self.root):
            if is_s3(self.fs):
                s3.remove_tree(self.fs, self.full(path))
            elif self.fs.exists(self.full(path)):
                self.fs.rm(self.full(path), recursive=True)

    def _flush(self, file: IO[bytes]) -> None:
        """Have all of a spool on disk, where it is to stay there."""
        file.flush()
        if self.local is not None:
            os.fsync(file.fileno())
