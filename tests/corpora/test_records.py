"""A uid names its parts and nothing else: no two records run together, and the function never changes."""

from __future__ import annotations

import doctest
import re
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora import records
from tamis.corpora.records import Record, uid_of

anything = st.text(st.characters(exclude_categories=()), max_size=20)
domain: st.SearchStrategy[Literal["url", "image"]] = st.sampled_from(["url", "image"])


@given(st.tuples(domain, anything, anything), st.tuples(domain, anything, anything))
def test_two_uids_are_equal_exactly_when_their_parts_are(
    one: tuple[Literal["url", "image"], str, str], other: tuple[Literal["url", "image"], str, str]
) -> None:
    assert (uid_of(*one) == uid_of(*other)) == (one == other)


@given(anything, anything, st.integers(0, 40))
def test_moving_the_border_between_url_and_caption_changes_the_uid(url: str, caption: str, at: int) -> None:
    joined = url + caption
    moved = joined[:at], joined[at:]
    assert (uid_of("url", *moved) == uid_of("url", url, caption)) == (moved == (url, caption))


@given(domain, anything, anything)
def test_a_uid_is_32_hex_digits_without_a_dot(kind: Literal["url", "image"], name: str, caption: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", uid_of(kind, name, caption))


def test_uids_never_change() -> None:
    """A corpus of last year is read by the code of this year: these values are for ever."""
    assert uid_of("url", "http://a/1.jpg", "a cat") == "03c927b7a466681b964d25b663875337"
    assert uid_of("image", "00" * 32, "") == "b3f7e69bb6d39477e703874289c0aa44"
    assert uid_of("url", "http://a/图.jpg", "一只猫") == "f245f6558a7ad0c66d75f986200a3ecf"


def test_a_record_is_named_by_its_url_and_first_caption() -> None:
    record = Record("http://a/1.jpg", ("a cat", "another"), {"width": 3})
    assert record.caption == "a cat"
    assert record.uid == uid_of("url", "http://a/1.jpg", "a cat")
    assert Record("http://a/1.jpg").uid == uid_of("url", "http://a/1.jpg", "")
    assert Record("http://a/1.jpg").caption == ""


def test_the_documented_example_holds() -> None:
    assert doctest.testmod(records).attempted > 0
    assert doctest.testmod(records).failed == 0
