"""A scorer whose batches fail now and then, or kill their process; what it measures is the size of the file.

How often is said by the environment and is no part of what is measured, so that a disturbed corpus and a calm one have
the same columns. A recipe names it by its import path: ``kind: unsteady:Unsteady``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.corpora.errors import ShardError
from tamis.filters.scorer import Column, Device, Needs, Sample, Scorer

FAILING, KILLING = "TAMIS_UNSTEADY_FAILING", "TAMIS_UNSTEADY_KILLING"
"""The variables with the probabilities that a batch fails, and that it kills its process."""


@dataclass(frozen=True)
class Unsteady(Scorer):
    """Measures a file's size, if it does not fail."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One number an image."""
        return (Column("size", pa.int64(), "bytes", "length of the encoded image"),)

    @property
    def needs(self) -> Needs:
        """The encoded bytes."""
        return Needs(encoded=True)

    def prepare(self, sample: Sample) -> int:
        """Measure one image."""
        return len(sample.encoded)

    def score(self, batch: Sequence[int | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Hand on what ``prepare`` measured, or fail: another time it would not."""
        drawn = np.random.default_rng().random(2)
        if drawn[0] < float(os.environ.get(KILLING, "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        if drawn[1] < float(os.environ.get(FAILING, "0")):
            raise ShardError("an injected failure of the scorer")
        return {"size": batch}
