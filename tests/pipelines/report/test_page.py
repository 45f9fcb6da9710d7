from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipelines.report.contents import Page
from tamis.pipelines.report.page import percent, render, told_bytes, told_seconds

from .reading import read


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_share_says_nought_and_all_only_when_it_is_so(part: int, rest: int) -> None:
    said = percent(part, part + rest)
    assert (said == "0 %") == (part == 0)
    assert (said == "100 %") == (part > 0 and rest == 0)


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(1, 3, "33.3 %"), (1, 3000, "< 0.1 %"), (2999, 3000, "> 99.9 %"), (0, 0, "0 %")]
)
def test_shares_have_one_digit_behind_the_point(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 B"), (999, "999 B"), (1_013_760, "1.01 MB"), (25e9, "25 GB"), (7e15, "7e+03 TB")]
)
def test_bytes_are_said_in_a_fitting_unit(number: float, said: str) -> None:
    assert told_bytes(number) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 s"),
        (4e-6, "< 0.01 s"),
        (0.243, "0.24 s"),
        (25.7, "26 s"),
        (119, "119 s"),
        (240, "4.0 min"),
        (9000, "2.5 h"),
    ],
)
def test_seconds_are_said_in_a_fitting_unit(number: float, said: str) -> None:
    assert told_seconds(number) == said


def test_a_page_of_nothing_is_a_whole_page() -> None:
    account = {"asked": 0, "fetched": 0, "failed": {}, "exports": []}
    page = read(render(Page("empty", "/corpus", "today", "0" * 8, None, account, "name: empty\n")))
    assert page.one("h1").text == "empty"
    targets = {link.attributes["href"].removeprefix("#") for link in page.one("nav").all("a")}
    assert targets == {"failures", "throughput", "recipe"}
    assert targets <= {element.attributes.get("id") for element in page.all()}


def test_every_table_has_headers_and_every_picture_a_text() -> None:
    account = {"asked": 0, "fetched": 0, "failed": {}, "exports": []}
    page = read(render(Page("empty", "/corpus", "today", "0" * 8, None, account, "name: empty\n")))
    assert all(table.all("th", scope="col") for table in page.all("table"))
    assert all(image.attributes["alt"] for image in page.all("img"))
