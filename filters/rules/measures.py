"""Measures by name, and the making of one from its entry in a profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ...corpora.errors import ConfigError
from . import characters, lines, repetition, words
from .measure import Measure

MEASURES: Mapping[str, type[Measure]] = {
    "alphabetic_words": words.AlphabeticWords,
    "characters": characters.Characters,
    "character_share": characters.CharacterShare,
    "chunks": words.Chunks,
    "distinct_characters": characters.DistinctCharacters,
    "duplicate_grams": repetition.DuplicateGrams,
    "duplicate_line_characters": repetition.DuplicateLineCharacters,
    "duplicate_lines": repetition.DuplicateLines,
    "duplicate_paragraph_characters": repetition.DuplicateParagraphCharacters,
    "duplicate_paragraphs": repetition.DuplicateParagraphs,
    "enclosed": characters.Enclosed,
    "entropy": characters.Entropy,
    "line_count": lines.LineCount,
    "line_share": lines.LineShare,
    "listed_words": words.ListedWords,
    "matches": characters.Matches,
    "mean_line_length": lines.MeanLineLength,
    "mean_word_length": words.MeanWordLength,
    "newlines_per_word": lines.NewlinesPerWord,
    "phrases": characters.Phrases,
    "repeated_words": words.RepeatedWords,
    "script_share": characters.ScriptShare,
    "sentences": lines.Sentences,
    "symbols_per_word": words.SymbolsPerWord,
    "top_gram": repetition.TopGram,
    "words": words.Words,
}


def build_measure(name: str, options: Mapping[str, Any], told: str) -> Measure:
    """The measure of that name with these options; ``told`` is where errors say they are.

    Raises:
        ConfigError: an unknown measure or option, or a value that it refuses.
    """
    if name not in MEASURES:
        raise ConfigError(f"{told}: no measure {name!r}; there are: {', '.join(MEASURES)}")
    kind = MEASURES[name]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise ConfigError(f"{told}.{option}: unknown option; {name} has: {', '.join(known) or 'none'}")
    try:
        measure: Measure = TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{told}.{where}: {problem['msg']}; found {problem.get('input')!r}") from error
    except ConfigError as error:
        raise ConfigError(f"{told}: {error}") from error
    return measure
