"""What a task raised reaches the driver as what it was, through whatever text an engine wraps it in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tamis.corpora.engine import Outcome
from tamis.corpora.errors import ConfigError, FatalError, ShardError
from tamis.jobs.engines.telling import WorkerError, guarded, heard, outcome_of, told


def steps(error: Exception) -> Iterator[int]:
    yield 1
    yield 2
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConfigError("no such weights"), ConfigError, "no such weights"),
        (FatalError('the disk is "full",\n图'), FatalError, 'the disk is "full",\n图'),
        (ShardError("<tamis:e30=>"), FatalError, "<tamis:e30=>"),
        (ValueError("a bug"), FatalError, f"ValueError: a bug (test_telling.py:{steps.__code__.co_firstlineno + 3})"),
    ],
)
def test_an_error_is_told_through_the_text_of_an_engine(error: Exception, kind: type[Exception], text: str) -> None:
    seen: list[int] = []
    with pytest.raises(WorkerError) as caught:
        seen.extend(guarded(steps(error)))
    understood = heard(f"Traceback (most recent call last):\n  {caught.value}\n  Driver stacktrace: ...")
    assert type(understood) is kind
    assert str(understood) == text


def test_what_was_done_before_is_handed_on() -> None:
    work = guarded(steps(ValueError()))
    assert [next(work), next(work)] == [1, 2]
    assert list(guarded(iter([]))) == []
    assert list(guarded(iter([None, 0]))) == [None, 0]


def test_what_an_engine_says_itself_is_nothing_that_a_task_raised() -> None:
    assert heard("the executor was lost") is None


def test_an_outcome_comes_as_it_was() -> None:
    outcome = Outcome(
        "00007", {"rows": 2, "spent": {"read": 0.5}}, seconds=1.25, worker={"engine": "ray", "process": 7}
    )
    assert outcome_of(told(outcome)) == outcome
