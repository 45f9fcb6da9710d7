"""What lines are like: how they begin and end, how long they are, what they contain, what they match.

A line counts when all conditions that are given hold for it. Patterns are searched in its first ``MAX_MATCHED``
characters, so that a profile's regular expressions cannot be made to run for ever by one endless line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .document import Document
from .measure import Count, Measure

MAX_MATCHED = 1_000
"""Of a line, as many characters are searched for patterns."""

_SENTENCE_END = re.compile("[.!?][\"'\u2019\u201d)\\]]*(?=\\s|$)|[\u3002\uff01\uff1f\u2026]+")


@dataclass(frozen=True)
class _Lines:
    """The conditions of a line."""

    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    not_end: tuple[str, ...] = ()
    at_least: int = 0
    at_most: int | None = None
    contain: tuple[str, ...] = ()
    """Any of these, in lower case."""
    match: tuple[str, ...] = ()
    """Any of these regular expressions."""

    def chosen(self, document: Document) -> Iterator[str]:
        """The lines that satisfy all conditions."""
        return filter(self._holds, document.lines)

    def _holds(self, line: str) -> bool:
        if len(line) < self.at_least or (self.at_most is not None and len(line) > self.at_most):
            return False
        if (self.begin and not line.startswith(self.begin)) or (self.end and not line.endswith(self.end)):
            return False
        if self.not_end and line.endswith(self.not_end):
            return False
        if self.contain and not any(phrase in line.lower() for phrase in self.contain):
            return False
        return not self.match or any(re.search(pattern, line[:MAX_MATCHED]) for pattern in self.match)


@dataclass(frozen=True)
class LineShare(_Lines, Measure):
    """Of the lines, those that satisfy the conditions."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return sum(1 for _ in self.chosen(document)) / len(document.lines) if document.lines else None


@dataclass(frozen=True)
class LineCount(_Lines, Count):
    """Lines that satisfy the conditions."""

    unit = "lines"

    def __call__(self, document: Document) -> int:
        """As told."""
        return sum(1 for _ in self.chosen(document))


@dataclass(frozen=True)
class MeanLineLength(Measure):
    """Characters a line, on average."""

    unit = "characters"

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return sum(map(len, document.lines)) / len(document.lines) if document.lines else None


@dataclass(frozen=True)
class Sentences(Count):
    """Sentences in the lines that C4's line rules keep (Raffel et al., 2020); a line without an end is one."""

    unit = "sentences"

    end: tuple[str, ...] = ()
    not_end: tuple[str, ...] = ()
    min_words: int = 1
    max_word_length: int | None = None
    without: tuple[str, ...] = ()
    """Phrases that a line may not contain, in lower case."""

    def __call__(self, document: Document) -> int:
        """As told."""
        return sum(max(1, len(_SENTENCE_END.findall(line))) for line in filter(self._kept, document.lines))

    def _kept(self, line: str) -> bool:
        words = line.split()
        if len(words) < self.min_words:
            return False
        if self.max_word_length is not None and max(map(len, words)) > self.max_word_length:
            return False
        if (self.end and not line.endswith(self.end)) or (self.not_end and line.endswith(self.not_end)):
            return False
        return not any(phrase in line.lower() for phrase in self.without)


@dataclass(frozen=True)
class NewlinesPerWord(Measure):
    """Line feeds a word; with characters for words, {characters_per_word} of them count as one."""

    unit = "line feeds a word"
    characters_per_word: float = 1

    def __call__(self, document: Document) -> float | None:
        """As told."""
        tokens = len(document.tokens) / self.characters_per_word
        return document.text.count("\n") / tokens if tokens else None
