from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.filters import language
from tamis.filters.language import JAPANESE_HAN, MAX_CHARACTERS, Language, detect
from tamis.filters.scorer import Device, Sample
from tamis.filters.writing import SCRIPTS


def measured(text: str) -> dict[str, Any]:
    return Language().prepare(Sample({"caption": text}))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("两只狗在草地上面玩耍。", "zh"),
        ("街", "zh"),
        ("臺灣的夜市很熱鬧", "zh"),
        ("iPhone 12 手机壳", "zh"),
        ("猫が窓のそばで眠っている", "ja"),
        ("カタカナ", "ja"),
        ("東京駅", "ja"),  # no kana, but a form of its own
        ("고양이가 창가에서 잔다", "ko"),
        ("韓國 고양이", "ko"),
        ("A child and a woman stand at the edge of the water.", "en"),
        ("Ein Kind und eine Frau stehen am Ufer des Flusses.", "de"),
        ("Un enfant et une femme au bord de la rivière.", "fr"),
        ("Кошка спит на подоконнике у окна.", "ru"),
        ("חתול ישן ליד החלון", "he"),
    ],
)
def test_the_language_of_a_caption_is_found(text: str, code: str) -> None:
    assert measured(text)["language"] == code


@pytest.mark.parametrize("text", ["", "  ", "2024-01-02 12:00", "\U0001f600 !!! ???", "\x00\x01"])
def test_a_text_without_letters_is_undetermined_and_has_no_shares(text: str) -> None:
    found = measured(text)
    assert (found["language"], found["reliable"], found["confidence"], found["by"]) == ("und", False, 0.0, None)
    assert found["letters"] == 0
    assert found["han"] is found["latin"] is found["traditional"] is None


def test_what_was_guessed_from_too_little_is_not_reliable() -> None:
    short, long = measured("Guten Morgen"), measured("Guten Morgen, liebe Leute, wie geht es euch heute?")
    assert (short["language"], short["reliable"]) == ("de", False)
    assert (long["language"], long["reliable"]) == ("de", True)


def test_letters_of_an_unknown_script_are_undetermined() -> None:
    found = measured("\u2c80\u2c81\u2c82")
    assert (found["language"], found["by"], found["other"]) == ("und", None, 1.0)


def counts(**given: int) -> dict[str, int]:
    found = dict.fromkeys(SCRIPTS, 0) | given
    return found | {"kana": found["hiragana"] + found["katakana"]}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"han": 90, "hiragana": 10}, "ja"),
        ({"han": 91, "katakana": 9}, "zh"),
        ({"han": 70, "hangul": 30}, "ko"),
        ({"han": 71, "hangul": 29}, "zh"),
        ({"han": 20, "latin": 80}, "zh"),
    ],
)
def test_the_bounds_between_scripts_are_where_they_are_said_to_be(given: dict[str, int], code: str) -> None:
    assert detect("", counts(**given)).language == code


def test_few_han_in_a_latin_text_leave_it_to_the_words() -> None:
    text = "The old town of Xi'an (西安) is surrounded by a wall that one can walk on."
    found = measured(text)
    assert (found["language"], found["by"]) == ("en", "cld2")
    assert found["han"] == pytest.approx(2 / found["letters"])


def test_traditional_characters_are_counted_phrase_by_phrase() -> None:
    assert measured("繁體中文")["traditional"] == pytest.approx(0.25)
    assert measured("繁体中文")["traditional"] == 0
    assert measured("乾隆皇帝")["traditional"] == 0  # alone, the first character would be converted
    assert measured("no Han")["traditional"] is None


def test_japanese_forms_are_in_neither_chinese_orthography() -> None:
    from opencc import OpenCC

    to_traditional, to_simplified = OpenCC("jp2t"), OpenCC("t2s")
    # A reformed form is written another way in traditional Chinese, and its traditional form another way in simplified.
    native = set("込働畑峠辻")
    same = [c for c in JAPANESE_HAN - native if to_traditional.convert(c) == c]
    assert same == []
    simplified = [c for c in JAPANESE_HAN - native if to_simplified.convert(to_traditional.convert(c)) == c]
    assert simplified == []


def test_only_the_head_of_a_text_is_read() -> None:
    found = measured("街" * MAX_CHARACTERS + " and now for something completely different " * MAX_CHARACTERS)
    assert (found["language"], found["letters"]) == ("zh", MAX_CHARACTERS)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_measured_within_bounds(text: str) -> None:
    found = measured(text)
    assert 0 <= found["confidence"] <= 1
    shares = [found[name] for name in ("han", "kana", *SCRIPTS[3:])]
    assert found["language"] == "und" or found["letters"]
    if found["letters"]:
        assert sum(shares) == pytest.approx(1)
    assert found == measured(text)


def test_unreadable_places_stay_empty_and_columns_fit_their_types() -> None:
    scorer = Language()
    scored = scorer.score([None, measured("two dogs are playing on the grass")], Device())
    nulls = {"traditional"}
    for column in scorer.columns:
        found = pa.array(scored[column.name], column.type).is_valid().to_pylist()
        assert found == [False, column.name not in nulls]


def test_the_identity_tells_the_tables_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Language().model_digest()
    monkeypatch.setattr(language, "version", lambda name: "0.0")
    assert Language().model_digest() != before
