"""The model beside plain counting, and as a distribution."""

from __future__ import annotations

import io
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.filters.ngrams import MIN_COUNT, PRUNED_FROM, as_read, keys, load, main, train

TEXTS = st.lists(st.text(st.sampled_from("ab "), min_size=1, max_size=12), min_size=1, max_size=8).filter(
    lambda texts: any(text.strip() for text in texts)
)


def plainly(texts: list[str], text: str, order: int) -> list[float]:
    """Witten-Bell by dictionaries, as the module's docstring has it."""
    read = [as_read(one) for one in texts if as_read(one)]
    found = [1 / (len(set("".join(read))) + 1)] * len(text)
    for k in range(1, order + 1):
        grams: Counter[str] = Counter()
        for one in read:
            padded = "\0" * (k - 1) + one
            grams.update(padded[at : at + k] for at in range(len(one)))
        after: dict[str, dict[str, int]] = defaultdict(dict)
        for gram, count in grams.items():
            if count >= (MIN_COUNT if k >= PRUNED_FROM else 1):
                after[gram[:-1]][gram[-1]] = count
        padded = "\0" * (k - 1) + text
        for at in range(len(text)):
            seen = after.get(padded[at : at + k - 1])
            if seen:
                count = seen.get(text[at], 0)
                found[at] = (count + len(seen) * found[at]) / (sum(seen.values()) + len(seen))
    return found


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.text(st.sampled_from("abc "), max_size=10), st.integers(2, 5))
def test_probabilities_are_those_of_plain_counting(texts: list[str], text: str, order: int) -> None:
    read = as_read(text)
    assert train(texts, order).probabilities(read) == pytest.approx(plainly(texts, read, order))


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.text(st.sampled_from("ab"), max_size=6))
def test_known_characters_and_one_unknown_add_up_to_one(texts: list[str], before: str) -> None:
    model = train(texts, 4)
    known = sorted(set("".join(map(as_read, texts))))
    after = [model.probabilities(before + character)[-1] for character in [*known, "\u732b"]]
    assert sum(after) == pytest.approx(1)


def test_keys_name_the_characters_that_end_at_a_place() -> None:
    one, two, three = keys("abab", 3)
    assert one[0] == one[2] != one[1] == one[3]
    assert two[1] == two[3] != two[2] != two[0]
    assert three[1] != three[3]  # before the text stands nothing, which is no "b"
    assert [len(key) for key in keys("", 3)] == [0, 0, 0]


def test_case_and_runs_of_spaces_are_read_as_one() -> None:
    assert as_read("  A\n\x00 B\u3000c ") == "a b c"


def test_a_model_comes_back_from_its_file_and_equal_texts_give_equal_files(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("一只猫\n一只狗\n\n", encoding="utf-8")
    for name in ("a.npz", "b.npz"):
        main([str(tmp_path / name), str(tmp_path / "texts.txt"), "--order", "3"])
    first = (tmp_path / "a.npz").read_bytes()
    assert first == (tmp_path / "b.npz").read_bytes()
    model = load(first, "a.npz")
    assert model.order == 3
    assert np.array_equal(model.probabilities("一只"), train(["一只猫", "一只狗"], 3).probabilities("一只"))
    assert model.unknown("一只鸟") == 1


def test_what_is_no_model_is_refused() -> None:
    def zipped(**arrays: object) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w"):
        pass
    objects = np.array([{}], dtype=object)
    plain = io.BytesIO()
    np.save(plain, np.zeros(2))
    for encoded in (
        b"",
        plain.getvalue(),
        b"PK\x03\x04",
        empty.getvalue(),
        zipped(grams1=np.zeros(2)),
        zipped(grams1=objects),
    ):
        with pytest.raises(ConfigError, match=r"it\.npz is no model of python -m tamis\.filters\.ngrams"):
            load(encoded, "it.npz")
    sound = {
        f"{name}{k}": np.zeros(2, np.uint64)
        for k in (1, 2)
        for name in ("grams", "counts", "contexts", "totals", "kinds")
    }
    assert load(zipped(**sound), "it.npz").order == 2
    with pytest.raises(ConfigError, match="its arrays are not those of one"):
        load(zipped(**{**sound, "counts2": np.zeros(3, np.uint64)}), "it.npz")


def test_nothing_is_learnt_from_nothing() -> None:
    with pytest.raises(ConfigError, match="no text to learn from"):
        train([" ", ""])
    with pytest.raises(ConfigError, match="order is 9; it must lie between 2 and 8"):
        train(["a"], 9)
