import pytest

from tamis.corpora.errors import ConfigError, DataError
from tamis.filters.captions import text_of
from tamis.filters.scorer import Sample

ROW = {"uid": "a", "caption": "", "width": 3, "source.title": None, "captions": ["x"]}


def test_an_empty_caption_is_a_text_and_none_at_all_is_told() -> None:
    assert text_of(Sample(ROW), "caption") == ""
    with pytest.raises(DataError) as raised:
        text_of(Sample(ROW), "source.title")
    assert raised.value.reason == "no_text"


def test_a_column_that_is_not_there_names_those_with_text() -> None:
    with pytest.raises(ConfigError, match=r"no column 'title'; columns with text: uid, caption$"):
        text_of(Sample(ROW), "title")


def test_a_column_that_holds_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="'width' holds int, expected text"):
        text_of(Sample(ROW), "width")
