"""Which CLIP is meant: architecture, weights, tokenizer and preprocessing, found without loading a network.

``weights`` is one of
    ``embedded``      the tiny CLIP inside this package, trained on drawn scenes: for demonstrations and tests;
    ``random:<seed>`` an untrained network: for benchmarks and tests;
    a folder          a copy of a hub repository: ``open_clip_config.json``, a weights file, the tokenizer's files;
    a file            ``.safetensors`` (or ``.pt``, ``.pth``, ``.bin``, read with ``weights_only=True``);
    a hub tag         of open_clip, such as ``laion2b_s34b_b79k``: downloaded once by open_clip.
``model`` names an open_clip architecture (``ViT-B-32`` by default; a folder and ``embedded`` bring their own).
``tokenizer`` names a folder with the files of a Hugging Face tokenizer (and, for a Hugging Face text tower, its
``config.json``): the only way offline for SigLIP and multilingual architectures. Without it, 95 of open_clip's 144
architectures work offline, since their vocabulary is inside open_clip.

open_clip gives a *file* the preprocessing of OpenAI's CLIP whatever the architecture, which scores SigLIP wrongly and
says nothing. Here a file gets the preprocessing of its architecture's published weights, and is refused for the three
architectures whose published weights disagree.

Price: reading one JSON file; torch is imported only where a hub tag or a file's preprocessing is looked up.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..corpora.errors import ConfigError

EMBEDDED = "embedded"
TINY = "tiny"
DEFAULT_MODEL = "ViT-B-32"
RANDOM = "random:"
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
FOLDER_CONFIG = "open_clip_config.json"
INSTALL = "pip install 'tamis[clip]'"

_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class ClipSource:
    """A CLIP by name; see the module's head for what the fields may hold."""

    model: str = ""
    weights: str = "laion2b_s34b_b79k"
    tokenizer: str = ""

    @property
    def architecture(self) -> str:
        """The name that open_clip's factory takes: an architecture, or ``local-dir:`` and a folder."""
        return f"local-dir:{self.weights}" if self.is_folder else self.model or DEFAULT_MODEL

    @property
    def is_folder(self) -> bool:
        """Whether ``weights`` is a copy of a hub repository."""
        return Path(self.weights).is_dir()

    @property
    def is_path(self) -> bool:
        """Whether ``weights`` is meant as a file or folder, be it there or not."""
        return "/" in self.weights or self.weights.endswith(WEIGHT_SUFFIXES) or self.is_folder

    @property
    def seed(self) -> int | None:
        """The seed of ``random:<seed>``, or None for other weights."""
        if not self.weights.startswith(RANDOM):
            return None
        digits = self.weights.removeprefix(RANDOM)
        if not digits.isdecimal():
            raise ConfigError(f"clip weights {self.weights!r}: expected random: and a whole number, like random:0")
        return int(digits)


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes a network's input: the size in px (height, width), and open_clip's own words for the rest."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str


def tiny_asset(suffix: str) -> bytes:
    """The bytes of the embedded CLIP's ``safetensors`` or ``json`` file."""
    return files(__package__).joinpath("assets", f"tiny_clip.{suffix}").read_bytes()


def library() -> Any:
    """The open_clip module.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import open_clip as module
    except ImportError as error:
        raise ConfigError(f"CLIP needs open_clip and torch ({error}): {INSTALL}") from error
    return module


def first_line(error: Exception) -> str:
    """What an error of a library says, without the pages that may follow."""
    return (str(error) or type(error).__name__).partition("\n")[0]


@lru_cache(maxsize=32)
def model_config(source: ClipSource) -> Mapping[str, Any]:
    """The architecture as open_clip's JSON has it: ``embed_dim``, ``vision_cfg``, ``text_cfg`` ...

    Raises:
        ConfigError: there is no such architecture or folder.
    """
    config: Mapping[str, Any]
    if source.weights == EMBEDDED:
        if source.model not in {"", TINY}:
            raise ConfigError(
                f"clip model {source.model!r} with weights 'embedded': leave model out, or name a hub tag"
            )
        config = json.loads(tiny_asset("json"))["model_cfg"]
    elif source.is_folder:
        if source.model:
            raise ConfigError(
                f"clip model {source.model!r} with a folder as weights: leave model out, {FOLDER_CONFIG} says it"
            )
        config = _folder_config(source)["model_cfg"]
    else:
        config = _named_config(source.model or DEFAULT_MODEL)
    return config


def image_size(source: ClipSource) -> tuple[int, int]:
    """The height and width in px of the network's input."""
    size = model_config(source)["vision_cfg"].get("image_size", 224)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _folder_config(source: ClipSource) -> Mapping[str, Any]:
    path = Path(source.weights) / FOLDER_CONFIG
    if not path.is_file():
        raise ConfigError(
            f"clip weights {source.weights}: a folder without {FOLDER_CONFIG}; expected a copy of a hub repository"
        )
    config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config.get("model_cfg", {})):
        raise ConfigError(f"{path}: expected model_cfg with embed_dim, vision_cfg and text_cfg, found {sorted(config)}")
    return config


def _named_config(model: str) -> Mapping[str, Any]:
    """Read the architecture from open_clip's folder without importing torch; else ask open_clip's registry."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"CLIP needs open_clip and torch: {INSTALL}")
    shipped = Path(spec.submodule_search_locations[0]) / "model_configs"
    if model in {path.stem for path in shipped.glob("*.json")}:
        config: Mapping[str, Any] = json.loads((shipped / f"{model}.json").read_text(encoding="utf-8"))
        return config
    known = library().list_models()
    if model not in known:
        near = difflib.get_close_matches(model, known, n=4) or known[:4]
        raise ConfigError(f"clip model {model!r} is not known to open_clip; near it: {', '.join(near)}")
    registered: Mapping[str, Any] = library().get_model_config(model)
    return registered


@lru_cache(maxsize=32)
def preprocess(source: ClipSource) -> Preprocess:
    """How this model wants its pictures.

    Raises:
        ConfigError: for a file of an architecture whose published weights disagree about it.
    """
    if source.weights == EMBEDDED:
        chosen = json.loads(tiny_asset("json"))["preprocess_cfg"]
    elif source.is_folder:
        chosen = _folder_config(source).get("preprocess_cfg", {})
    else:
        chosen = _published_preprocess(source)
    full = {**{key: value for key, value in _defaults().items() if key in _PREPROCESS_KEYS}, **chosen}
    mean, std = (tuple(float(value) for value in full[key]) for key in ("mean", "std"))
    return Preprocess(image_size(source), mean, std, full["interpolation"], full["resize_mode"])  # type: ignore[arg-type]


def _defaults() -> dict[str, Any]:
    return dict(vars(library().transform.PreprocessCfg()))


def _published_preprocess(source: ClipSource) -> dict[str, Any]:
    published = library().pretrained
    tags = published.list_pretrained_tags_by_model(source.architecture)
    if not source.is_path and source.seed is None:
        tags = [source.weights]
    found = [published.get_pretrained_cfg(source.architecture, tag) for tag in tags]
    choices = [{key: config[key] for key in _PREPROCESS_KEYS if config.get(key) is not None} for config in found]
    if source.is_path and any(choice != choices[0] for choice in choices):
        raise ConfigError(
            f"clip weights {source.weights} for {source.architecture}: published weights of this architecture differ in "
            f"preprocessing ({', '.join(tags)}), and a file does not say which it wants; name a folder with the file "
            f"and its {FOLDER_CONFIG}"
        )
    return choices[0] if choices else {}
