"""How much a text surprises a language model of characters that the user trained on texts of the wanted kind.

High is unlike the model's texts: noise, another language, lists of keywords. Very low is boilerplate and repetition. The
number compares with others of the same model only: CCNet's cuts (by percentile) carry over, its numbers, which are per
SentencePiece token, do not. Take `quantile(perplexity.perplexity, 0.6, by := language.language)`.

No model comes with the package; ``ngrams.py`` tells how to make one. Price: 0.6 ms for 1,000 characters. Trained on
10,000 Chinese titles, one tells others from the same with their characters shuffled at an AUC of 0.988
(benchmarks/rules.py).
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ..corpora.errors import ConfigError
from ..corpora.ranges import open_file
from .captions import text_of
from .ngrams import NgramModel, as_read, load
from .scorer import Column, Device, Needs, Sample, Scorer

MAX_CHARACTERS = 20_000
"""Of a text, as many characters are read."""

_COLUMNS = (
    Column("perplexity", pa.float32(), "per character", "the inverse geometric mean of the characters' probabilities"),
    Column("unknown", pa.float32(), "share", "of the characters, those that the model's texts do not have"),
)


@dataclass(frozen=True)
class Perplexity(Scorer):
    """Measures a text by a model of characters; both are null for a text of nothing but spaces."""

    path: str
    """A model of ``python -m tamis.filters.ngrams``."""

    column: str = "caption"
    """The index column that is read."""

    places: ClassVar[frozenset[str]] = frozenset({"path"})

    @property
    def columns(self) -> tuple[Column, ...]:
        """The perplexity, and how much the model knows at all."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,))

    def model_digest(self) -> str:
        """SHA-256 of the model's file, and the version of Python's Unicode tables, which fold case."""
        return f"{hashlib.sha256(_bytes(self.path)).hexdigest()} Unicode {unicodedata.unidata_version}"

    def setup(self, device: Device) -> None:
        """Read the model, once a process."""
        _model(self.path)

    def prepare(self, sample: Sample) -> tuple[float | None, float | None]:
        """Measure one text: there is nothing to gain from a batch."""
        text = as_read(text_of(sample, self.column)[:MAX_CHARACTERS])
        if not text:
            return None, None
        model = _model(self.path)
        return float(np.exp(-np.log(model.probabilities(text)).mean())), model.unknown(text) / len(text)

    def score(
        self, batch: Sequence[tuple[float | None, float | None] | None], device: Device
    ) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {c.name: [place[at] if place else None for place in batch] for at, c in enumerate(_COLUMNS)}


def _bytes(path: str) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"perplexity: cannot read the model {path!r}: {error}") from error


@functools.lru_cache(maxsize=4)
def _model(path: str) -> NgramModel:
    return load(_bytes(path), path)
