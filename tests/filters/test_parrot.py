import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.filters.parrot import MAX_EDITS, MAX_WORDS, cotr, cotr_fuzzy, tokens

word = st.text("abcdefgh", min_size=1, max_size=12)
sentence = st.lists(word, max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Keep CALM, and carry on!", ["keep", "calm", "and", "carry", "on"]),
        ("Don\u2019t stop / it's 50% off", ["dont", "stop", "its", "50", "off"]),
        ("\uff28\uff45\uff4c\uff4c\uff4f \uff11\uff12", ["hello", "12"]),
        ("Straße ﬁne", ["strasse", "fine"]),
        ("大甩卖SALE五折", ["大", "甩", "卖", "sale", "五", "折"]),
        ("カフェ ﾗｰﾒﾝ", ["カ", "フ", "ェ", "ラ", "ー", "メ", "ン"]),
        ("한국어 간판", ["한국어", "간판"]),
        ("हिन्दी snake_case", ["हिन्दी", "snake", "case"]),
        ("cafe\u0301", ["café"]),
        ("— ... \u200b !!", []),
        ("", []),
    ],
)
def test_tokens_follow_the_declared_normalisation(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("caption", "spotted", "exact", "fuzzy"),
    [
        ("Keep calm and carry on", "KEEP CALM AND CARRY ON", 1.0, 1.0),
        ("keep keep calm", "calm", 0.5, 0.5),
        ("a photo of a dog", "", 0.0, 0.0),
        ("summer sale", "SUMMFR SALE", 0.5, 1.0),
        ("summer sale", "SUMMFE SALE", 0.5, 0.5),
        ("cat", "car", 0.0, 0.0),
        ("rain", "ram training", 0.0, 0.0),
        ("university", "univarsitv", 0.0, 1.0),
        ("university", "unavarsitv", 0.0, 0.0),
        ("hello big world", "HELLOWORLD", 0.0, 2 / 3),
        ("hello", "HELLOWORLD", 0.0, 0.0),
        ("t-shirt", "TSHIRT", 0.0, 1.0),
        ("facebook page", "FACE BOOK", 0.0, 0.5),
        ("cat", "a c t", 0.0, 0.0),
        ("五折 sale", "五 SALE", 2 / 3, 2 / 3),
    ],
)
def test_rates_equal_hand_counted_values(caption: str, spotted: str, exact: float, fuzzy: float) -> None:
    assert cotr(caption, spotted) == pytest.approx(exact)
    assert cotr_fuzzy(caption, spotted) == pytest.approx(fuzzy)


@pytest.mark.parametrize("caption", ["", "  ", "?! ---"])
def test_a_caption_without_words_has_no_rate(caption: str) -> None:
    assert cotr(caption, "text") is None
    assert cotr_fuzzy(caption, "text") is None


@given(sentence, sentence)
def test_fuzzy_is_at_least_exact_and_both_are_shares(caption: list[str], spotted: list[str]) -> None:
    exact, fuzzy = cotr(" ".join(caption), " ".join(spotted)), cotr_fuzzy(" ".join(caption), " ".join(spotted))
    assert (exact is None) == (fuzzy is None) == (not caption)
    if exact is not None and fuzzy is not None:
        assert 0 <= exact <= fuzzy <= 1


@given(st.lists(word, min_size=1, max_size=12), sentence, st.randoms(use_true_random=False))
def test_order_case_and_width_do_not_matter(caption: list[str], spotted: list[str], random: object) -> None:
    shuffled = random.sample(caption, len(caption)), random.sample(spotted, len(spotted))  # type: ignore[attr-defined]
    wide = {ord(c): ord(c) + 0xFEE0 for c in "abcdefghABCDEFGH"}
    for rate in (cotr, cotr_fuzzy):
        expected = rate(" ".join(caption), " ".join(spotted))
        assert rate(" ".join(shuffled[0]), " ".join(shuffled[1])) == expected
        assert rate(" ".join(caption).upper(), " ".join(spotted).translate(wide)) == expected


@given(st.text("abcdefgh", min_size=4, max_size=20), st.data())
def test_as_many_edits_as_a_quarter_of_the_word_are_forgiven(source: str, data: st.DataObject) -> None:
    spelled = list(source)
    for _ in range(data.draw(st.integers(0, min(len(source) // 4, MAX_EDITS)))):
        at = data.draw(st.integers(0, len(spelled) - 1))
        spelled[at : at + data.draw(st.integers(0, 1))] = data.draw(st.text("xyz", max_size=1))
    assert cotr_fuzzy(source, "".join(spelled)) == 1.0


@given(st.lists(word, min_size=2, max_size=5, unique=True))
def test_words_run_together_are_all_found(words: list[str]) -> None:
    assert cotr_fuzzy(" ".join(words), "".join(words)) == 1.0


def test_hostile_lengths_stay_bounded() -> None:
    started = time.perf_counter()
    many = " ".join(f"word{i:05d}" for i in range(5 * MAX_WORDS))
    assert cotr(many, many) == 1.0
    assert cotr_fuzzy(many, many.replace("word", "ward")) == 1.0
    assert cotr_fuzzy(many, " ".join(f"wxyz{i:05d}" for i in range(90_000, 95_000))) == 0.0
    assert cotr_fuzzy("a" * 100_000, "aa " * 100_000) == 0.0
    assert cotr_fuzzy("\ufdfa" * 100_000, "x") == 0.0
    assert time.perf_counter() - started < 20
