from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.filters.scorer import Device, Sample, identity
from tamis.filters.words import MAX_FOUND, Finder, Step, Words, normalised


def write(folder: Path, **lists: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return str(folder / "*.txt")


def measured(scorer: Words, text: str) -> dict[str, Any]:
    return scorer.prepare(Sample({"caption": text}))


def hits(entries: str, text: str) -> list[str]:
    return list(Finder({"a": entries.split("|")}).find(text)["a"].entries)


def test_each_list_has_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, toxic="# a comment\nbad\n\nworse\n", ads="buy now\n加微信\n")
    scorer = Words(path)
    assert [c.name for c in scorer.columns] == [
        "lines",
        *(f"ads_{kind}" for kind in ("hits", "words", "share", "found")),
        *(f"toxic_{kind}" for kind in ("hits", "words", "share", "found")),
    ]
    assert measured(scorer, "Bad, BAD!\n\n加微信") == {
        "lines": 2,
        "ads_hits": 1,
        "ads_words": 1,
        "ads_share": 3 / 13,
        "ads_found": ["加微信"],
        "toxic_hits": 2,
        "toxic_words": 1,
        "toxic_share": 6 / 13,
        "toxic_found": ["bad"],
    }


@pytest.mark.parametrize(
    ("entries", "text", "found"),
    [
        ("ass", "class ass assess", ["ass"]),
        ("ass", "ass", ["ass"]),
        ("赌博", "网上赌博网站", ["赌博"]),
        ("vip", "加vip群", ["vip"]),
        ("vip", "vip1 vip", ["vip"]),
        ("c++", "c++ and c+++", ["c++", "c++"]),
        ("ab|abc|bc", "abc ab bc", ["abc", "ab", "bc"]),
        ("赌|赌博|博彩", "赌博彩", ["赌博"]),
        ("no|no way", "no wayside", ["no"]),  # the longer one does not stand as a word
        ("คน", "ผู้คนมาก", ["คน"]),
    ],
)
def test_entries_count_where_they_stand_as_words(entries: str, text: str, found: list[str]) -> None:
    assert hits(entries, text) == found


def test_a_word_of_two_lists_counts_in_both() -> None:
    found = Finder({"a": ["bad"], "b": ["bad", "bad day"]}).find("a bad day")
    assert (found["a"].entries, found["b"].entries) == (("bad",), ("bad day",))
    assert (found["a"].covered, found["b"].covered, found["a"].whole) == (3, 7, 9)


@pytest.mark.parametrize(
    ("steps", "text", "form"),
    [
        ((), "Ａ：ﬁ\n 體ß", "Ａ：ﬁ\n 體ß"),
        (("width",), "Ａ：ﬁ\n 體ß", "A：ﬁ\n 體ß"),
        (("nfkc",), "Ａ：ﬁ\n 體ß", "A:fi\n 體ß"),
        (("simplified",), "Ａ：ﬁ\n 體ß", "Ａ：ﬁ\n 体ß"),
        (("case",), "Ａ：ﬁ\n 體ß", "ａ：fi\n 體ss"),
        (("spaces",), "Ａ：ﬁ\n 體ß", "Ａ：ﬁ 體ß"),
        (("width", "nfkc", "simplified", "case", "spaces"), "Ａ：ﬁ\n 體ß", "a:fi 体ss"),
    ],
)
def test_each_step_of_the_form_does_what_it_says(steps: tuple[Step, ...], text: str, form: str) -> None:
    assert normalised(text, steps) == form


def test_entries_take_the_same_form_as_the_text(tmp_path: Path) -> None:
    path = write(tmp_path, bad="ＢＡＤ  day\n賭博\n")
    assert measured(Words(path), "a bad\nDay, 赌博")["bad_found"] == ["bad day"]
    steps: tuple[Step, ...] = ("width", "simplified", "case", "spaces")
    assert measured(Words(path, normalise=steps), "a bad\nDay, 赌博")["bad_found"] == ["bad day", "赌博"]


@given(
    st.text(st.sampled_from("ab c猫"), max_size=30), st.lists(st.text(st.sampled_from("abc猫"), min_size=1), min_size=1)
)
def test_hits_are_entries_in_order_that_do_not_overlap(text: str, entries: list[str]) -> None:
    found = Finder({"a": entries}).find(text)["a"]
    at = 0
    for entry in found.entries:
        assert entry in entries
        at = text.index(entry, at) + len(entry)
    assert found.covered == sum(map(len, found.entries)) <= found.whole


def test_an_empty_text_has_nothing_and_long_finds_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path, bad="\n".join(f"w{number}" for number in range(MAX_FOUND + 5)))
    empty = measured(Words(path), "")
    assert (empty["lines"], empty["bad_hits"], empty["bad_share"], empty["bad_found"]) == (0, 0, 0.0, [])
    full = measured(Words(path), " ".join(f"w{number}" for number in range(MAX_FOUND + 5)))
    assert (full["bad_words"], len(full["bad_found"])) == (MAX_FOUND + 5, MAX_FOUND)


def test_the_identity_tells_the_words_and_the_form_and_not_the_place(tmp_path: Path) -> None:
    def told(scorer: Words) -> dict[str, Any]:
        return identity(scorer, "words", Device())

    first = told(Words(write(tmp_path / "a", bad="x\ny\n")))
    assert told(Words(write(tmp_path / "b", bad="# said\nx\ny"))) == first
    assert told(Words(write(tmp_path / "c", bad="x\nz\n"))) != first
    assert told(Words(write(tmp_path / "d", bad="x\ny\n"), normalise=("case",))) != first


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("Bad", "x", "'Bad' must be a lower-case letter"),
        ("bad", "# nothing\n", "has no words"),
        ("bad", "x" * 201, "an entry of 201 characters"),
    ],
)
def test_a_list_that_cannot_be_is_refused(name: str, text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        _ = Words(write(tmp_path, **{name: text})).columns


def test_bytes_that_are_no_utf8_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes("坏".encode("gb18030"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        _ = Words(str(tmp_path / "bad.txt")).columns
    with pytest.raises(ConfigError, match="no file matches"):
        _ = Words(str(tmp_path / "none" / "*.txt")).columns


def test_steps_are_given_in_their_order() -> None:
    with pytest.raises(ConfigError, match="steps, in this order: width, nfkc, simplified, case, spaces"):
        Words("x", normalise=("case", "width"))


def test_unreadable_places_stay_empty_and_columns_fit_their_types(tmp_path: Path) -> None:
    scorer = Words(write(tmp_path, bad="x"))
    scorer.setup(Device())
    scored = scorer.score([None, measured(scorer, "x")], Device())
    for column in scorer.columns:
        assert pa.array(scored[column.name], column.type).is_valid().to_pylist() == [False, True]
