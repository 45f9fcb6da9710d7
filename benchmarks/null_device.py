"""A CLIP without a network: decodes, resizes and tokenises as the real scorer, and gives its batches to nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamis.filters.clip import Clip, ClipInput
from tamis.filters.scorer import Device
from tamis.models.clip_inputs import caption_tokenizer
from tamis.models.clip_source import preprocess


@dataclass(frozen=True, kw_only=True)
class NullClip(Clip):
    """``kind: null_device:NullClip`` in a recipe feeds a null device."""

    def model_digest(self) -> str:
        """No weights are read."""
        return ""

    def setup(self, device: Device) -> None:
        """All that the real one loads, but the network."""
        caption_tokenizer(self.source)
        preprocess(self.source)

    def score(self, batch: Sequence[ClipInput | None], device: Device) -> Mapping[str, Any]:
        """Stack the batch as a network would get it, and answer zeros."""
        import torch

        rows = [row for row in batch if row is not None]
        if rows:
            torch.stack([row.pixels for row in rows])
            torch.stack([row.tokens for row in rows])
        zeros = np.zeros((len(batch), self.columns[2].type.list_size), np.float16)
        empty = [0.0] * len(batch)
        return {
            "similarity": empty,
            "truncated": [False] * len(batch),
            "image_embedding": zeros,
            "text_embedding": zeros,
        }
