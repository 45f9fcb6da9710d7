"""CLIP score: how well a caption says what its picture shows, as the cosine of their embeddings (Hessel et al. 2021).

LAION kept English pairs at 0.28 and above with ViT-B/32, DataComp the best 30 % with ViT-L/14; each model has a scale
of its own, so a threshold or a quantile belongs to a model. A high score may also be a caption read off the picture:
judge it together with the spotted text. Captions longer than the model's context are cut, and marked ``truncated``.

``preprocess: fast`` decodes no more than the model needs and resizes 8-bit pixels; ``open_clip`` decodes all of it and
runs the model's own transform of a Pillow image, seven times as dear, for numbers that must match open_clip's exactly.

Price: one image and one text forward a sample; two half-precision embeddings on disk (2 kB with ViT-B/32).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from ..corpora.errors import ConfigError, DataError
from ..models.clip_source import ClipSource, image_size, library, model_config, preprocess
from ..models.clip_weights import digest
from .scorer import FULL, Column, Device, Needs, Sample, Scorer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClipInput:
    """One sample as the network reads it: pixels (3, H, W), token ids (N,), and whether the caption was cut."""

    pixels: Tensor
    tokens: Tensor
    truncated: bool


@dataclass(frozen=True, kw_only=True)
class Clip(Scorer):
    """Image-text similarity and embeddings of one CLIP; ``models/clip_source.py`` says what its names may be."""

    model: str = ""
    weights: str = ClipSource.weights
    tokenizer: str = ""
    preprocess: Literal["fast", "open_clip"] = "fast"

    places: ClassVar[frozenset[str]] = frozenset({"weights", "tokenizer"})

    def __post_init__(self) -> None:
        if self.preprocess not in {"fast", "open_clip"}:
            raise ConfigError(f"clip preprocess {self.preprocess!r}: expected fast or open_clip")

    @property
    def source(self) -> ClipSource:
        """The model that these settings name."""
        return ClipSource(self.model, self.weights, self.tokenizer)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Similarity, truncation and the two embeddings."""
        vector = pa.list_(pa.float16(), model_config(self.source)["embed_dim"])
        return (
            Column("similarity", pa.float32(), "cosine, -1 to 1", "how well the caption fits the picture"),
            Column("truncated", pa.bool_(), "", "whether the caption was longer than the model reads"),
            Column("image_embedding", vector, "unit vector", "the picture in the model's space"),
            Column("text_embedding", vector, "unit vector", "the caption in the model's space"),
        )

    @property
    def needs(self) -> Needs:
        """Pixels at the model's size and the caption."""
        pixels = max(image_size(self.source)) if self.preprocess == "fast" else FULL
        return Needs(pixels=pixels, columns=("caption",), extra="clip", device=True)

    def model_digest(self) -> str:
        """SHA-256 of the weights."""
        return digest(self.source)

    def setup(self, device: Device) -> None:
        """Load network and tokenizer.

        Raises:
            ConfigError: the extra is missing, or the weights or the tokenizer cannot be had.
        """
        library()
        from ..models.clip import load
        from ..models.clip_inputs import caption_tokenizer

        caption_tokenizer(self.source)
        load(self.source, device.name, device.precision)

    def prepare(self, sample: Sample) -> ClipInput:
        """Resize the picture and split the caption into tokens."""
        from ..models.clip_inputs import caption_tokenizer, exact_pixels, fast_pixels

        caption = sample.row["caption"]
        if sample.pixels is None:
            raise DataError("no_image", "expected pixels, found none")
        if not caption:
            raise DataError("no_caption", "expected a caption, found none")
        resize = fast_pixels if self.preprocess == "fast" else exact_pixels
        pixels = resize(sample.pixels, preprocess(self.source))
        return ClipInput(pixels, *caption_tokenizer(self.source)(caption))

    def score(self, batch: Sequence[ClipInput | None], device: Device) -> Mapping[str, Any]:
        """Embed the batch's pictures and captions and multiply them."""
        import torch

        from ..models.clip import load

        model = load(self.source, device.name, device.precision)
        rows = [self._blank() if row is None else row for row in batch]
        images = model.encode_images(torch.stack([row.pixels for row in rows]))
        texts = model.encode_texts(torch.stack([row.tokens for row in rows]))
        return {
            "similarity": (images * texts).sum(axis=1),
            "truncated": [row.truncated for row in rows],
            "image_embedding": images.astype(np.float16),
            "text_embedding": texts.astype(np.float16),
        }

    def _blank(self) -> ClipInput:
        """What stands in the place of a sample that could not be read, so that the others keep their places."""
        import torch

        from ..models.clip_inputs import caption_tokenizer

        pixels = torch.zeros(3, *image_size(self.source), dtype=torch.uint8)
        return ClipInput(pixels, *caption_tokenizer(self.source)(""))
