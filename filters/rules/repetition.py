"""How much of a text is said again: lines, paragraphs and n-grams (Rae et al., "Scaling Language Models", 2021, A.1.1).

Characters are those of tokens, without spaces, below and above the line. An n-gram that occurs once repeats nothing, so
``top_gram`` of a text without a repeated one is 0 (datatrove gives the first one's length, which is much of a caption).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .document import Document
from .measure import Measure


def _again(parts: Sequence[str]) -> list[str]:
    """The parts that stood before."""
    seen: set[str] = set()
    return [part for part in parts if part in seen or seen.add(part)]  # type: ignore[func-returns-value]


@dataclass(frozen=True)
class DuplicateLines(Measure):
    """Of the lines, those that stood before."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return len(_again(document.lines)) / len(document.lines) if document.lines else None


@dataclass(frozen=True)
class DuplicateLineCharacters(Measure):
    """Of the characters of lines, those in lines that stood before."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return _characters_again(document.lines)


@dataclass(frozen=True)
class DuplicateParagraphs(Measure):
    """Of the paragraphs, those that stood before."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return len(_again(document.paragraphs)) / len(document.paragraphs) if document.paragraphs else None


@dataclass(frozen=True)
class DuplicateParagraphCharacters(Measure):
    """Of the characters of paragraphs, those in paragraphs that stood before."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return _characters_again(document.paragraphs)


def _characters_again(parts: Sequence[str]) -> float | None:
    return sum(map(len, _again(parts))) / sum(map(len, parts)) if parts else None


@dataclass(frozen=True)
class TopGram(Measure):
    """Of the characters, those of the {n} tokens that most often follow one another."""

    n: int

    def __call__(self, document: Document) -> float | None:
        """As told; of n-grams equally often, the one with most characters counts."""
        total = int(document.token_lengths.sum())
        if not total:
            return None
        numbers = document.repeats(self.n)
        places = np.flatnonzero(numbers >= 0)
        if not len(places):
            return 0.0
        _, firsts, counts = np.unique(numbers[places], return_index=True, return_counts=True)
        first = places[firsts[counts == counts.max()]]
        longest = max(int(document.token_lengths[at : at + self.n].sum()) for at in first.tolist())
        # Overlapping occurrences ("ha ha ha") count their characters twice, as in the published measure.
        return min(1.0, longest * int(counts.max()) / total)


@dataclass(frozen=True)
class DuplicateGrams(Measure):
    """Of the characters, those in runs of {n} tokens that stood before, no character counted twice."""

    n: int

    def __call__(self, document: Document) -> float | None:
        """As told: from the front, a run that stood before is counted and leapt over."""
        total = int(document.token_lengths.sum())
        if not total:
            return None
        numbers = document.repeats(self.n)
        places = np.flatnonzero(numbers >= 0)
        if not len(places):
            return 0.0
        ends = np.concatenate([[0], document.token_lengths.cumsum()])
        seen: set[int] = set()
        free = again = 0
        for place, number in zip(places.tolist(), numbers[places].tolist(), strict=True):
            if place < free:
                continue
            if number in seen:
                free = place + self.n
                again += int(ends[free] - ends[place])
            else:
                seen.add(number)
        return again / total
