"""What words are like: how many, how long, how varied. See ``document.py`` for what a word is."""

from __future__ import annotations

from dataclasses import dataclass

from .document import Document
from .measure import Count, Measure


@dataclass(frozen=True)
class Words(Count):
    """Words; an ideograph or kana is one."""

    unit = "words"

    def __call__(self, document: Document) -> int:
        """As told."""
        return document.num_words


@dataclass(frozen=True)
class Chunks(Count):
    """What spaces separate."""

    unit = "words"

    def __call__(self, document: Document) -> int:
        """As told."""
        return len(document.text.split())


@dataclass(frozen=True)
class MeanWordLength(Measure):
    """Characters a word, on average."""

    unit = "characters"

    def __call__(self, document: Document) -> float | None:
        """As told."""
        length = sum(len(word) * times for word, times in document.words.items())
        return length / document.num_words if document.words else None


@dataclass(frozen=True)
class AlphabeticWords(Measure):
    """Of words and runs of punctuation, those with a letter."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        with_letter = sum(times for token, times in document.words.items() if any(map(str.isalpha, token)))
        return with_letter / len(document.tokens) if document.tokens else None


@dataclass(frozen=True)
class ListedWords(Count):
    """Occurrences of the words {words}."""

    unit = "words"
    words: tuple[str, ...]

    def __call__(self, document: Document) -> int:
        """As told; case counts, as in the published rule."""
        return sum(document.vocabulary[word] for word in self.words)


@dataclass(frozen=True)
class RepeatedWords(Measure):
    """Of the words, those that stood before, whatever their case."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        distinct = len({word.lower() for word in document.words})
        return 1 - distinct / document.num_words if document.words else None


@dataclass(frozen=True)
class SymbolsPerWord(Measure):
    """Occurrences of {symbols} a word or run of punctuation."""

    unit = "symbols a word"
    symbols: tuple[str, ...]

    def __call__(self, document: Document) -> float | None:
        """As told."""
        found = sum(document.text.count(symbol) for symbol in self.symbols)
        return found / len(document.tokens) if document.tokens else None
