"""Policies: what is compiled, in which order it is resolved, and one canonical form for digests."""

from __future__ import annotations

import json
import pickle

import pyarrow as pa
import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.policies import Rules, compile_rules

SCHEMA = pa.schema(
    {
        "uid": pa.string(),
        "min_side": pa.int32(),
        "aspect": pa.float64(),
        "clip.similarity": pa.float32(),
        "source.lang": pa.string(),
        "text.has_text": pa.bool_(),
    }
)
CRITERIA = {"big": "min_side >= 200", "matched": "clip.similarity >= 0.28", "quiet": "not text.has_text"}


def rules(criteria: dict[str, str] | None = None, **policies: str) -> Rules:
    return compile_rules(CRITERIA | (criteria or {}), policies, SCHEMA, ["exact", "phash"])


def names(text: str) -> list[str]:
    return [part.name for part in rules(p=text).policies["p"].conjuncts]


@pytest.mark.parametrize(
    ("text", "conjuncts"),
    [
        ("true", []),
        ("big", ["big"]),
        ("big and (matched and true) and big", ["big", "matched"]),
        ("big or matched", ["big or matched"]),
        ("(big or matched) and not quiet", ["big or matched", "not quiet"]),
        ("big and text.has_text", ["big", "text.has_text"]),
        ("aspect<3 AND aspect >= quantile(aspect,.70)", ["aspect < 3", "aspect >= quantile(aspect, 0.7)"]),
        ("big and first_of(duplicates.exact, order := 'min_side desc')", ["big", "first_of(duplicates.exact)"]),
        (
            "first_of(duplicates.exact) and first_of(duplicates.phash)",
            ["first_of(duplicates.exact)", "first_of(duplicates.phash)"],
        ),
        ("false", ["false"]),
    ],
)  # fmt: skip
def test_a_policy_is_told_by_its_conjuncts(text: str, conjuncts: list[str]) -> None:
    assert names(text) == conjuncts


def test_the_same_method_twice_is_told_in_full() -> None:
    found = names("first_of(duplicates.exact, among := big) and first_of(duplicates.exact, among := quiet)")
    assert found == ["first_of(duplicates.exact, among := big)", "first_of(duplicates.exact, among := quiet)"]


def test_first_of_takes_the_rest_of_its_conjunction_and_later_ones_take_earlier_ones() -> None:
    made = rules(p="first_of(duplicates.phash) and big and first_of(duplicates.exact, order := 'aspect') and quiet")
    phash, exact = made.firsts
    assert str(phash) == "first_of(duplicates.phash, among := big and quiet)"
    assert str(exact) == f"first_of(duplicates.exact, order := 'aspect', among := {phash} and big and quiet)"
    assert rules(p="first_of(duplicates.exact)").policies["p"].sql == "first_of(duplicates.exact, among := true)"


def test_quantiles_come_after_those_that_their_rows_depend_on() -> None:
    made = rules(
        {
            "top": "min_side >= quantile(min_side, 0.5, among := sharp)",
            "sharp": "aspect > quantile(aspect, 0.1, by := source.lang)",
        },
        p="clip.similarity > quantile(clip.similarity, 0.2, among := top and big) and top",
    )
    assert [str(quantile).split(",")[0] for quantile in made.quantiles] == [
        "quantile(aspect",
        "quantile(min_side",
        "quantile(clip.similarity",
    ]


def test_a_quantile_among_itself_is_refused() -> None:
    criteria = {
        "a": "min_side > quantile(min_side, 0.5, among := b)",
        "b": "aspect > quantile(aspect, 0.5, among := a)",
    }
    with pytest.raises(ConfigError, match=r"criterion a: .*a -> b -> a"):
        rules(criteria)


def test_columns_are_all_that_resolving_and_judging_read() -> None:
    assert rules(p="big").columns == ("clip.similarity", "min_side", "text.has_text")
    made = rules(p="first_of(duplicates.exact, order := 'aspect') and aspect > quantile(aspect, 0, by := source.lang)")
    assert made.columns == ("aspect", "clip.similarity", "min_side", "source.lang", "text.has_text", "uid")


def test_the_canonical_form_is_json_and_ignores_spelling() -> None:
    spelt = rules(p="BIG".lower() + "  AND ((matched)) and clip.similarity>=Quantile( clip.similarity , 0.50)")
    plain = rules(p="big and matched and clip.similarity >= quantile(clip.similarity, 0.5)")
    assert json.dumps(spelt.canonical()) == json.dumps(plain.canonical())
    assert plain.canonical()["criteria"] == CRITERIA
    assert plain.canonical() != rules(p="big and matched").canonical()


def test_rules_travel_to_workers() -> None:
    made = rules(p="big and first_of(duplicates.exact) and aspect > quantile(aspect, 0.5)")
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


def test_a_policy_may_have_the_name_of_a_criterion_but_not_its_column() -> None:
    made = rules(big="big and quiet")
    assert made.policies["big"].column == "policy.big"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bigg and quiet", r"no column or criterion bigg, .*; did you mean big\? known: .*big.*matched.*quiet"),
        ("big or first_of(duplicates.exact)", "not a conjunct of its own here; give it `among"),
        ("not first_of(duplicates.exact)", "not a conjunct of its own here"),
        ("first_of(duplicates.exat)", "no duplicates method exat, .*; did you mean exact"),
        ("first_of(duplicates.exact, order := 'big')", "the order of first_of cannot hold a criterion"),
        ("first_of(duplicates.exact, among := first_of(duplicates.phash))", "cannot hold a first_of"),
        ("aspect > quantile(aspect, 0.5, among := first_of(duplicates.exact))", "cannot hold a first_of"),
        ("aspect > quantile(aspect, 0.5, by := big)", "quantile cannot hold a criterion"),
        ("first_of(duplicates.exact, among := min_side)", "found number where a boolean is expected"),
        ("first_of(duplicates.exact, order := 'abs(source.lang)')", "cannot be evaluated"),
        ("min_side", "expected true or false, found number"),
        ("big and min_side", "expected true or false, found number"),
        ("big = 1", "cannot compare boolean with number"),
    ],
)  # fmt: skip
def test_a_wrong_policy_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match="^policy p: .*" + told):
        rules(p=text)


def test_a_nested_first_of_with_among_is_fine() -> None:
    assert names("big or first_of(duplicates.exact, among := big)") == [
        "big or first_of(duplicates.exact, among := big)"
    ]


@pytest.mark.parametrize("name", ["P", "1p", "p.q", "", "p-q"])
def test_policy_names_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=f"policy '{name}'"):
        compile_rules(CRITERIA, {name: "big"}, SCHEMA, [])
