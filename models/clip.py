"""CLIP behind a small protocol: open_clip's networks, loaded once a process, giving unit vectors.

Pixels come as uint8 and are normalised on the device, with the operations of torchvision in their order, so that a
batch costs a quarter of the transfer of floats and the result is that of open_clip, bit for bit. ``fp32`` is the model
as it is; ``bf16`` and ``fp16`` run the forward under autocast over the same weights. A row of the result depends on its
own row of the input alone.

Weights are read from safetensors, or with ``weights_only=True``: never unpickled. Price: the network's forward.

Shapes: B batch, C channels (3), H and W of the network's input, N context length, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.serialization import pickle as torch_pickle  # type: ignore[attr-defined]  # for its error alone

from ..corpora.errors import ConfigError
from .clip_source import (
    EMBEDDED,
    ClipSource,
    Preprocess,
    first_line,
    library,
    model_config,
    preprocess,
    tiny_asset,
)
from .clip_weights import checkpoint

Precision = Literal["fp32", "bf16", "fp16"]
_AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMED = 3


class ImageTextEncoder(Protocol):
    """What scoring and retrieval need of a model: pictures and captions as unit vectors of one space."""

    dim: int

    def encode_images(self, pixels: Tensor) -> NDArray[np.float32]:
        """Embed prepared pictures."""

    def encode_texts(self, tokens: Tensor) -> NDArray[np.float32]:
        """Embed tokenised captions."""


class OpenClip:
    """One of open_clip's networks on one device, in evaluation mode."""

    def __init__(self, model: nn.Module, dim: int, prepared: Preprocess, device: str, precision: Precision) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.dim = dim
        self._device = torch.device(device)
        self._precision = precision
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (prepared.mean, prepared.std)
        )

    def encode_images(self, pixels: Tensor) -> NDArray[np.float32]:
        """Embed pictures (B, C, H, W), uint8 or already normalised float32, as unit vectors (B, D)."""
        with torch.inference_mode(), self._autocast():
            images = pixels.to(self._device, non_blocking=True)
            if images.dtype == torch.uint8:
                images = images.float().div_(255).sub_(self._mean).div_(self._std)
            return _unit(self.model.encode_image(images))  # type: ignore[operator]

    def encode_texts(self, tokens: Tensor) -> NDArray[np.float32]:
        """Embed captions' token ids (B, N) as unit vectors (B, D)."""
        with torch.inference_mode(), self._autocast():
            return _unit(self.model.encode_text(tokens.to(self._device, non_blocking=True)))  # type: ignore[operator]

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST[self._precision]
        return torch.autocast(self._device.type, dtype, enabled=self._precision != "fp32")


def _unit(features: Tensor) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return rows


@lru_cache(maxsize=4)
def load(source: ClipSource, device: str = "cpu", precision: Precision = "fp32") -> OpenClip:
    """Load a CLIP, once a process, device and precision.

    Raises:
        ConfigError: its weights cannot be had, or do not fit the architecture.
    """
    with torch.random.fork_rng(devices=[]):  # networks are born with random weights
        network = _network(source)
    return OpenClip(network, model_config(source)["embed_dim"], preprocess(source), device, precision)


def _network(source: ClipSource) -> nn.Module:
    if source.weights == EMBEDDED:
        network: nn.Module = library().CLIP(**model_config(source))
        network.load_state_dict(load_safetensors(tiny_asset("safetensors")))
        return network
    if source.seed is not None:
        return _created(source)
    weights = checkpoint(source)
    found = _shapes(weights)
    try:
        return _created(source, weights)
    except (RuntimeError, KeyError, ValueError) as error:
        expected = {name: tuple(value.shape) for name, value in _created(source).state_dict().items()}
        told = f"clip weights {weights} do not fit {source.architecture}: {_difference(found, expected)}"
        raise ConfigError(told) from error


def _created(source: ClipSource, weights: Path | None = None) -> nn.Module:
    """Have open_clip build the architecture, and fill it from a file; without one the weights follow from the seed.

    A Hugging Face text tower is described by a local folder where one is named.
    """
    text = model_config(source)["text_cfg"]
    options: dict[str, Any] = {"load_weights": weights is not None, "weights_only": True, "pretrained_text": False}
    folder = Path(source.tokenizer or source.weights)
    if "hf_model_name" in text and (folder / "config.json").is_file():
        options["text_cfg"] = {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}
    file = None if weights is None or source.is_folder else str(weights)
    try:
        torch.default_generator.manual_seed(source.seed or 0)
        network: nn.Module = library().create_model(source.architecture, file, **options)
    except OSError as error:
        raise ConfigError(
            f"clip text tower {text.get('hf_model_name')}: its description could not be had "
            f"({first_line(error)}); put its config.json into the folder that tokenizer names"
        ) from error
    return network


Shapes = Mapping[str, tuple[int, ...]]


def _shapes(path: Path) -> Shapes:
    """The tensors in a weights file, by name; refuses what is no weights file before open_clip guesses at it."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, torch_pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(f"clip weights {path}: not a weights file ({first_line(error)})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    named = state.items() if isinstance(state, dict) else ()
    shapes = {name.removeprefix("module."): tuple(value.shape) for name, value in named if isinstance(value, Tensor)}
    if not shapes:
        raise ConfigError(f"clip weights {path}: expected tensors by name, found none")
    return shapes


def _difference(found: Shapes, expected: Shapes) -> str:
    """Say what sets two sets of tensors apart, a few names of each kind."""
    wrong = [
        f"{name} (found {list(found[name])}, expected {list(expected[name])})"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    kinds = (("wrong shape", wrong), ("missing", missing), ("unknown", unknown))
    parts = [f"{len(names)} {kind}: {', '.join(names[:_NAMED])}" for kind, names in kinds if names]
    return f"found {len(found)} tensors, expected {len(expected)}; " + "; ".join(parts)
