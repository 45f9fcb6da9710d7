"""The text of a sample, as scorers of texts read it."""

from __future__ import annotations

from ..corpora.errors import ConfigError, DataError
from .scorer import Sample

NO_TEXT = "no_text"
"""The error of a row that has no text at all; an empty caption is one, and measured."""


def text_of(sample: Sample, column: str) -> str:
    """The text in an index column of a sample.

    Raises:
        DataError: the row has none.
        ConfigError: the index has no such column, or it holds no text.
    """
    if column not in sample.row:
        known = ", ".join(name for name, value in sample.row.items() if isinstance(value, str))
        raise ConfigError(f"the index has no column {column!r}; columns with text: {known or 'none'}")
    text = sample.row[column]
    if text is None:
        raise DataError(NO_TEXT)
    if not isinstance(text, str):
        raise ConfigError(f"the index column {column!r} holds {type(text).__name__}, expected text")
    return text
