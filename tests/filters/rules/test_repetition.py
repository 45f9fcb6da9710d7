"""Repetition by the published loops, word by word, beside ours."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.filters.rules.document import Document
from tamis.filters.rules.repetition import (
    DuplicateGrams,
    DuplicateLineCharacters,
    DuplicateLines,
    DuplicateParagraphCharacters,
    DuplicateParagraphs,
    TopGram,
)

WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=40)


@given(WORDS, st.integers(1, 6))
def test_duplicate_grams_are_those_of_the_published_loop(words: list[str], n: int) -> None:
    seen: set[tuple[str, ...]] = set()
    again = at = 0
    while at <= len(words) - n:
        gram = tuple(words[at : at + n])
        if gram in seen:
            again += sum(map(len, gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    total = sum(map(len, words))
    assert DuplicateGrams(n)(Document(" ".join(words))) == (again / total if words else None)


@given(WORDS, st.integers(1, 4))
def test_the_top_gram_is_the_most_frequent_one(words: list[str], n: int) -> None:
    counts = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
    most = max(counts.values(), default=0)
    longest = max((len("".join(gram)) for gram, times in counts.items() if times == most), default=0)
    expected = min(1.0, most * longest / len("".join(words))) if most > 1 else 0.0
    assert TopGram(n)(Document(" ".join(words))) == (expected if words else None)


def test_the_top_gram_of_the_most_characters_counts_among_equals() -> None:
    assert TopGram(1)(Document("a a bbb bbb c")) == pytest.approx(6 / 9)


def test_repeats_that_overlap_are_leapt_over() -> None:
    # "a a a a a": the pair at 1 is again, so 1-2; then 3-4.
    assert DuplicateGrams(2)(Document("a a a a a")) == pytest.approx(4 / 5)
    assert TopGram(2)(Document("a a a a a")) == 1.0  # eight characters of five, as published; no share is above 1


def test_lines_and_paragraphs_again_are_counted_beyond_the_first() -> None:
    document = Document("aa\nbbbb\naa\n\ncc\n\naa\n\ncc")
    assert DuplicateLines()(document) == 3 / 6
    assert DuplicateLineCharacters()(document) == 6 / 14
    assert DuplicateParagraphs()(document) == 1 / 4
    assert DuplicateParagraphCharacters()(document) == 2 / (10 + 2 + 2 + 2)


def test_a_text_of_nothing_has_no_share() -> None:
    empty = Document(" \n ")
    measures = (DuplicateLines(), DuplicateLineCharacters(), DuplicateParagraphs(), DuplicateParagraphCharacters())
    assert [measure(empty) for measure in (*measures, TopGram(2), DuplicateGrams(5))] == [None] * 6
