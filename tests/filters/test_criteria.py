"""Criteria: names, columns and types are checked before any row is read."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.criteria import compile_criteria

SCHEMA = pa.schema(
    {
        "uid": pa.string(),
        "caption": pa.string(),
        "min_side": pa.int32(),
        "clip.similarity": pa.float32(),
        "clip.embedding": pa.list_(pa.float16(), 4),
        "text.has_text": pa.bool_(),
        "text.words": pa.list_(pa.string()),
        "source.date": pa.timestamp("us"),
        "source.md5": pa.binary(),
        "source.nothing": pa.null(),
        "source.WIDTH": pa.float16(),
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "min_side >= 200",
        "text.has_text",
        "not text.has_text or clip.similarity >= 0.28",
        "source.date > '2020-01-01'",
        "source.nothing > 3",
        "source.WIDTH > 3",
        "len(text.words) between 1 and 9",
        "caption in ('a', 'b', null)",
        "regexp_matches(caption, '(a+)+$', 'i')",
        "true",
        "clip.similarity >= quantile(clip.similarity, 0.7, by := text.has_text)",
        "coalesce(text.has_text, false)",
    ],
)
def test_truth_values_are_criteria(text: str) -> None:
    assert compile_criteria({"c": text}, SCHEMA)["c"].sql == text


def test_a_criterion_knows_its_columns() -> None:
    text = "min_side > 3 and caption <> '' and min_side >= quantile(clip.similarity, 0.5, by := uid)"
    assert compile_criteria({"c": text}, SCHEMA)["c"].columns == ("caption", "clip.similarity", "min_side", "uid")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("caption > 5", "in `caption > 5`: cannot compare text with number"),
        ("caption = 5", "in `caption = 5`: cannot compare text with number"),
        ("min_side = '200'", "cannot compare number with text"),
        ("min_side in (1, 'a')", "cannot compare number with text"),
        ("text.has_text = 1", "cannot compare boolean with number"),
        ("clip.similarity between 'a' and 1", "cannot compare number with text"),
        ("min_side + 1", r"expected true or false, found number: `min_side \+ 1`"),
        ("caption", "expected true or false, found text"),
        ("null", "expected true or false, found null"),
        ("not min_side", "in `not min_side`: found number where a boolean is expected"),
        ("min_side and text.has_text", "found number where a boolean is expected"),
        ("min_side is true", "found number where a boolean is expected"),
        ("case when min_side then true end", "found number where a boolean is expected"),
        ("abs(caption) > 1", r"in `abs\(caption\)`: cannot be evaluated \(Binder Error"),
        ("coalesce(caption, 5) = 'a'", "cannot be evaluated"),
        ("list_contains(text.words, 5)", "cannot be evaluated"),
        ("source.date > 'yesterday'", "cannot be evaluated .*yesterday"),
        ("text.words = 'a'", "cannot be evaluated"),
        ("regexp_matches(caption, '(')", "cannot be evaluated .*missing"),
        ("clip.embedding is null", r"clip.embedding`: cannot be evaluated \(fixed_size_list"),
        ("min_side > quantile(caption, 0.5)", "found text where a number is expected"),
        ("min_side > quantile(min_side, 0.5, among := caption)", "found text where a boolean is expected"),
        ("min_side > quantile(min_side, 0.5, by := clip.similarity)", "by groups by text, whole numbers or truth"),
        ("first_of(duplicates.exact)", "no duplicates method exact"),
    ],
)  # fmt: skip
def test_a_type_error_is_told_by_its_smallest_part(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^criterion c: .*" + told):
        compile_criteria({"c": text}, SCHEMA)


@pytest.mark.parametrize(
    "name", ["Big", "2big", "", "a.b", "a b", 'a"', "ä", "min_side", "true", "null", "not", "case", "select"]
)
def test_a_name_that_a_policy_could_not_say_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^criterion '{name}': "):
        compile_criteria({name: "true"}, SCHEMA)


def test_a_criterion_reads_columns_not_criteria() -> None:
    with pytest.raises(ConfigError, match="a criterion reads columns; say small in a policy"):
        compile_criteria({"small": "min_side < 9", "other": "not small"}, SCHEMA)
