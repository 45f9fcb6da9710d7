"""Objections in headers: read for whom they are meant, and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.objections import is_heeded, objection

TAGS = ("noai", "noimageai")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["X-Robots-Tag: noai"], "noai"),
        (["x-robots-tag:NOAI\r\n"], "noai"),
        (["X-Robots-Tag: noindex, noimageai"], "noimageai"),
        (["X-Robots-Tag: noimageai", "X-Robots-Tag: noai"], "noai"),
        (["X-Robots-Tag: noindex, nofollow"], None),
        (["X-Robots-Tag: none"], None),
        (["X-Robots-Tag: noairline"], None),
        (["X-Robots-Tag:"], None),
        (["X-Robots-Tag: tamis: noai"], "noai"),
        (["X-Robots-Tag: Tamis: noindex, noai"], "noai"),
        (["X-Robots-Tag: googlebot: noindex, noai"], None),
        (["X-Robots-Tag: googlebot: noindex, tamis: noai"], "noai"),
        (["X-Robots-Tag: tamis: all, googlebot: noai"], None),
        (["X-Robots-Tag: *: noai"], "noai"),
        (["X-Robots-Tag: googlebot: noai", "X-Robots-Tag: noai"], "noai"),
        (["X-Robots-Tag: unavailable_after: 25 Jun 2026 15:00:00 PST, noai"], "noai"),
        (["X-Robots-Tag: max-snippet: 20, noai"], "noai"),
        (["tdm-reservation: 1"], "tdm_reserved"),
        (["TDM-Reservation:1\r\n"], "tdm_reserved"),
        (["tdm-reservation: 0"], None),
        (["tdm-reservation: 10"], None),
        ([], None),
    ],
)
def test_a_header_objects_to_what_it_says_for_whom_it_says(lines: list[str], expected: str | None) -> None:
    assert objection([line.encode() for line in lines], TAGS, True, "tamis") == expected


def test_only_what_the_settings_name_is_obeyed() -> None:
    line = [b"X-Robots-Tag: noai, noindex, noimageindex", b"tdm-reservation: 1"]
    assert objection(line, (), False, "tamis") is None
    assert objection(line, ("noimageindex",), False, "tamis") == "noimageindex"
    assert objection([b"X-Robots-Tag: none"], ("noindex",), False, "tamis") == "noindex"


def test_other_headers_are_not_kept() -> None:
    lines = [b"X-Robots-Tag: a", b"TDM-reservation: 1", b"Date: x", b"X-Cache: hit", b"tdm-policy: http://a/", b"T"]
    assert [is_heeded(line) for line in lines] == [True, True, False, False, False, False]


@given(st.lists(st.binary(max_size=60).map(lambda tail: b"X-Robots-Tag:" + tail), max_size=4))
def test_hostile_headers_are_no_accident(lines: list[bytes]) -> None:
    assert objection(lines, TAGS, True, "tamis") in {None, *TAGS}
