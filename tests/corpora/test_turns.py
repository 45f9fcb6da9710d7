"""At most so many of a host at once, first come first served, nobody forgotten."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.turns import Turns


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 3), st.data())
def test_every_item_gets_its_turn_in_order_and_never_too_many_at_once(
    hosts: list[str], per_host: int, data: st.DataObject
) -> None:
    turns: Turns[tuple[str, int]] = Turns(per_host)
    left = [(host, number) for number, host in enumerate(hosts)]
    taken: list[tuple[str, int]] = []
    served: list[tuple[str, int]] = []
    while left or turns.num_ready or taken:
        actions = [name for name, there in (("ask", left), ("take", turns.num_ready), ("give back", taken)) if there]
        action = data.draw(st.sampled_from(actions))
        if action == "ask":
            item = left.pop(0)
            turns.ask(item[0], item)
        elif action == "take":
            taken.append(turns.take())
            served.append(taken[-1])
        else:
            turns.give_back(taken.pop(data.draw(st.integers(0, len(taken) - 1)))[0])
        assert max(Counter(host for host, _ in taken).values(), default=0) <= per_host
    assert sorted(number for _, number in served) == list(range(len(hosts)))
    for host in "abc":
        numbers = [number for name, number in served if name == host]
        assert numbers == sorted(numbers)


def test_waiting_items_hold_up_no_other_host() -> None:
    turns: Turns[str] = Turns(1)
    for item in ("a1", "a2", "b1"):
        turns.ask(item[0], item)
    assert [turns.take(), turns.take(), turns.num_ready] == ["a1", "b1", 0]
    turns.give_back("a")
    assert turns.take() == "a2"


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(turns: Turns[str], clock: Clock, until: float) -> list[tuple[float, str]]:
    """Take everything out as soon as it may go and end it at once; when each left."""
    left: list[tuple[float, str]] = []
    while True:
        turns.wake()
        while turns.num_ready:
            item = turns.take()
            left.append((round(clock.now - 100, 3), item))
            turns.give_back(item[0])
        if turns.next_at is None or turns.next_at > until:
            return left
        clock.now = turns.next_at


def test_requests_of_a_host_keep_their_distance() -> None:
    clock = Clock()
    turns: Turns[str] = Turns(4, 0.5, clock)
    for item in ("a1", "a2", "b1", "a3"):
        turns.ask(item[0], item)
    assert run(turns, clock, 200) == [(0, "a1"), (0, "b1"), (0.5, "a2"), (1.0, "a3")]


def test_a_host_may_want_a_longer_distance_of_its_own() -> None:
    clock = Clock()
    turns: Turns[str] = Turns(4, 0.5, clock)
    for item in ("a1", "a2", "b1", "b2"):
        turns.ask(item[0], item, 3.0 if item[0] == "a" else 0.1)
    assert run(turns, clock, 200) == [(0, "a1"), (0, "b1"), (0.5, "b2"), (3.0, "a2")]


def test_places_given_while_all_hands_were_busy_do_not_leave_together() -> None:
    clock = Clock()
    turns: Turns[str] = Turns(9, 1.0, clock)
    for item in ("a1", "a2", "a3"):
        turns.ask("a", item)
    clock.now += 50
    assert run(turns, clock, 200) == [(50, "a1"), (51, "a2"), (52, "a3")]


def test_a_paused_host_waits_and_others_do_not() -> None:
    clock = Clock()
    turns: Turns[str] = Turns(1, clock=clock)
    turns.pause("a", 7.0)
    turns.pause("a", 2.0)
    for item in ("a1", "a2", "b1"):
        turns.ask(item[0], item)
    assert (turns.paused_for("a"), turns.paused_for("b")) == (7.0, 0.0)
    assert run(turns, clock, 200) == [(0, "b1"), (7, "a1"), (7, "a2")]


def test_those_that_wait_can_be_taken_back() -> None:
    turns: Turns[str] = Turns(1)
    for item in ("a1", "a2", "a3", "b1"):
        turns.ask(item[0], item)
    assert turns.drain("a") == ["a2", "a3"]
    assert [turns.take(), turns.take(), turns.num_ready] == ["a1", "b1", 0]


def test_hosts_with_nothing_to_remember_are_forgotten() -> None:
    clock = Clock()
    turns: Turns[str] = Turns(2, 0.5, clock)
    for number in range(100):
        turns.pause(f"p{number}", 1.0)
        turns.ask(chr(1000 + number), f"{chr(1000 + number)}x")
    run(turns, clock, 200)
    assert vars(turns)["_hosts"] == {}
    assert vars(turns)["_alarms"] == []
