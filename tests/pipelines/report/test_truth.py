from __future__ import annotations

from typing import Any

import pytest

from tamis.pipelines.report.truth import FACTS, judged, surprises


@pytest.mark.parametrize(
    ("name", "holding", "failing"),
    [
        ("parrot_recall", 0.95, 0.949),
        ("honest_called_parrot", 0.02, 0.021),
        ("copies_grouped", 1.0, 0.99),
        ("strangers_grouped", 0, 1),
        ("clip_auc", 0.95, 0.94),
        ("broken_exported", 0, 1),
        ("link_local_refused", True, False),
    ],
)
def test_each_promise_is_judged_at_its_bound(name: str, holding: Any, failing: Any) -> None:
    assert [judged({name: value})[0].holds for value in (holding, failing, None)] == [True, False, False]


def test_what_has_no_bound_is_shown_without_a_verdict() -> None:
    told = {fact.name: fact for fact in judged({"outcomes_as_planted": 0.5, "icons": 30, "asked": 7})}
    assert {name: (fact.planted, fact.found, fact.holds) for name, fact in told.items()} == {
        "requests that ended as planned": ("7", "50.0 %", None),
        "icons": ("", "30", None),
    }


def test_facts_keep_the_order_of_the_page() -> None:
    names = [fact.name for fact in FACTS]
    told = judged(dict.fromkeys(reversed(names), 1.0))
    assert [fact.name for fact in told] == [fact.says for fact in FACTS]


def test_counts_of_what_was_planted_stand_beside_the_fact() -> None:
    assert judged({"clip_auc": 0.97, "matching": 1200, "mismatched": 150})[0].planted == "1,200 + 150"


def test_surprises_are_cleaned_text() -> None:
    assert surprises({"surprises": [{"kind": "slow", "url": "a\u202eb", "found": None}]}) == (
        {"kind": "slow", "url": "a\ufffdb", "found": "None"},
    )
    assert surprises({}) == ()
