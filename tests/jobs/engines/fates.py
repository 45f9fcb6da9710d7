"""What may befall an item on any engine, and what must be told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome
from tests.jobs.engines.acting import Marks

FATES: Mapping[str, tuple[int, str | None]] = {
    **{f"{number}:well": (1, None) for number in range(8)},
    "raise": (MAX_ATTEMPTS, "ValueError: a bug (acting.py:"),
    "raise-shard": (MAX_ATTEMPTS, "the shard is cut; restore it"),
    "raise-data": (MAX_ATTEMPTS, "truncated"),
    "raise-once": (2, None),
    "kill-once": (2, None),
    "kill": (MAX_ATTEMPTS, "worker died"),
    "exit": (MAX_ATTEMPTS, "worker died"),
    "leave-once": (2, None),
}
"""Item: the attempts at it, and how its error begins."""


def by_item(found: Iterable[Outcome], items: Sequence[str]) -> dict[str, Outcome]:
    """The outcomes of a run; each item must have one."""
    listed = list(found)
    assert sorted(outcome.item for outcome in listed) == sorted(items)
    return {outcome.item: outcome for outcome in listed}


def check_fates(found: Mapping[str, Outcome], marks: Marks) -> None:
    """A run over ``FATES`` went on to its end, and told each item's, with the attempts before it."""
    assert MAX_ATTEMPTS == 3
    assert {item: outcome.attempts for item, outcome in found.items()} == {i: f[0] for i, f in FATES.items()}
    for item, (attempts, error) in FATES.items():
        outcome = found[item]
        assert outcome.ok == (error is None), item
        assert (outcome.error or "").startswith(error or ""), item
        assert outcome.value == ({"attempt": attempts, "gpu": None, "ballast": ""} if error is None else None)
        assert [one.attempts for one in outcome.earlier] == list(range(1, attempts))
        assert not any(one.ok or one.earlier for one in outcome.earlier)
    assert [str(one.error).partition(" (")[0] for one in found["raise-once"].earlier] == ["ValueError: a bug"]
    [death] = found["kill-once"].earlier
    assert str(death.error).startswith("worker died")
    assert death.worker["process"] == marks.processes()["kill-once.1"]
    ran = marks.attempts()
    assert {item: ran[item] for item in FATES} == {item: fate[0] for item, fate in FATES.items()}
