from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.filters.conversion import Convert, narrowed, simplified
from tamis.filters.registry import build_scorer
from tamis.filters.scorer import Device, Sample


def converted(scorer: Convert, text: str) -> dict[str, Any]:
    return scorer.prepare(Sample({"caption": text}))


def test_scripts_are_converted_by_phrases() -> None:
    assert converted(Convert("simplified"), "乾隆時期的繁體") == {"text": "乾隆时期的繁体", "changed": 2}
    assert converted(Convert("traditional"), "头发，发展") == {"text": "頭髮，發展", "changed": 3}
    assert simplified("无需改变") == "无需改变"


def test_width_changes_letters_digits_and_spaces_and_no_punctuation() -> None:
    assert narrowed("Ａｚ０９\u3000：，！？……「」～［ｶ") == "Az09 ：，！？……「」～［ｶ"
    assert converted(Convert("keep", width=True), "ＡＢ繁體") == {"text": "AB繁體", "changed": 2}
    assert converted(Convert("simplified", width=True), "Ａ體") == {"text": "A体", "changed": 2}


def test_nothing_is_converted_that_was_not_asked_for() -> None:
    with pytest.raises(ConfigError, match="script: Field required"):
        build_scorer("convert", {})
    assert converted(Convert("keep"), "Ａ 體") == {"text": "Ａ 體", "changed": 0}


@given(st.text())
def test_narrowing_keeps_every_place(text: str) -> None:
    assert len(narrowed(text)) == len(text)
    assert narrowed(narrowed(text)) == narrowed(text)


def test_the_identity_tells_the_tables_version_only_where_they_are_used() -> None:
    assert Convert("simplified").model_digest().startswith("OpenCC ")
    assert Convert("keep").model_digest() == ""


def test_unreadable_places_stay_empty_and_columns_fit_their_types() -> None:
    scorer = Convert("keep")
    scored = scorer.score([None, converted(scorer, "a")], Device())
    for column in scorer.columns:
        assert pa.array(scored[column.name], column.type).is_valid().to_pylist() == [False, True]
