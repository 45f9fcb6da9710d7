"""Resizing in processes of their own: a decoder that crashes, hangs or swells costs one image, and nobody else's.

Decoders are C code on bytes from strangers. Each of a few threads keeps one child process and hands it one image at a
time; the child has a limit of memory, each image one of time. A child that dies is replaced and the image tried once
more (a machine short of memory kills the innocent, too); the second death is the image's own, ``decoder_crashed``. A child
ends when its input does, so none outlives its parent, however that ends.

    request     length (4 bytes, big endian), body
    answer      b"+" the bytes to keep, or b"-" a fault's reason and message; length, bytes

Price: 0.1 ms an image over the pipes; 0.3 s and 50 MB a child.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO

from .errors import DataError
from .resizing import ResizeSettings, resize

IMAGE_SECONDS = 15.0
"""What one image may take: an honest one of 67 megapixels takes two."""

CHILD_BYTES = 4 << 30
_MAX_ANSWER_BYTES = 1 << 28
_LENGTH, _ANSWER = struct.Struct(">I"), struct.Struct(">cI")
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Pixels of the usual sizes stay in the heap: glibc would map and unmap them for every image, a fifth of the time."""

_REASON = re.compile(r"[a-z_]{1,40}")
_MADE, _FAULT = b"+", b"-"


class _DeadError(Exception):
    """The child has gone."""


class Resizers:
    """A pool of children; close it, or use it in a ``with`` block."""

    def __init__(
        self, settings: ResizeSettings, num_children: int, main: str = f"from {__name__} import serve; serve()"
    ) -> None:
        """Resize ``num_children`` images at once; ``main`` is what a child runs."""
        self._settings = settings
        self._seats: SimpleQueue[_Child] = SimpleQueue()
        self._children = [_Child(settings, main) for _ in range(num_children)]
        for child in self._children:
            self._seats.put(child)
        self._pool = ThreadPoolExecutor(num_children, thread_name_prefix="resize")

    def submit(self, body: bytes) -> Future[bytes]:
        """Resize an image; the bytes to keep, or a ``DataError``: ``resizing``'s, ``decoder_crashed``, ``decoder_timeout``."""
        return self._pool.submit(self._run, body)

    def _run(self, body: bytes) -> bytes:
        child = self._seats.get()
        try:
            for _ in range(2):
                with suppress(_DeadError):
                    return child.ask(body)
        finally:
            self._seats.put(child)
        raise DataError("decoder_crashed", "a process that decoded this image died, and so did another")

    def close(self) -> None:
        """End the children; images that have not been begun are given up."""
        self._pool.shutdown(cancel_futures=True)
        for child in self._children:
            child.stop()

    def __enter__(self) -> Resizers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """One process, started when it is first asked, and anew after it has died."""

    def __init__(self, settings: ResizeSettings, main: str) -> None:
        self._command = [sys.executable, "-P", "-c", main, json.dumps(asdict(settings))]
        self._process: subprocess.Popen[bytes] | None = None
        self._poll = select.poll()

    def ask(self, body: bytes) -> bytes:
        """Send an image, wait for the answer.

        Raises:
            _DeadError: there will be none.
            DataError: the child's, or ``decoder_timeout``.
        """
        if self._process is None:
            self._start()
        try:
            self._send(_LENGTH.pack(len(body)), body)
            until = time.monotonic() + IMAGE_SECONDS
            kind, length = _ANSWER.unpack(self._read(_ANSWER.size, until))
            if length > _MAX_ANSWER_BYTES:
                raise _DeadError
            answer = self._read(length, until)
        except (_DeadError, BrokenPipeError):
            self.stop()
            raise _DeadError from None
        except TimeoutError:
            self.stop()
            raise DataError("decoder_timeout", f"not resized in {IMAGE_SECONDS:.0f} s") from None
        if kind == _FAULT:
            reason, _, message = answer.decode("utf-8", "replace").partition(" ")
            raise DataError(reason if _REASON.fullmatch(reason) else "broken_image", message)
        return answer

    def _start(self) -> None:
        path = os.pathsep.join(folder for folder in sys.path if folder)
        env = {**os.environ, **_MALLOC, "PYTHONPATH": path}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what C libraries say of broken images is for nobody
            env=env,
            bufsize=0,
        )
        self._poll = select.poll()
        self._poll.register(self._pipes()[1], select.POLLIN)

    def _send(self, *parts: bytes) -> None:
        sink, _ = self._pipes()
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[sink.write(view) :]

    def _read(self, size: int, until: float) -> bytes:
        source = self._pipes()[1].fileno()
        read = bytearray()
        while len(read) < size:
            if not self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(source, size - len(read))
            if not chunk:
                raise _DeadError
            read += chunk
        return bytes(read)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in self._pipes():
                pipe.close()
            self._process = None


def serve(shrink: Callable[[bytes, ResizeSettings], bytes] = resize) -> None:
    """Be a child: answer images on the standard input until it ends."""
    with suppress(ValueError, OSError):  # a system without such limits
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
    settings = ResizeSettings(**json.loads(sys.argv[1]))
    while len(head := sys.stdin.buffer.read(_LENGTH.size)) == _LENGTH.size:
        body = sys.stdin.buffer.read(_LENGTH.unpack(head)[0])
        try:
            made = shrink(body, settings)
        except DataError as error:
            _answer(sys.stdout.buffer, _FAULT, f"{error.reason} {error}".encode("utf-8", "replace"))
        else:
            _answer(sys.stdout.buffer, _MADE, made)


def _answer(out: IO[bytes], kind: bytes, answer: bytes) -> None:
    out.write(_ANSWER.pack(kind, len(answer)) + answer)
    out.flush()
