"""What characters a text is made of, and which phrases and patterns occur in it.

Patterns are searched in the first ``MAX_SEARCHED`` characters; those that ship with profiles run in linear time.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from ...corpora.errors import ConfigError
from ..writing import SCRIPTS, script_counts
from .document import Document
from .measure import Count, Measure

MAX_SEARCHED = 100_000
"""Of a text, as many characters are searched for patterns."""


@dataclass(frozen=True)
class Characters(Count):
    """Characters, spaces at the ends left out."""

    unit = "characters"

    def __call__(self, document: Document) -> int:
        """As told."""
        return len(document.text)


Kind = Literal["letter", "digit", "punctuation", "symbol", "upper"]

_CATEGORIES: dict[Kind, tuple[str, ...]] = {
    "letter": ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc"),
    "digit": ("Nd",),
    "punctuation": ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    "symbol": ("Sm", "Sc", "Sk", "So"),
    "upper": ("Lu", "Lt"),
}
"""Unicode's general categories of each kind."""


@dataclass(frozen=True)
class CharacterShare(Measure):
    """Of the characters that are no space, those of kind {kind}."""

    kind: Kind
    beside: tuple[Kind, ...] = ()
    """Kinds that are left out of what the share is of."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        without = {category for kind in self.beside for category in _CATEGORIES[kind]}
        whole = sum(times for category, times in document.categories.items() if category not in without)
        found = sum(document.categories.get(category, 0) for category in _CATEGORIES[self.kind])
        return found / whole if whole else None


@dataclass(frozen=True)
class ScriptShare(Measure):
    """Of the characters that are no space, letters of the script {script}."""

    script: str

    def __post_init__(self) -> None:
        if self.script not in SCRIPTS:
            raise ConfigError(f"script is {self.script!r}; known: {', '.join(SCRIPTS)}")

    def __call__(self, document: Document) -> float | None:
        """As told."""
        found = int(script_counts(document.text)[SCRIPTS.index(self.script)])
        return found / document.num_characters if document.characters else None


@dataclass(frozen=True)
class DistinctCharacters(Measure):
    """Distinct characters as a share of all that are no space."""

    def __call__(self, document: Document) -> float | None:
        """As told."""
        return len(document.characters) / document.num_characters if document.characters else None


@dataclass(frozen=True)
class Entropy(Measure):
    """Entropy of the distribution of characters, spaces left out."""

    unit = "nats"

    def __call__(self, document: Document) -> float | None:
        """As told."""
        shares = [times / document.num_characters for times in document.characters.values()]
        return -math.fsum(share * math.log(share) for share in shares) if shares else None


@dataclass(frozen=True)
class Enclosed(Measure):
    """Of the characters, those between {opening} and the next {closing}, marks included."""

    opening: str
    closing: str

    def __call__(self, document: Document) -> float | None:
        """As told."""
        if not document.text:
            return None
        first, last = re.escape(self.opening), re.escape(self.closing)
        found = re.findall(f"{first}[^{first}{last}]*{last}", document.text)
        return sum(map(len, found)) / len(document.text)


@dataclass(frozen=True)
class Phrases(Count):
    """Occurrences of the phrases {phrases}, in whatever case."""

    unit = "occurrences"
    phrases: tuple[str, ...]

    def __call__(self, document: Document) -> int:
        """As told."""
        lowered = document.text.lower()
        return sum(lowered.count(phrase) for phrase in self.phrases)


@dataclass(frozen=True)
class Matches(Count):
    """Places that match the patterns."""

    unit = "occurrences"
    patterns: tuple[str, ...]

    def __call__(self, document: Document) -> int:
        """As told."""
        text = document.text[:MAX_SEARCHED]
        return sum(1 for pattern in self.patterns for _ in re.finditer(pattern, text))
