import pytest

from tamis.filters.rules.document import Document
from tamis.filters.rules.lines import MAX_MATCHED, LineCount, LineShare, MeanLineLength, NewlinesPerWord, Sentences

TEXT = Document("- one\ntwo...\nThree.\n\n  FOUR four  \n")


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        (LineCount(), 4),
        (LineCount(begin=("-",)), 1),
        (LineCount(end=(".",)), 2),
        (LineCount(end=(".",), not_end=("...",)), 1),
        (LineCount(at_least=6, at_most=6), 2),
        (LineCount(contain=("four", "one")), 2),
        (LineCount(match=("^[A-Z]", "wo")), 3),
        (LineCount(match=("^[A-Z]",), end=(".",)), 1),
    ],
)
def test_lines_that_meet_all_conditions_are_counted(conditions: LineCount, count: int) -> None:
    assert conditions(TEXT) == count


def test_a_share_is_of_the_lines_that_are_not_blank() -> None:
    assert LineShare(begin=("-",))(TEXT) == 0.25
    assert LineShare()(Document(" \n")) is None
    assert MeanLineLength()(TEXT) == (5 + 6 + 6 + 9) / 4
    assert MeanLineLength()(Document("")) is None


def test_patterns_are_searched_in_the_head_of_a_line() -> None:
    assert LineCount(match=("b",))(Document("a" * (MAX_MATCHED - 1) + "b")) == 1
    assert LineCount(match=("b",))(Document("a" * MAX_MATCHED + "b")) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("One. Two! Three?", 3),
        ("no end", 1),
        ('He said "No." She left.', 2),
        ("at 3.5 km", 1),
        ("好。好！好？真好……", 4),
        ("One.\nTwo", 2),
    ],
)
def test_sentences_are_counted_by_their_ends(text: str, count: int) -> None:
    assert Sentences()(Document(text)) == count


def test_lines_that_c4_drops_have_no_sentences() -> None:
    measure = Sentences(end=(".",), not_end=("...",), min_words=2, max_word_length=5, without=("cookie",))
    kept = "a b."
    for dropped in ("a b", "a b...", "a.", "a abcdef.", "a Cookie."):
        assert measure(Document(f"{kept}\n{dropped}")) == 1


def test_line_feeds_are_counted_a_word() -> None:
    assert NewlinesPerWord()(Document("a b\n\nc, d\n")) == 2 / 5
    assert NewlinesPerWord(characters_per_word=1.6)(Document("好好好好\n好好好好")) == pytest.approx(1 / 5)
    assert NewlinesPerWord()(Document("")) is None
