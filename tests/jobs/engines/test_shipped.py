"""A task in a pickle: opened in its set-up, with the code that was sent for it."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from tamis.corpora.engine import here, set_up
from tamis.jobs.engines.leases import Slots
from tamis.jobs.engines.shipped import Lacking, Shipped
from tests.jobs.engines.acting import Act, Marks

VERSION = "class Edited:\n    def setup(self): ...\n    def __call__(self, item): return {{'version': {0}}}\n"
PICKLED = b"\x80\x04c edited_twice\nEdited\n)\x81.".replace(b" ", b"")


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process of its own would take with it at its end."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_the_code_that_was_sent_for_it_comes_before_what_the_session_was_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2):
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version) / "edited_twice.py").write_text(VERSION.format(version), encoding="utf-8")
        sys.path.insert(1, str(tmp_path / str(version)))
    task = Shipped(PICKLED, str(tmp_path / "1"))
    task.setup()
    assert task("item") == {"version": 1}
    del sys.modules["edited_twice"]


def test_what_cannot_be_opened_is_told_as_a_set_up_that_failed(tmp_path: Path) -> None:
    outcome = set_up(Shipped(PICKLED, str(tmp_path)), here("spark"))
    assert str(outcome.error).startswith("ModuleNotFoundError: No module named 'edited_twice'")


def test_gpus_are_settled_before_the_task_is_opened(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    slots = Slots(tmp_path / "slots", 2.0)
    slots.offer(["4", "7"])
    task = Shipped(pickle.dumps(Act(Marks(str(tmp_path / "marks")))), str(tmp_path), slots)
    task.setup()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert task("well")["gpu"] == "4,7"


def test_a_worker_tells_what_it_lacks() -> None:
    assert Lacking(("json", "no_such_module", "os"))("place") == {"absent": ["no_such_module"]}
