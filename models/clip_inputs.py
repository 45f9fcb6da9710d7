"""From a picture and a caption to what CLIP reads.

``fast_pixels`` resizes 8-bit pixels with torch's antialiased bicubic kernel: 0.2 ms for 500 x 375 px against 1.4 ms in
Pillow, whose values it meets but for 0.3 % (``squash``: 3 %), which are off by one grey level and seldom by more.
``exact_pixels`` is open_clip's own transform of a Pillow image, bit for bit.
Geometry follows torchvision, which open_clip uses: the shorter side to the network's size, then the middle square; or
both sides to it (``squash``, as SigLIP wants).

A picture longer than 8:1 is first cut to its middle: scaled up to the network's size, a strip of 1 x 60,000 px would
take 9 GB. A caption is cut at 16 characters a token before its words are split, since byte-pair encoding takes a time
that grows with the square of a word's length (6 s for 20,000 letters); captions so long are reported as truncated.

Shapes: C channels (3), H and W of the network's input, N context length in tokens.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..corpora.errors import ConfigError
from .clip_source import EMBEDDED, ClipSource, Preprocess, first_line, library, model_config

MAX_ASPECT = 8
CHARACTERS_PER_TOKEN = 16
_CACHED_WORDS = 1 << 18

_MENDED = re.compile("[&<]")
"""What open_clip may read as an HTML entity or as a special token."""

_ASCII_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")
"""open_clip's split into words, for lower-case ASCII."""


