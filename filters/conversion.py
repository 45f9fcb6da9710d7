"""Conversions of Chinese text, always asked for by name: full-width forms to narrow ones, traditional to simplified and back.

The scorer ``convert`` writes the converted text as a column and leaves the caption as it is; whoever wants the converted
one asks for that column. Width is a table of 63 characters (letters, digits, the ideographic space), for Unicode's NFKC
would also turn ：，！？ into ASCII. Script is OpenCC's, phrase by phrase, so that 乾隆 stays what it is; Japanese
text, which has such characters of its own, is left alone: convert where ``language.language = 'zh'``.

Price: 0.1 ms for 1,000 characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from .captions import text_of
from .scorer import Column, Device, Needs, Sample, Scorer

if TYPE_CHECKING:
    from opencc import OpenCC

Script = Literal["simplified", "traditional", "keep"]

_CONFIGURATIONS = {"simplified": "t2s", "traditional": "s2t"}

_NARROW = {0x3000: 0x20} | {
    wide: wide - 0xFEE0
    for first, last in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
    for wide in range(first, last + 1)
}

_WIDE = re.compile("[" + "".join(map(chr, _NARROW)) + "]")

_COLUMNS = (
    Column("text", pa.string(), "", "the converted text"),
    Column("changed", pa.int32(), "characters", "characters that differ; of texts that differ in length, at least one"),
)


@dataclass(frozen=True)
class Convert(Scorer):
    """Converts a text into a column of its own."""

    script: Script
    """simplified, traditional, or keep."""

    width: bool = False
    """Whether full-width letters and digits become narrow."""

    column: str = "caption"
    """The index column that is read."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The converted text, and how much of it was."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,), extra="text")

    def model_digest(self) -> str:
        """The version of OpenCC's tables, where they are used."""
        return "" if self.script == "keep" else f"OpenCC {version('OpenCC')}"

    def prepare(self, sample: Sample) -> dict[str, Any]:
        """Convert one text: there is nothing to gain from a batch."""
        text = text_of(sample, self.column)
        found = narrowed(text) if self.width else text
        found = found if self.script == "keep" else _converted(found, self.script)
        changed = sum(a != b for a, b in zip(text, found, strict=False))
        return {"text": found, "changed": max(changed, int(len(text) != len(found)))}

    def score(self, batch: Sequence[dict[str, Any] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {column.name: [place[column.name] if place else None for place in batch] for column in _COLUMNS}


def narrowed(text: str) -> str:
    """A text with full-width Latin letters, digits and ideographic spaces made narrow, punctuation as it is."""
    return text.translate(_NARROW) if _WIDE.search(text) else text  # a search costs a tenth


def simplified(text: str) -> str:
    """A text with traditional Chinese characters made simplified, phrase by phrase."""
    return _converted(text, "simplified")


def _converted(text: str, script: Literal["simplified", "traditional"]) -> str:
    return str(_converter(script).convert(text))


@functools.cache
def _converter(script: str) -> OpenCC:
    from opencc import OpenCC

    return OpenCC(_CONFIGURATIONS[script])
