"""The task boundary: whatever a task raises becomes an outcome that says what to do next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tamis.corpora.engine import attempt, here
from tamis.corpora.errors import ConfigError, DataError, FatalError, ShardError, TamisError
from tamis.corpora.store import Store


class Raises:
    """A task that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def setup(self) -> None: ...

    def __call__(self, item: str) -> dict[str, int]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (ConfigError("wrong"), ConfigError),
        (FatalError("torn"), FatalError),
        (OSError(errno.ENOSPC, "No space left on device"), FatalError),
        (OSError(errno.EROFS, "Read-only file system"), FatalError),
        (OSError(errno.EACCES, "Permission denied"), None),
        (ShardError("try again"), None),
        (DataError("broken_image"), None),
        (ValueError("unforeseen"), None),
    ],
)
def test_an_error_becomes_an_outcome_that_stops_the_run_or_not(
    error: Exception, fatal: type[TamisError] | None
) -> None:
    outcome = attempt(Raises(error), "00000", here("local"))
    assert (outcome.ok, outcome.value, outcome.fatal) == (False, None, fatal)
    assert str(error) in str(outcome.error)
    assert outcome.worker["process"] == os.getpid()


def test_our_own_errors_speak_for_themselves_and_others_tell_their_place() -> None:
    assert attempt(Raises(ShardError("the tar is short")), "a", here("local")).error == "the tar is short"
    told = str(attempt(Raises(ValueError("unforeseen")), "a", here("local")).error)
    assert told.startswith("ValueError: unforeseen (test_engine.py:")


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writes(Raises):
        def __call__(self, item: str) -> dict[str, int]:
            Store(str(tmp_path)).put_atomic(f"shards/{item}.parquet", b"index")
            return {"rows": 1}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = attempt(Writes(ValueError()), "00000", here("local"))
    assert outcome.fatal is FatalError
    assert "No space left" in str(outcome.error)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
