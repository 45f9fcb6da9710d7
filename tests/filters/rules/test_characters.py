import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.filters.rules.characters import (
    MAX_SEARCHED,
    Characters,
    CharacterShare,
    DistinctCharacters,
    Enclosed,
    Entropy,
    Kind,
    Matches,
    Phrases,
    ScriptShare,
)
from tamis.filters.rules.document import Document

TEXT = Document(" Ab 12, 猫+ ")
EMPTY = Document("")


@pytest.mark.parametrize(
    ("kind", "share"),
    [("letter", 3 / 7), ("digit", 2 / 7), ("punctuation", 1 / 7), ("symbol", 1 / 7), ("upper", 1 / 7)],
)
def test_shares_of_kinds_are_of_what_is_no_space(kind: Kind, share: float) -> None:
    assert CharacterShare(kind)(TEXT) == share
    assert CharacterShare(kind)(EMPTY) is None


def test_a_share_may_leave_kinds_out_of_the_whole() -> None:
    assert CharacterShare("digit", beside=("punctuation",))(TEXT) == 2 / 6


def test_the_share_of_a_script_is_of_all_characters() -> None:
    assert ScriptShare("han")(TEXT) == 1 / 7
    assert ScriptShare("han")(EMPTY) is None
    with pytest.raises(ConfigError, match="script is 'Hani'; known: han, hiragana, "):
        ScriptShare("Hani")


def test_characters_are_counted_between_the_ends() -> None:
    assert Characters()(TEXT) == 9


def test_variety_is_measured_without_spaces() -> None:
    assert DistinctCharacters()(Document("ab ab")) == 0.5
    assert Entropy()(Document("ab ab")) == pytest.approx(math.log(2))
    assert Entropy()(Document("a a a")) == 0
    assert (DistinctCharacters()(EMPTY), Entropy()(EMPTY)) == (None, None)


@given(st.text(max_size=50))
def test_entropy_lies_between_none_and_that_of_all_different(text: str) -> None:
    document = Document(text)
    found = Entropy()(document)
    if found is not None:
        assert -1e-9 <= found <= math.log(document.num_characters) + 1e-9


def test_what_is_enclosed_counts_with_its_marks() -> None:
    measure = Enclosed("【", "】")
    assert measure(Document("【ab】cd【】e")) == 6 / 9
    assert measure(Document("】a【b")) == 0
    assert measure(Document("【【a】")) == 3 / 4
    assert measure(EMPTY) is None


def test_phrases_are_found_in_any_case() -> None:
    assert Phrases(("click here", "here"))(Document("Click HERE, or here")) == 3


def test_patterns_are_searched_in_the_head_of_a_text() -> None:
    assert Matches(("b", r"\d+"))(Document("b 12 b")) == 3
    assert Matches(("b",))(Document("a" * MAX_SEARCHED + "b")) == 0
