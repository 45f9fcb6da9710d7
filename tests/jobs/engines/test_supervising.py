"""The supervisor with workers that are played: who is hired, who is let go, what is tried again, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.engine import MAX_ATTEMPTS, Outcome
from tamis.corpora.errors import ConfigError, FatalError
from tamis.jobs.engines.supervising import Crew, Death, Supervisor, Worker


class Player(Worker):
    """A worker that does what its items say, when its turn comes."""

    def __init__(self, seat: int, set_up: str) -> None:
        self.seat, self.deed, self.stopped = seat, set_up, 0
        self.item: str | None = None
        self.begun: list[str] = []
        self.heard = False

    def give(self, item: str) -> None:
        assert self.item is None, "one item at a time"
        assert not self.stopped
        self.item = item
        self.begun.append(item)
        self.deed = item.split(":")[-1]

    def hear(self) -> Outcome | Death:
        self.item, self.heard = None, True
        if self.deed == "die":
            return Death("worker died", {"seat": self.seat})
        failed = {"fail": "a bug", "stop": "the disk is full"}.get(self.deed)
        fatal = FatalError if self.deed == "stop" else None
        return Outcome("", None if failed else {}, failed, fatal, worker={"seat": self.seat})

    def stop(self) -> None:
        self.stopped += 1


@dataclass
class Troupe(Crew[Player]):
    """Hires players; ``set_ups`` says, hire by hire, how they fare, and ``turns`` who has news: a place in the list."""

    set_ups: Sequence[str] = ()
    turns: Sequence[int] = ()
    hired: list[Player] = field(default_factory=list)
    at_once: list[list[int]] = field(default_factory=list)
    """The seats that had a worker at each wait."""
    _known: tuple[int, int] = (0, 0)

    def hire(self, seat: int) -> Player:
        number = len(self.hired)
        self.hired.append(Player(seat, self.set_ups[number] if number < len(self.set_ups) else "well"))
        return self.hired[-1]

    def wait(self, workers: Sequence[Player]) -> list[Player]:
        given_up = sum(bool(player.stopped and not player.heard) for player in self.hired)
        hired = len(self.hired) - self._known[0]
        assert not (hired and given_up > self._known[1]), "nobody is called who would only replace one on the way"
        self._known = len(self.hired), given_up
        talking = [worker for worker in workers if worker.item or not worker.begun]
        turn = self.turns[len(self.at_once)] if len(self.at_once) < len(self.turns) else 0
        self.at_once.append(sorted(worker.seat for worker in workers))
        return [talking[turn % len(talking)]]


def run(troupe: Troupe, items: Sequence[str], at_first: int, at_most: int) -> dict[str, Outcome]:
    found = list(Supervisor(troupe, at_first, at_most).run(items))
    assert sorted(outcome.item for outcome in found) == sorted(items)
    assert [player.stopped for player in troupe.hired] == [1] * len(troupe.hired), "everybody goes, once"
    return {outcome.item: outcome for outcome in found}


def wells(count: int) -> list[str]:
    return [f"{number}:well" for number in range(count)]


def test_the_crew_grows_when_one_could_be_set_up_and_shrinks_as_less_waits() -> None:
    troupe = Troupe()
    run(troupe, wells(5), 2, 4)
    assert troupe.at_once[0] == [0, 1], "nobody has shown yet that a worker can be set up"
    assert troupe.at_once[1] == [0, 1, 2, 3], "seat 0 has the first item, four wait"
    assert [len(seats) for seats in troupe.at_once[1:]] == [4, 4, 3, 2, 1]


def test_a_crew_is_never_larger_than_its_bound_or_its_items() -> None:
    for items, at_first, at_most, most in ((9, 1, 3, 3), (2, 1, 8, 2), (1, 4, 4, 1)):
        troupe = Troupe()
        run(troupe, wells(items), at_first, at_most)
        assert max(len(seats) for seats in troupe.at_once) == most
        assert len(troupe.at_once[0]) == min(at_first, items)


def test_a_retry_when_all_others_have_gone_calls_one_worker_back() -> None:
    troupe = Troupe(turns=(0, 1, 2, 1, 1))
    found = run(troupe, ["die", "1:well", "2:well"], 3, 3)
    assert found["die"].attempts == MAX_ATTEMPTS
    assert [len(seats) for seats in troupe.at_once] == [3, 3, 3, 3, 2, 1, 1, 1, 1, 1]


def test_a_worker_has_its_next_item_before_anybody_looks_at_its_last() -> None:
    troupe = Troupe()
    outcomes = Supervisor(troupe, 1, 1).run(wells(2))
    assert next(outcomes).item == "0:well"
    assert troupe.hired[0].item == "1:well"


def test_the_failed_attempts_are_told_with_the_last() -> None:
    troupe = Troupe()
    found = run(troupe, ["die"], 1, 1)
    assert [(one.item, one.error, one.attempts) for one in (*found["die"].earlier, found["die"])] == [
        ("die", "worker died", attempt) for attempt in (1, 2, 3)
    ]
    assert len(troupe.hired) == MAX_ATTEMPTS


def test_a_seat_is_given_up_after_three_failed_set_ups_and_the_others_go_on() -> None:
    troupe = Troupe(set_ups=("fail", "die", "fail"))
    found = run(troupe, wells(4), 2, 2)
    assert all(outcome.attempts == 1 for outcome in found.values())
    assert [player.seat for player in troupe.hired] == [0, 1, 0, 0]


def test_a_set_up_that_succeeds_forgives_those_that_failed() -> None:
    troupe = Troupe(set_ups=("fail", "fail", "well", "fail", "fail", "well"))
    assert run(troupe, ["die"], 1, 1)["die"].attempts == MAX_ATTEMPTS


def test_when_every_seat_is_given_up_the_run_stops_with_the_reason() -> None:
    troupe = Troupe(set_ups=("fail",) * 9)
    with pytest.raises(FatalError, match="no worker could be set up: a bug"):
        run(troupe, wells(4), 2, 8)
    assert len(troupe.hired) == 2 * MAX_ATTEMPTS, "the crew does not grow before one could be set up"
    assert [player.stopped for player in troupe.hired] == [1] * len(troupe.hired)


@pytest.mark.parametrize("set_ups", [("stop",), ()])
def test_what_is_fatal_stops_everybody(set_ups: Sequence[str]) -> None:
    troupe = Troupe(set_ups=set_ups)
    with pytest.raises(FatalError, match="the disk is full"):
        run(troupe, ["stop", *wells(4)], 3, 3)
    assert [player.stopped for player in troupe.hired] == [1] * 3


def test_everybody_goes_even_if_one_cannot_be_stopped() -> None:
    class Stubborn(Troupe):
        def hire(self, seat: int) -> Player:
            player = super().hire(seat)
            if seat == 1:
                player.stop = _refuse  # type: ignore[method-assign]
            return player

    troupe = Stubborn(set_ups=("stop",))
    with pytest.raises(ConfigError, match="will not"):
        list(Supervisor(troupe, 3, 3).run(wells(3)))
    assert [player.stopped for player in troupe.hired] == [1, 0, 1]


def _refuse() -> None:
    raise ConfigError("will not")


@given(
    items=st.lists(st.sampled_from(["well", "fail", "die"]), max_size=12),
    set_ups=st.lists(st.sampled_from(["well", "well", "fail", "die"]), max_size=20),
    turns=st.lists(st.integers(0, 7), max_size=60),
    bounds=st.tuples(st.integers(1, 4), st.integers(0, 4)),
)
def test_every_item_has_one_outcome_whatever_the_order_of_the_news(
    items: list[str], set_ups: list[str], turns: list[int], bounds: tuple[int, int]
) -> None:
    troupe = Troupe(set_ups, turns)
    named = [f"{number}:{deed}" for number, deed in enumerate(items)]
    try:
        found = run(troupe, named, bounds[0], sum(bounds))
    except FatalError:
        assert {player.begun == [] for player in troupe.hired[-MAX_ATTEMPTS:]} == {True}
        return
    begun = [item for player in troupe.hired for item in player.begun]
    for item, outcome in found.items():
        assert outcome.ok == item.endswith("well")
        assert begun.count(item) == outcome.attempts == (1 if outcome.ok else MAX_ATTEMPTS)
    assert max((len(seats) for seats in troupe.at_once), default=0) <= min(sum(bounds), len(items))
