from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.filters.rules.document import Document


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Don't stop -- it's re-used!", ["Don't", "stop", "--", "it's", "re-used", "!"]),
        ("U.S. $5.00", ["U", ".", "S", ".", "$", "5", ".", "00"]),
        ("他有2只cats。", ["他", "有", "2", "只", "cats", "。"]),
        ("ネコは寝る", ["ネ", "コ", "は", "寝", "る"]),
        ("고양이가 잔다…", ["고양이가", "잔다", "…"]),
        ("snake_case", ["snake", "_", "case"]),
        ("naïve café", ["naïve", "café"]),
    ],
)
def test_tokens_are_words_ideographs_and_runs_of_punctuation(text: str, tokens: list[str]) -> None:
    assert Document(text).tokens == tokens


def test_words_are_the_tokens_with_a_letter_or_digit() -> None:
    document = Document("the 3 cats, the dog & ...")
    assert document.words == {"the": 2, "3": 1, "cats": 1, "dog": 1}
    assert document.num_words == 5


def test_lines_and_paragraphs_are_stripped_and_never_blank() -> None:
    document = Document("\n a \r\nb\rc\n \t\n\nd\u2028e\n")
    assert document.lines == ["a", "b", "c", "d", "e"]
    assert document.paragraphs == ["a \nb\nc", "d\ne"]


def test_characters_are_counted_without_spaces_by_category() -> None:
    document = Document("Aa 1\u3000,\n\u00a0A")
    assert (document.characters, document.num_characters) == (Counter("Aa1,A"), 5)
    assert document.categories == {"Lu": 2, "Ll": 1, "Nd": 1, "Po": 1}


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_equal_n_grams_have_equal_numbers_and_lone_ones_none(tokens: list[str], n: int) -> None:
    document = Document(" ".join(tokens))
    grams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    counts = Counter(grams)
    numbers = document.repeats(n)
    assert len(numbers) == len(grams)
    for first, gram in enumerate(grams):
        assert (numbers[first] == -1) == (counts[gram] == 1)
        for second in range(first):
            same = numbers[first] == numbers[second] != -1
            assert same == (grams[second] == gram)


@given(st.text(max_size=200))
def test_every_character_that_is_no_space_is_in_one_token(text: str) -> None:
    document = Document(text)
    assert "".join(document.tokens) == "".join(c for c in document.text if not c.isspace())
    assert int(document.token_lengths.sum()) == document.num_characters
    assert np.array_equal(document.token_ids, [list(document.vocabulary).index(t) for t in document.tokens])
