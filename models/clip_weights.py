"""The weights file that a ``ClipSource`` names, and the digest of all that a measurement with it rests on.

A hub tag is downloaded by open_clip into its cache, unless it is there. Price: reading the files once a process for their
SHA-256, a second a gigabyte. The digest is kept as long as the network is (``clip.load``), so that a file replaced in the
meantime cannot lend its name to what the old one measured.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from ..corpora.errors import ConfigError
from .clip_source import EMBEDDED, WEIGHT_SUFFIXES, ClipSource, first_line, library, model_config, tiny_asset

FOLDER_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def checkpoint(source: ClipSource) -> Path:
    """The weights file on this machine; a hub tag is downloaded by open_clip, unless it was before.

    Raises:
        ConfigError: it is not there, or cannot be downloaded.
    """
    path = Path(source.weights)
    if source.is_folder:
        found = [path / name for name in FOLDER_WEIGHTS if (path / name).is_file()]
        if not found:
            raise ConfigError(f"clip weights {path}: the folder has none of {', '.join(FOLDER_WEIGHTS)}")
        return found[0]
    if not source.is_path:
        return _downloaded(source)
    if not path.is_file():
        raise ConfigError(f"clip weights {path}: no such file")
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ConfigError(f"clip weights {path}: expected one of {', '.join(WEIGHT_SUFFIXES)}")
    return path


def _downloaded(source: ClipSource) -> Path:
    published, model, tag = library().pretrained, source.architecture, source.weights
    config = published.get_pretrained_cfg(model, tag)
    if not config:
        tags = published.list_pretrained_tags_by_model(model)
        raise ConfigError(
            f"clip weights {tag!r}: neither a file nor a tag of {model}, whose tags are {', '.join(tags) or '(none)'}"
        )
    if bool(config.get("quick_gelu")) != bool(model_config(source).get("quick_gelu")):
        raise ConfigError(
            f"clip weights {tag!r} and model {model!r} differ in QuickGELU: {_gelu_twin(model)} fits them"
        )
    try:
        return Path(published.download_pretrained(config))
    except (OSError, RuntimeError) as error:
        place = config.get("hf_hub") or config.get("url")
        raise ConfigError(
            f"clip weights {tag!r} of {model}: could not be had from {place} ({first_line(error)}); download them on another "
            "machine and give the file or folder as weights, or use weights: embedded for a demonstration "
            "(HF_HUB_OFFLINE=1 in the environment saves the wait)"
        ) from error


def _gelu_twin(model: str) -> str:
    return model.removesuffix("-quickgelu") if model.endswith("-quickgelu") else f"{model}-quickgelu"


@lru_cache(maxsize=32)
def digest(source: ClipSource) -> str:
    """SHA-256, in hex, of what the measurement rests on beside the settings.

    That is the weights file; for ``random`` the seed and the architecture; and where a folder gives configuration or
    tokenizer, the names and digests of its small files too.
    """
    if source.weights == EMBEDDED:
        return hashlib.sha256(tiny_asset("safetensors")).hexdigest()
    if source.seed is not None:
        weights = hashlib.sha256(f"{source.weights} {source.architecture}".encode()).hexdigest()
    else:
        weights = _file_digest(checkpoint(source))
    folders = [source.weights] if source.is_folder else []
    folders += [source.tokenizer] if source.tokenizer else []
    lines = [f"{path.name} {_file_digest(path)}" for folder in folders for path in _small_files(Path(folder))]
    return hashlib.sha256("\n".join([weights, *lines]).encode()).hexdigest() if lines else weights


def _small_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in {".json", ".txt", ".model"})


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
