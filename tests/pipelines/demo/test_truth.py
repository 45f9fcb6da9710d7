from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.demo import truth
from tamis.pipelines.demo.planting import Planted, plant
from tamis.pipelines.demo.truth import Findings, measure

BASE = "http://127.0.0.1:9000"
LIST = plant(1, 300)


def _row(one: Planted) -> dict[str, Any]:
    """What a run without a fault says of a request."""
    return {
        "url": one.url(BASE),
        "text.parrot_rate_fuzzy": 0.9 if one.is_parrot else 0.0,
        "clip.similarity": 0.1 if one.matched is False else 0.4,
        "cluster": one.copy_group,
        "exported": not one.is_parrot,
    }


def _perfect() -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    rows = [_row(one) for one in LIST if one.outcome == "ok"]
    return rows, [(one.url(BASE), one.outcome) for one in LIST if one.outcome != "ok"]


def _changed(column: str, value: object, urls: set[str]) -> dict[str, Any]:
    rows, failures = _perfect()
    return measure(LIST, BASE, Findings([{**r, column: value} if r["url"] in urls else r for r in rows], failures))


def _urls(kind: str, at_most: int = 1500) -> list[str]:
    return sorted({one.url(BASE) for one in LIST if one.kind == kind})[:at_most]


def test_a_run_without_a_fault_finds_all() -> None:
    told = measure(LIST, BASE, Findings(*_perfect()))
    assert told == {
        "asked": 300,
        "parrots": sum(one.is_parrot for one in LIST),
        "parrot_recall": 1.0,
        "honest": sum(one.honest and one.outcome == "ok" for one in LIST),
        "honest_called_parrot": 0.0,
        "copy_groups": 8,
        "copies_grouped": 1.0,
        "strangers_grouped": 0,
        "matching": sum(one.matched is True and one.outcome == "ok" for one in LIST),
        "mismatched": 30,
        "clip_auc": 1.0,
        "broken": sum(one.outcome not in {"ok", "duplicate_uid"} for one in LIST),
        "broken_exported": 0,
        "link_local_refused": True,
        "outcomes_as_planted": 1.0,
        "surprises": [],
    }


def test_a_parrot_that_is_missed_unmeasured_or_lost_lowers_the_recall() -> None:
    posters = _urls("poster", 2)
    parrots = sum(one.is_parrot for one in LIST)
    for value in (0.29, None):
        assert _changed("text.parrot_rate_fuzzy", value, set(posters))["parrot_recall"] == 1 - 2 / parrots
    rows, failures = _perfect()
    lost = Findings(
        [row for row in rows if row["url"] not in posters], [*failures, *((url, "reset") for url in posters)]
    )
    told = measure(LIST, BASE, lost)
    assert told["parrot_recall"] == 1 - 2 / parrots
    assert told["outcomes_as_planted"] == 1 - 2 / 300
    assert told["surprises"] == [
        {"kind": "poster", "url": one.url(BASE), "expected": "ok", "found": "reset"}
        for one in LIST
        if one.url(BASE) in posters
    ]


def test_an_honest_caption_called_a_parrot_is_counted() -> None:
    told = _changed("text.parrot_rate_fuzzy", 0.3, set(_urls("sign", 3)))
    assert told["honest_called_parrot"] == 3 / told["honest"]
    assert told["parrot_recall"] == 1.0


def test_a_copy_left_out_of_its_cluster_breaks_its_group() -> None:
    assert _changed("cluster", None, set(_urls("copy", 1)))["copies_grouped"] == 7 / 8
    assert _changed("cluster", "another", set(_urls("copy", 1)))["copies_grouped"] == 7 / 8
    group = next(one.copy_group for one in LIST if one.copy_group)
    members = {one.url(BASE) for one in LIST if one.copy_group == group}
    assert _changed("cluster", None, members)["copies_grouped"] == 7 / 8  # all alike, and yet in no cluster
    assert _changed("cluster", None, set(_urls("copy")))["copies_grouped"] is None


def test_strangers_in_one_cluster_are_counted() -> None:
    assert _changed("cluster", "mixed", set(_urls("photograph", 3)))["strangers_grouped"] == 1


def test_mismatched_captions_that_score_as_high_as_others_halve_the_separation() -> None:
    assert _changed("clip.similarity", 0.4, set(_urls("mismatched")))["clip_auc"] == 0.5
    assert _changed("clip.similarity", 0.9, set(_urls("mismatched")))["clip_auc"] == 0.0


@given(*[st.lists(st.integers(0, 5), min_size=1, max_size=12)] * 2)
def test_the_auc_is_the_share_of_pairs_in_order_with_ties_half(higher: list[float], lower: list[float]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in higher for b in lower]
    assert truth._auc(higher, lower) == pytest.approx(sum(pairs) / len(pairs))


def test_anything_broken_in_an_export_is_counted() -> None:
    rows, failures = _perfect()
    broken = next(one for one in LIST if one.kind == "cut")
    told = measure(LIST, BASE, Findings([*rows, {"url": broken.url(BASE), "exported": True}], failures))
    assert told["broken_exported"] == 1


def test_a_metadata_request_that_ends_otherwise_is_not_refused() -> None:
    rows, failures = _perfect()
    internal = _urls("internal")
    other = [(url, "timeout" if url in internal else reason) for url, reason in failures]
    told = measure(LIST, BASE, Findings(rows, other))
    assert told["link_local_refused"] is False
    assert {surprise["found"] for surprise in told["surprises"]} == {"timeout"}


def test_a_repeat_that_is_fetched_twice_is_a_surprise() -> None:
    rows, failures = _perfect()
    twice = _urls("repeat", 1)[0]
    once_more = [*rows, next(row for row in rows if row["url"] == twice)]
    told = measure(LIST, BASE, Findings(once_more, [pair for pair in failures if pair[0] != twice]))
    assert told["surprises"] == [{"kind": "repeat", "url": twice, "expected": "duplicate_uid", "found": "ok"}]


def test_what_was_not_measured_is_none() -> None:
    rows, failures = _perfect()
    bare = [{"url": row["url"], "exported": False} for row in rows]
    told = measure(LIST, BASE, Findings(bare, failures))
    names = ["parrot_recall", "honest_called_parrot", "copies_grouped", "clip_auc"]
    assert [told[name] for name in names] == [None] * 4
    assert told["outcomes_as_planted"] == 1.0
