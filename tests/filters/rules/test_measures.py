"""What a measure says of itself, and how one is made by name."""

from __future__ import annotations

import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.rules.measures import MEASURES, build_measure
from tamis.filters.rules.repetition import DuplicateGrams, TopGram
from tamis.filters.rules.words import SymbolsPerWord


def test_options_are_filled_into_the_meaning() -> None:
    assert TopGram(3).meaning == "of the characters, those of the 3 tokens that most often follow one another"
    assert SymbolsPerWord(("#", "@")).meaning == "occurrences of #, @ a word or run of punctuation"


def test_a_measure_is_made_by_its_name_and_options() -> None:
    assert build_measure("duplicate_grams", {"n": 5}, "here") == DuplicateGrams(5)


def test_every_measure_says_what_it_is_in_a_line() -> None:
    for name, kind in MEASURES.items():
        assert kind.__doc__, name
        assert kind.unit or kind.type == "int32"


def test_a_missing_option_is_told_where_it_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"^here\.n: Field required"):
        build_measure("top_gram", {}, "here")
