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
