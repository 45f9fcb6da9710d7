from __future__ import annotations

from pathlib import Path

import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.rules.profile import Bounds, load_profile, profile_names

OWN = """
about: mine
columns:
  words: words
  pairs: {measure: top_gram, n: 2, meaning: pairs again}
criteria:
  long: {words: [3, null]}
  varied: {pairs: [null, 0.25]}
policies:
  good: [long]
  best: [good, varied, long]
"""


def profile(folder: Path, text: str = OWN, name: str = "own.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_ones_own_profile_is_read_from_its_path(tmp_path: Path) -> None:
    loaded = load_profile("", profile(tmp_path))
    assert loaded.meanings == {"words": "words; an ideograph or kana is one", "pairs": "pairs again"}
    assert loaded.policies == {"good": ("long",), "best": ("long", "varied")}
    assert loaded.criteria["varied"] == Bounds("pairs", None, 0.25)


def test_a_profile_is_told_as_criteria_of_a_recipe(tmp_path: Path) -> None:
    assert load_profile("", profile(tmp_path)).recipe("mine") == {
        "criteria": {"long": "mine.words >= 3", "varied": "mine.pairs <= 0.25"},
        "policies": {"good": "long", "best": "long and varied"},
    }
    assert Bounds("words", 50, 100_000).sql("s") == "s.words >= 50 and s.words <= 100000"


@pytest.mark.parametrize(
    ("value", "verdict"), [(None, None), (2, False), (3, True), (4.0, True), (4.5, False)], ids=str
)
def test_both_bounds_are_allowed_and_null_is_no_verdict(value: float | None, verdict: bool | None) -> None:
    assert Bounds("words", 3, 4).holds(value) is verdict


def test_the_digest_is_of_what_is_said_and_not_of_how(tmp_path: Path) -> None:
    first = load_profile("", profile(tmp_path))
    commented = load_profile("", profile(tmp_path, "# a comment\n" + OWN.replace("[3, null]", "[3,  null]"), "b.yaml"))
    other = load_profile("", profile(tmp_path, OWN.replace("[3, null]", "[4, null]"), "c.yaml"))
    assert first.digest == commented.digest != other.digest


@pytest.mark.parametrize("name", profile_names())
def test_profiles_of_the_package_say_where_their_rules_come_from(name: str) -> None:
    loaded = load_profile(name)
    assert "arXiv" in loaded.about
    assert all(loaded.meanings.values())
    assert all("{" not in meaning or "curly" in meaning for meaning in loaded.meanings.values())


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("words: words", "words: wordz", "columns.words: no measure 'wordz'; there are: alphabetic_words, "),
        ("n: 2", "m: 2", "columns.pairs.m: unknown option; top_gram has: n"),
        ("n: 2", "n: two", "columns.pairs.n: Input should be a valid integer"),
        ("measure: top_gram, n: 2", "measure: script_share, script: x", "columns.pairs: script is 'x'"),
        ("measure: top_gram, n: 2", "measure: matches, patterns: ['(']", "columns.pairs: '(' is no regular expression"),
        ("measure: top_gram, n: 2", "measure: line_count, match: ['(']", "columns.pairs: '(' is no regular expression"),
        ("{words: [3, null]}", "{word: [3, null]}", "criteria.long: no column 'word'; there are: words, pairs"),
        ("{words: [3, null]}", "{words: [null, null]}", "criteria.long: neither a least nor a most value is given"),
        ("{words: [3, null]}", "{words: [3, 4], pairs: [1, 2]}", "criteria.long: found 2 columns, expected one"),
        ("{words: [3, null]}", "{words: [3]}", "criteria.long.words.1: Field required"),
        ("{words: [3, null]}", "{words: [.nan, 3]}", "criteria.long.words.0: Input should be a finite number"),
        ("good: [long]", "good: [wide]", "policies: no criterion or policy above is called 'wide'"),
        ("best: [good, varied, long]", "words: [long]", "words: the name of another column"),
        ("best: [good, varied, long]", "failed: [long]", "failed: the name of another column"),
        ("about: mine", "", "about: Field required"),
        ("about: mine", "about: mine\nmore: 1", "more: Extra inputs are not permitted"),
        ("about: mine", "about: [", "cannot read the profile"),
        ("  words: words", "  Words: words", "String should match pattern"),
    ],
)
def test_a_wrong_profile_is_refused_by_its_place(before: str, after: str, told: str, tmp_path: Path) -> None:
    assert before in OWN
    with pytest.raises(ConfigError) as raised:
        load_profile("", profile(tmp_path, OWN.replace(before, after)))
    assert told in str(raised.value)


def test_one_profile_is_named_and_it_exists(tmp_path: Path) -> None:
    for name, path in (("", ""), ("fineweb", "x.yaml")):
        with pytest.raises(ConfigError, match="name a profile or the path of one; profiles: alt_text, chinese, "):
            load_profile(name, path)
    with pytest.raises(ConfigError, match=r"no profile '\.\./secret'; there are: alt_text"):
        load_profile("../secret")
    with pytest.raises(ConfigError, match="cannot read the profile"):
        load_profile("", str(tmp_path / "none.yaml"))
