"""The table of scripts says what Unicode says; run as a program, this file prints it."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.filters.writing import SCRIPTS, script_counts

NAMED = {
    "CJK UNIFIED IDEOGRAPH": "han",
    "CJK COMPATIBILITY IDEOGRAPH": "han",
    "IDEOGRAPHIC": "han",  # the iteration mark 3005, the number zero 3007, the closing mark 3006
    "VERTICAL IDEOGRAPHIC": "han",
    "HIRAGANA": "hiragana",
    "KATAKANA": "katakana",
    "HANGUL": "hangul",
    "LATIN": "latin",
    "CYRILLIC": "cyrillic",
    "GREEK": "greek",
    "ARABIC": "arabic",
    "HEBREW": "hebrew",
    "DEVANAGARI": "devanagari",
    "THAI": "thai",
}
"""How the names of a script's characters begin, beside a width."""


def script_of(character: str) -> str:
    """The script by the character's name; the empty string for what is no letter."""
    category = unicodedata.category(character)
    if category[0] not in "LM" and character != "\u3007":
        return ""
    name = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    found = next((script for begin, script in NAMED.items() if name.startswith(begin)), "")
    return found or ("other" if category[0] == "L" else "")


def assigned() -> list[str]:
    unknown = {"Cn", "Co", "Cs"}
    return [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in unknown]


def lines() -> list[str]:
    """The file, anew: runs of one script, over unassigned code points, too."""
    runs: dict[str, list[list[int]]] = {script: [] for script in SCRIPTS}
    before = ""
    for character in assigned():
        script = script_of(character)
        if script and script == before:
            runs[script][-1][1] = ord(character)
        elif script:
            runs[script].append([ord(character)] * 2)
        before = script
    told = {name: [f"{a:X}-{b:X}" if a < b else f"{a:X}" for a, b in runs[name]] for name in SCRIPTS}
    return [" ".join([name, *told[name]]) for name in SCRIPTS]


def test_every_assigned_character_has_the_script_that_its_name_tells() -> None:
    characters = assigned()
    wrong = []
    for start in range(0, len(characters), 256):
        block = characters[start : start + 256]
        said = [script_of(c) for c in block]
        expected = np.array([said.count(script) for script in SCRIPTS])
        if (script_counts("".join(block)) != expected).any():
            wrong += [c for c, s in zip(block, said, strict=True) if told(c) != s]
    # A later Python knows letters that came after the table; what the table does say must hold all the same.
    assert [c for c in wrong if told(c) or unicodedata.unidata_version == "14.0.0"] == []


def told(character: str) -> str:
    counts = script_counts(character)
    return SCRIPTS[int(counts.argmax())] if counts.any() else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("12:30 -- !? \u3002\uff0c\U0001f600", {}),
        ("Kaffee \u00e0 la cr\u00e8me", {"latin": 14}),
        ("\u732b\u306f\u30cd\u30b3\u30fc\u3005", {"han": 2, "hiragana": 1, "katakana": 3}),
        ("\uff21\uff42\uff11 \uff76", {"latin": 2, "katakana": 1}),
        ("\u0baa\ud55c\u0434\u03b1\u05d0\u0e01\u0915", dict.fromkeys(SCRIPTS[5:7] + SCRIPTS[8:], 1) | {"hangul": 1}),
        ("\U00020000\ud800", {"han": 1}),
    ],
)
def test_letters_are_counted_by_script(text: str, expected: dict[str, int]) -> None:
    found = dict(zip(SCRIPTS, script_counts(text).tolist(), strict=True))
    assert {name: count for name, count in found.items() if count} == expected


@given(st.text(), st.text())
def test_counts_of_a_whole_are_the_sum_of_its_parts(first: str, second: str) -> None:
    assert (script_counts(first + second) == script_counts(first) + script_counts(second)).all()


if __name__ == "__main__":
    print("\n".join(lines()))
