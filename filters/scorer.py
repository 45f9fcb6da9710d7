"""The scorer contract: a function of one shard that writes columns and never drops rows.

A scorer is a frozen dataclass: its fields are its settings, ``columns`` says what it writes, ``needs`` what it reads.
``prepare`` runs on CPU threads, a sample at a time; ``score`` runs on the device, a batch at a time. Both are pure, and a
batch is always the same consecutive rows of a shard (an unreadable row is ``None``, and keeps its place), so a column is
a function of the shard and the settings alone.

A family's *identity* is the digest of what it measures: kind, version, settings, model digest, and the precision of
scorers that use a device. Device, threads and batch size are provenance and never part of it.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Decoded RGB, shape (height, width, 3)."""

FULL = 0
"""``Needs.pixels`` value for the full resolution."""

ERROR = "error"
"""The column that every family has: why the row could not be measured, or null."""


@dataclass(frozen=True)
class Column:
    """One measured column. A fixed-size list of float16 is kept as a row-aligned ``.npy`` beside the parquet."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


@dataclass(frozen=True)
class Needs:
    """What a scorer reads, as plain data.

    ``pixels``: None for no pixels, ``FULL``, or the length in px that the shorter side must at least keep (a smaller
    image is given as it is). ``encoded``: the stored bytes themselves. ``columns``: index columns, by name.
    ``extra``: the pip extra that carries the model. ``device``: whether ``score`` gains from an accelerator.
    """

    pixels: int | None = None
    encoded: bool = False
    columns: tuple[str, ...] = ()
    extra: str = ""
    device: bool = False


@dataclass(frozen=True)
class Sample:
    """One row as a scorer sees it."""

    row: Mapping[str, Any]
    encoded: bytes = b""
    pixels: Pixels | None = None


@dataclass(frozen=True)
class Device:
    """Where ``score`` runs: a torch device name, and the precision of the forward (fp32, bf16, fp16)."""

    name: str = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class Scorer(ABC):
    """The base of every scorer; a subclass is a frozen dataclass with the three methods below."""

    version: ClassVar[int] = 1
    """Bumped by hand when the same settings measure something else."""

    grain: ClassVar[Literal["item", "record"]] = "item"

    setting_names: ClassVar[Mapping[str, str]] = {}
    """Recipe keys that differ from the field they set, as key: field."""

    places: ClassVar[frozenset[str]] = frozenset()
    """Fields that may hold a path. What lies there is told by ``model_digest``; where it lies is no part of the identity."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The columns it writes (``error`` is added by the runner)."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What it reads."""

    def model_digest(self) -> str:
        """SHA-256 of the weights that it runs; empty for a scorer without a model."""
        return ""

    def setup(self, device: Device) -> None:  # noqa: B027 - a scorer without a model has nothing to load
        """Load what ``score`` needs, once a worker."""

    @abstractmethod
    def prepare(self, sample: Sample) -> Any:
        """Turn one sample into what ``score`` takes; runs on CPU threads.

        Raises:
            DataError: this sample cannot be measured; its row is null, with the reason in ``error``.
        """

    @abstractmethod
    def score(self, batch: Sequence[Any | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Measure a batch: for each column, one value a place (what is given for a ``None`` place is not used)."""


def settings(scorer: Scorer) -> dict[str, Any]:
    """The scorer's fields, JSON-able, with paths left out: a file that is moved measures the same."""
    fields: dict[str, Any] = asdict(scorer)  # type: ignore[call-overload]
    return {k: "(file)" if k in scorer.places and "/" in str(v) else v for k, v in fields.items()}


def identity(scorer: Scorer, kind: str, device: Device) -> dict[str, Any]:
    """Everything that decides what the family measures; its digest names the folder."""
    return {
        "kind": kind,
        "version": scorer.version,
        "settings": settings(scorer),
        "model": scorer.model_digest(),
        "precision": device.precision if scorer.needs.device else None,
        "columns": [[c.name, str(c.type), c.unit, c.meaning] for c in scorer.columns],
    }


def digest8(value: Any) -> str:
    """The first 8 hex digits of the SHA-256 of the value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
