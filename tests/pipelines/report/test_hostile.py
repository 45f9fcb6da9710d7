from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.report.hostile import plain


@given(st.text(), st.integers(1, 50))
def test_what_is_shown_is_short_and_steers_nothing(text: str, most: int) -> None:
    shown = plain(text, most)
    assert len(shown) <= most
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    shown.encode("utf-8")


def test_a_short_text_stays_as_it_is() -> None:
    assert plain("a cat – 一只猫 👩\u200d🚀") == "a cat – 一只猫 👩\u200d🚀"


def test_a_cut_text_says_so() -> None:
    assert plain("x" * 10, 10) == "x" * 10
    assert plain("x" * 11, 10) == "x" * 9 + "…"
    assert plain(" " * 1000 + "x", 10).endswith("…")


def test_spaces_run_together_and_marks_of_direction_are_replaced() -> None:
    assert plain(" a \n\t b\u202ec\x00\ud800") == "a b\ufffdc\ufffd\ufffd"
