"""Images resized in other processes: a crash, a hang or a flood costs the image that caused it, and no other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tamis.corpora import resizers as module
from tamis.corpora.errors import DataError
from tamis.corpora.resizers import Resizers
from tamis.corpora.resizing import ResizeSettings, resize

from .foreign_tars import picture

SETTINGS = ResizeSettings(pixels=16)

HOSTILE = """
import os, signal, time
from tamis.corpora.resizers import serve
from tamis.corpora.resizing import resize
def shrink(body, settings):
    if body.startswith(b"crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if body.startswith(b"hang"):
        time.sleep(600)
    if body.startswith(b"swell"):
        bytearray(1 << 40)
    if body.startswith(b"lie"):
        os.write(1, b"+" + bytes([255] * 4))
    if body.startswith(b"once"):
        path = body[4:].decode()
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    return body[::-1] if len(body) < 300 else resize(body, settings)
serve(shrink)
"""

Pool = Callable[..., Resizers]


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Makes pools and closes them."""
    made: list[Resizers] = []

    def make(num_children: int = 1, **options: str) -> Resizers:
        made.append(Resizers(SETTINGS, num_children, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def reason(pool: Resizers, body: bytes) -> str:
    with pytest.raises(DataError) as told:
        pool.submit(body).result(60)
    return told.value.reason


def test_images_come_back_as_the_function_makes_them(pool: Pool) -> None:
    bodies = [picture(number) for number in range(12)]
    small = picture(1, 9, 7)
    resizers = pool(2)
    futures = [resizers.submit(body) for body in bodies]
    assert [future.result(60) for future in futures] == [resize(body, SETTINGS) for body in bodies]
    assert resizers.submit(small).result(60) == small


def test_faults_come_back_by_their_names(pool: Pool) -> None:
    resizers = pool()
    assert reason(resizers, b"<html>") == "html"
    assert reason(resizers, picture(3)[:-300]) == "truncated"
    assert reason(resizers, b"") == "empty"
    assert resizers.submit(picture(1)).result(60) == resize(picture(1), SETTINGS)


def test_a_crash_costs_one_image(pool: Pool) -> None:
    resizers = pool(2, main=HOSTILE)
    bodies = [picture(number) for number in range(10)]
    futures = [resizers.submit(body) for body in (*bodies[:5], b"crash", *bodies[5:])]
    told = [future.exception(60) for future in futures]
    assert [getattr(error, "reason", None) for error in told] == [None] * 5 + ["decoder_crashed"] + [None] * 5
    assert [future.result() for future in futures if not future.exception()] == [resize(b, SETTINGS) for b in bodies]


def test_a_child_that_was_killed_costs_none(pool: Pool, tmp_path: object) -> None:
    body = f"once{tmp_path}/mark".encode()
    assert pool(main=HOSTILE).submit(body).result(60) == body[::-1]


def test_an_idle_child_that_was_killed_costs_none(pool: Pool) -> None:
    resizers = pool()
    assert resizers.submit(picture(1)).result(60)
    process = resizers._children[0]._process
    assert process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert resizers.submit(picture(2)).result(60) == resize(picture(2), SETTINGS)


def test_a_hang_a_swelling_and_a_lie_cost_one_image_each(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    resizers = pool(main=HOSTILE)
    assert reason(resizers, b"swell") == "decoder_crashed"
    assert reason(resizers, b"lie") == "decoder_crashed"
    assert resizers.submit(b"good").result(60) == b"doog"
    monkeypatch.setattr(module, "IMAGE_SECONDS", 0.2)
    assert reason(resizers, b"hang") == "decoder_timeout"
    monkeypatch.undo()
    assert resizers.submit(b"good").result(60) == b"doog"


def test_children_end_with_the_pool_and_with_their_parent(pool: Pool) -> None:
    resizers = pool(2)
    for future in [resizers.submit(picture(number)) for number in range(8)]:
        future.result(60)
    processes = [child._process for child in resizers._children if child._process]
    assert processes
    first = processes[0]
    assert first.stdin
    first.stdin.close()  # as when the parent is gone
    assert first.wait(60) == 0
    resizers.close()
    assert all(process.poll() is not None for process in processes)


def test_a_large_body_goes_through(pool: Pool) -> None:
    body = picture(5) + bytes(8 << 20)  # what follows the end of a JPEG is nobody's business
    started = time.monotonic()
    assert pool().submit(body).result(60) == resize(body, SETTINGS)
    assert time.monotonic() - started < 60
