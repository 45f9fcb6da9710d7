from tamis.filters.rules.document import Document
from tamis.filters.rules.words import (
    AlphabeticWords,
    Chunks,
    ListedWords,
    MeanWordLength,
    RepeatedWords,
    SymbolsPerWord,
    Words,
)

TEXT = Document("The cat, the 3 dogs ... #1 & more")
EMPTY = Document("")


def test_words_are_counted_with_and_without_their_punctuation() -> None:
    assert Words()(TEXT) == 7  # The cat the 3 dogs 1 more
    assert Chunks()(TEXT) == 9
    assert Words()(Document("两只狗 ok")) == 4
    assert (Words()(EMPTY), Chunks()(EMPTY)) == (0, 0)


def test_the_mean_length_is_over_words_repeats_and_all() -> None:
    assert MeanWordLength()(Document("aa aa bbbbb !!")) == 3
    assert MeanWordLength()(Document("!!")) is None


def test_alphabetic_words_are_a_share_of_all_tokens() -> None:
    assert AlphabeticWords()(TEXT) == 5 / 11  # beside them: , 3 ... # 1 &
    assert AlphabeticWords()(EMPTY) is None


def test_listed_words_count_each_time_and_by_their_case() -> None:
    assert ListedWords(("the", "dogs"))(TEXT) == 2
    assert ListedWords(("的",))(Document("我的猫的梦")) == 2


def test_repeated_words_are_those_that_stood_before() -> None:
    assert RepeatedWords()(TEXT) == 1 - 6 / 7
    assert RepeatedWords()(EMPTY) is None


def test_symbols_are_counted_a_token() -> None:
    assert SymbolsPerWord(("#", "..."))(TEXT) == 2 / 11
    assert SymbolsPerWord(("#",))(EMPTY) is None
