"""The scorers ``rules`` and ``alt_text``: a profile's measures as columns, and what its published bounds say to them.

Bounds are a criterion's business: each measure is a column of its own. The published ones are told beside it, ``failed``
with the criteria that do not hold and a column a policy, true where all of its criteria hold.

Price: 1 ms for 1,000 characters of Chinese or 2,000 of English by all of a profile's measures, 55 us for a caption
(benchmarks/rules.py).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from ..captions import text_of
from ..scorer import Column, Device, Needs, Sample, Scorer
from .document import Document
from .profile import Profile, load_profile


@dataclass(frozen=True)
class Rules(Scorer):
    """Measures a text by the rules of a profile."""

    profile: str = ""
    path: str = ""
    """A profile of one's own, instead."""

    column: str = "caption"
    """The index column that is read."""

    places: ClassVar[frozenset[str]] = frozenset({"path"})

    def __post_init__(self) -> None:
        load_profile(self.profile, self.path)

    @property
    def _profile(self) -> Profile:
        return load_profile(self.profile, self.path)

    @property
    def columns(self) -> tuple[Column, ...]:
        """A column a measure, what failed, and a column a policy."""
        profile = self._profile
        return (
            *(Column(name, m.type, m.unit, profile.meanings[name]) for name, m in profile.measures.items()),
            Column("failed", pa.list_(pa.string()), "", "the criteria of its policies that do not hold"),
            *(Column(name, pa.bool_(), "", f"whether all criteria of {name} hold") for name in profile.policies),
        )

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,))

    def model_digest(self) -> str:
        """SHA-256 over what the profile says, and the version of Python's Unicode tables, which tell letters and marks."""
        return hashlib.sha256(f"{self._profile.digest} Unicode {unicodedata.unidata_version}".encode()).hexdigest()

    def prepare(self, sample: Sample) -> dict[str, Any]:
        """Measure one text: there is nothing to gain from a batch."""
        profile = self._profile
        document = Document(text_of(sample, self.column))
        values = {name: measure(document) for name, measure in profile.measures.items()}
        verdicts = {name: bounds.holds(values[bounds.column]) for name, bounds in profile.criteria.items()}
        asked = {part for parts in profile.policies.values() for part in parts}
        failed = [name for name, verdict in verdicts.items() if verdict is False and name in asked]
        return {**values, "failed": failed, **{n: _all(verdicts, parts) for n, parts in profile.policies.items()}}

    def score(self, batch: Sequence[dict[str, Any] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        names = [column.name for column in self.columns]
        return {name: [place[name] if place else None for place in batch] for name in names}


@dataclass(frozen=True)
class AltText(Rules):
    """Measures a caption by the rules that image-text collections publish for theirs."""

    profile: str = "alt_text"


def _all(verdicts: Mapping[str, bool | None], parts: Sequence[str]) -> bool | None:
    """Kleene's conjunction, as a policy of a recipe has it."""
    found = [verdicts[part] for part in parts]
    if False in found:
        return False
    return None if None in found else True
