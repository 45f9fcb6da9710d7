"""How much of a caption is spelled out in its image: the co-embedded text rate (CoTR) of CLIP-Parrot-Bias.

Lin et al., "Parrot Captions Teach CLIP to Spot Text" (arXiv 2312.14232, algorithm 1): with the *sets* of words C of the
caption and S spotted in the image, CoTR = |C and S| / |C|. The paper leaves case, punctuation and the cut of its fuzzy
rate open; here they are declared. A text becomes words by: NFKC, case-folding; apostrophes vanish; whatever is no letter,
digit or mark separates; Han and kana are a word a character, other scripts split where they are separated (so Thai, which
separates nothing, is a word a phrase).

Price: some 20 us for a short caption; at most the first ``MAX_CHARACTERS`` and ``MAX_WORDS`` distinct words are read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set as AbstractSet

MAX_CHARACTERS = 20_000
"""Of a text, as many characters are read."""

MAX_WORDS = 500
"""As many distinct words of either text are compared."""

MAX_FUZZY_LENGTH = 64
"""Longer words, in characters, are compared exactly only."""

MAX_EDITS = 4
"""Even of a very long word, no more edits are forgiven."""

_APOSTROPHES = re.compile("['\u2018\u2019\u02bc\u2032`]")
_IDEOGRAPH = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def tokens(text: str) -> list[str]:
    """Split a text into its normalised words, in order, repeats and all."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold())
    spaced = _IDEOGRAPH.sub(r" \g<0> ", _APOSTROPHES.sub("", folded))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in spaced).split()


def cotr(caption: str, spotted: str) -> float | None:
    """Give the share of the caption's distinct words that are spotted, or None for a caption without words."""
    wanted = _words(caption)
    return len(wanted & _words(spotted)) / len(wanted) if wanted else None


def cotr_fuzzy(caption: str, spotted: str) -> float | None:
    """Give the same share, forgiving what text spotters get wrong; never less than ``cotr``.

    A caption word of length n also counts if a spotted word lies within min(n // 4, MAX_EDITS) edits (Levenshtein: at
    most a quarter of the word, none below four characters, for "cat" is not "car"); if a spotted word is it and other
    caption words run together ("helloworld"); or if it is spotted words of two or more characters run together.
    """
    wanted, seen = _words(caption), _words(spotted)
    if not wanted:
        return None
    matched = wanted & seen
    for word in seen - wanted:
        matched |= _parts(word, wanted)
    pieces = {word for word in seen if len(word) > 1}
    for word in wanted - matched:
        if _parts(word, pieces) or any(_within(word, other, min(len(word) // 4, MAX_EDITS)) for other in seen):
            matched.add(word)
    return len(matched) / len(wanted)


def _words(text: str) -> set[str]:
    return set(list(dict.fromkeys(tokens(text)))[:MAX_WORDS])


def _parts(whole: str, words: AbstractSet[str]) -> set[str]:
    """The words that occur when ``whole`` is read, from end to end, as words run together; empty if it cannot be."""
    end = len(whole)
    if end > MAX_FUZZY_LENGTH:
        return set()
    reached, steps = {0}, []
    for start in range(end):
        if start in reached:
            ahead = [stop for stop in range(start + 1, end + 1) if whole[start:stop] in words]
            reached.update(ahead)
            steps += [(start, stop) for stop in ahead]
    leads = {end}
    parts = set()
    for start, stop in reversed(steps):
        if stop in leads:
            leads.add(start)
            parts.add(whole[start:stop])
    return parts


def _within(word: str, other: str, edits: int) -> bool:
    """Whether the Levenshtein distance is at most ``edits`` (false for 0 edits: equal words are matched before)."""
    if not edits or abs(len(word) - len(other)) > edits or max(len(word), len(other)) > MAX_FUZZY_LENGTH:
        return False
    # Of edits + 1 pieces of the word one is untouched: a substring search rules out nearly every pair at C speed.
    step = len(word) // (edits + 1)
    pieces = [word[at * step : (at + 1) * step if at < edits else None] for at in range(edits + 1)]
    return any(piece in other for piece in pieces) and _distance(word, other, edits) <= edits


def _distance(first: str, second: str, most: int) -> int:
    """The Levenshtein distance, or some number above ``most`` if it is more."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
        if min(row) > most:
            break
    return row[-1]
