from __future__ import annotations

import time
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError, DataError
from tamis.filters.registry import build_scorer
from tamis.filters.rules.profile import profile_names
from tamis.filters.rules.scoring import AltText, Rules
from tamis.filters.scorer import Device, Sample, identity

from .test_profile import OWN, profile


def measured(scorer: Rules, text: str) -> dict[str, Any]:
    return scorer.prepare(Sample({"caption": text}))


def test_numbers_are_columns_and_published_bounds_are_told_beside_them(tmp_path: Path) -> None:
    scorer = Rules(path=profile(tmp_path))
    assert [c.name for c in scorer.columns] == ["words", "pairs", "failed", "good", "best"]
    assert measured(scorer, "a b a b c") == {
        "words": 5,
        "pairs": 0.8,
        "failed": ["varied"],
        "good": True,
        "best": False,
    }
    assert measured(scorer, "a b") == {"words": 2, "pairs": 0.0, "failed": ["long"], "good": False, "best": False}


def test_what_could_not_be_measured_decides_nothing(tmp_path: Path) -> None:
    text = OWN.replace("[3, null]", "[0, null]")
    assert measured(Rules(path=profile(tmp_path, text)), "") == {
        "words": 0,
        "pairs": None,
        "failed": [],
        "good": True,
        "best": None,
    }


def test_criteria_of_no_policy_are_not_called_failed() -> None:
    assert measured(Rules("news"), "一只猫。")["failed"] == ["michao_characters", "michao_lines"]


def test_alt_text_is_a_kind_of_its_own_with_rules_of_captions() -> None:
    kind, scorer = build_scorer("alt_text", {})
    assert (kind, scorer) == ("alt_text", AltText())
    found = scorer.prepare(Sample({"caption": "two dogs play"}))
    assert [found[name] for name in ("laion", "datacomp", "cc12m", "danqing", "clean")] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert found["failed"] == ["danqing_words"]


def test_another_column_may_be_read() -> None:
    row = {"caption": "x", "source.title": "a title of five words"}
    assert Rules("alt_text", column="source.title").prepare(Sample(row))["chunks"] == 5
    with pytest.raises(DataError):
        Rules("alt_text").prepare(Sample({"caption": None}))


def test_a_profile_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="name a profile"):
        build_scorer("rules", {})


def test_the_identity_tells_what_the_profile_says_and_not_where_it_lies(tmp_path: Path) -> None:
    first = Rules(path=profile(tmp_path))
    (tmp_path / "moved").mkdir()
    second = Rules(path=profile(tmp_path / "moved"))
    other = Rules(path=profile(tmp_path, OWN.replace("3", "4"), "other.yaml"))
    one, two, three = (identity(scorer, "rules", Device()) for scorer in (first, second, other))
    assert one == two
    assert one != three


def test_the_identity_tells_the_version_of_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Rules("news").model_digest()
    monkeypatch.setattr(unicodedata, "unidata_version", "1.0")
    assert Rules("news").model_digest() != before


@pytest.mark.parametrize(
    "piece", ["a.", "a-", "<a", "&a", "【", "\n", "\n ", "a'", "1", "月1", "报1日", "记者 张", "二〔", "第一", "#a"]
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * 30_000 + "!"
    for name in profile_names():
        started = time.process_time()
        measured(Rules(name), text)
        assert time.process_time() - started < 20  # a quarter of a second; a pattern that backtracks would take hours


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=120) | st.text(st.sampled_from("a b.。\n好好-…【#1"), max_size=200))
def test_any_text_gives_columns_of_their_types_with_shares_within_bounds(text: str) -> None:
    for name in profile_names():
        scorer = Rules(name)
        scored = scorer.score([None, measured(scorer, text)], Device())
        for column in scorer.columns:
            values = pa.array(scored[column.name], column.type).to_pylist()
            assert values[0] is None
            if column.unit == "share" and values[1] is not None:
                assert 0 <= values[1] <= 1, column.name