def fast_pixels(pixels: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """Resize and crop RGB pixels (height, width, C) to a uint8 tensor (C, H, W); normalised later, on the device.

    Raises:
        ConfigError: the model wants a geometry that only ``exact_pixels`` has.
    """
    height, width = preprocess.size
    if preprocess.resize_mode not in {"shortest", "squash"} or (height != width and preprocess.resize_mode != "squash"):
        raise ConfigError(
            f"clip preprocess 'fast' has no {preprocess.resize_mode!r} to {width} x {height} px: use 'open_clip'"
        )
    if preprocess.resize_mode == "squash":
        return _resize(pixels, (height, width), preprocess.interpolation)
    pixels = _middle(pixels)
    rows, columns = pixels.shape[:2]
    short = min(rows, columns)
    scaled = _resize(pixels, (height * rows // short, width * columns // short), preprocess.interpolation)
    top, left = (round((have - want) / 2) for have, want in zip(scaled.shape[1:], preprocess.size, strict=True))
    return scaled[:, top : top + height, left : left + width].contiguous()


def _resize(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: str) -> Tensor:
    image = torch.from_numpy(np.require(pixels, requirements=["W"])).permute(2, 0, 1)[None]
    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    return torch.nn.functional.interpolate(image, size=size, mode=mode, antialias=True)[0]


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    limit = MAX_ASPECT * min(pixels.shape[:2])
    top, left = (max(0, side - limit) // 2 for side in pixels.shape[:2])
    return pixels[top : top + limit, left : left + limit]


def exact_pixels(pixels: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """Apply open_clip's own evaluation transform to RGB pixels (height, width, C): a normalised float32 (C, H, W)."""
    if preprocess.resize_mode != "squash":
        pixels = _middle(pixels)
    tensor: Tensor = _transform(preprocess)(Image.fromarray(pixels))
    return tensor


@lru_cache(maxsize=8)
def _transform(preprocess: Preprocess) -> Any:
    transform = library().transform
    return transform.image_transform_v2(transform.PreprocessCfg(**vars(preprocess)), is_train=False)


class CaptionTokenizer:
    """open_clip's tokenizer of one model, safe to call from several threads.

    A caption of printable ASCII, as most English ones are, needs none of open_clip's mending of encodings and entities:
    its words are looked up one by one, at a sixth of the time and with the same ids.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        # a Hugging Face tokenizer keeps each call's padding as state: wrong tokens without a lock
        self._lock = threading.Lock()
        self._ids: dict[str, list[int]] = {}
        self._knows_words = _is_plain_bpe(tokenizer)
        self.context_length = context_length

    def __call__(self, caption: str) -> tuple[Tensor, bool]:
        """Token ids, int64 (N,), and whether the caption was longer than they can say."""
        text = caption[: CHARACTERS_PER_TOKEN * self.context_length]
        if self._knows_words and text.isascii() and text.isprintable() and not _MENDED.search(text):
            return self._by_words(text, len(text) < len(caption))
        with self._lock:
            tokens: Tensor = self._tokenizer([text])[0]
            truncated = len(text) < len(caption) or self._overflows(text, tokens)
            self._forget_words()
        return tokens, truncated

    def _by_words(self, text: str, cut: bool) -> tuple[Tensor, bool]:
        ids = [self._tokenizer.sot_token_id]
        for word in _ASCII_WORD.findall(text.lower()):
            known = self._ids.get(word)
            if known is None:
                with self._lock:
                    known = self._tokenizer.encode(word)
                    self._forget_words()
                self._ids[word] = known
            ids += known
        overflows = len(ids) >= self.context_length
        ids = [*ids[: self.context_length - 1], self._tokenizer.eot_token_id]
        return torch.tensor(ids + [0] * (self.context_length - len(ids))), cut or overflows

    def _overflows(self, text: str, tokens: Tensor) -> bool:
        """Count again, but only when the row does not end in padding (half the cost, for most captions)."""
        wrapped = getattr(self._tokenizer, "tokenizer", None)
        if wrapped is None:
            return bool(tokens[-1] != 0) and len(self._tokenizer.encode(text)) + 2 > self.context_length
        if tokens[-1] == tokens[-2] == wrapped.pad_token_id:
            return False
        by_hand = self._tokenizer.tokenizer_mode == "clips"  # open_clip then adds the three special tokens itself
        ids = wrapped(self._tokenizer.clean_fn(text), add_special_tokens=not by_hand, verbose=False).input_ids
        return bool(len(ids) + 3 * by_hand > self.context_length)

    def _forget_words(self) -> None:
        """open_clip remembers the pieces of every word it met, for ever: on web text, gigabytes."""
        words = getattr(self._tokenizer, "cache", {})
        if len(self._ids) > _CACHED_WORDS:
            self._ids = {}
        if len(words) > _CACHED_WORDS:
            self._tokenizer.cache = {word: pieces for word, pieces in words.items() if word.startswith("<")}


def _is_plain_bpe(tokenizer: Any) -> bool:
    """Whether this is open_clip's own byte-pair tokenizer, with its usual cleaning and no shortening at random."""
    module = library().tokenizer
    lower = module.get_clean_fn("lower")
    plain = type(tokenizer) is module.SimpleTokenizer
    return plain and tokenizer.clean_fn is lower and tokenizer.reduction_fn is None


@lru_cache(maxsize=8)
def caption_tokenizer(source: ClipSource) -> CaptionTokenizer:
    """The tokenizer of a model, once a process.

    Raises:
        ConfigError: its files are neither here nor to be had from the hub.
    """
    text = model_config(source)["text_cfg"]
    length = text.get("context_length", library().tokenizer.DEFAULT_CONTEXT_LENGTH)
    if source.tokenizer and not Path(source.tokenizer).is_dir():
        raise ConfigError(f"clip tokenizer {source.tokenizer}: no such folder")
    try:
        return CaptionTokenizer(_tokenizer(source, text, length), length)
    except (OSError, ValueError) as error:
        name = source.tokenizer or text.get("hf_tokenizer_name")
        raise ConfigError(
            f"clip tokenizer {name}: could not be loaded ({first_line(error)}); download the small files of that "
            "repository on another machine and name their folder as tokenizer"
        ) from error


def _tokenizer(source: ClipSource, text: Mapping[str, Any], context_length: int) -> Any:
    module = library()
    if source.weights == EMBEDDED:
        return module.tokenizer.SimpleTokenizer(context_length=context_length)
    if not source.tokenizer:
        return module.get_tokenizer(source.architecture)
    options = {"tokenizer_mode": text.get("tokenizer_mode"), **(text.get("tokenizer_kwargs") or {})}
    return module.tokenizer.HFTokenizer(source.tokenizer, context_length=context_length, **options)
