from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tamis.corpora.errors import ConfigError
from tamis.models.clip import OpenClip, load
from tamis.models.clip_source import ClipSource

MODEL = "small-vit"
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make a small architecture known to open_clip."""
    path = tmp_path_factory.mktemp("configs") / f"{MODEL}.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    open_clip.add_model_config(path)


@pytest.fixture(scope="module")
def untrained() -> OpenClip:
    return load(ClipSource(MODEL, "random:3"))


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))


def state(model: OpenClip) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def save_wrapped(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """As open_clip's trainer saves: under ``state_dict``, with the prefix of a distributed run."""
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in tensors.items()}}, path)


@pytest.mark.parametrize(
    ("name", "save"), [("w.safetensors", save_file), ("w.pt", torch.save), ("w.bin", save_wrapped)]
)
def test_weights_read_from_a_file_are_those_written(
    untrained: OpenClip, pixels: torch.Tensor, tmp_path: Path, name: str, save: Callable[..., None]
) -> None:
    save(state(untrained), tmp_path / name)
    read = load(ClipSource(MODEL, str(tmp_path / name)))
    assert read.encode_images(pixels).tobytes() == untrained.encode_images(pixels).tobytes()


def test_a_seed_names_one_network_and_leaves_the_global_generator_alone(pixels: torch.Tensor) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (load.__wrapped__(ClipSource(MODEL, f"random:{seed}")) for seed in (5, 5, 6))
    load.__wrapped__(ClipSource("", "embedded"))
    assert torch.equal(torch.random.get_rng_state(), before)
    vectors = [model.encode_images(pixels) for model in (one, same, other)]
    assert vectors[0].tobytes() == vectors[1].tobytes()
    assert np.abs(vectors[0] - vectors[2]).max() > 0.01


def test_vectors_have_unit_length_and_the_dimension_of_the_model(untrained: OpenClip, pixels: torch.Tensor) -> None:
    tokens = torch.tensor([[49406, 320, 736, 49407] + [0] * 12])
    for vectors, rows in ((untrained.encode_images(pixels), 2), (untrained.encode_texts(tokens), 1)):
        assert vectors.dtype == np.float32
        assert vectors.shape == (rows, untrained.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_bf16_runs_the_same_weights_at_lower_precision(untrained: OpenClip, pixels: torch.Tensor) -> None:
    half = load(ClipSource(MODEL, "random:3"), "cpu", "bf16").encode_images(pixels)
    full = untrained.encode_images(pixels)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.02


def test_a_model_is_loaded_once_a_process() -> None:
    assert load(ClipSource("", "embedded")) is load(ClipSource("", "embedded"))


def damage_shape(tensors: dict[str, Any]) -> None:
    tensors["visual.proj"] = torch.zeros(5, 7)


def damage_names(tensors: dict[str, Any]) -> None:
    tensors["visual.projection"] = tensors.pop("visual.proj")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_shape, r"1 wrong shape: visual\.proj \(found \[5, 7\], expected \[64, 24\]\)"),
        (damage_names, r"1 missing: visual\.proj; 1 unknown: visual\.projection"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_name_and_shape(
    untrained: OpenClip, tmp_path: Path, suffix: str, damage: Callable[[dict[str, Any]], None], told: str
) -> None:
    tensors, path = state(untrained), tmp_path / f"w{suffix}"
    damage(tensors)
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with pytest.raises(ConfigError, match=rf"do not fit {MODEL}: found \d+ tensors, expected \d+; {told}"):
        load(ClipSource(MODEL, str(path)))


class Harmful:
    """What a hostile checkpoint holds: unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": Harmful(tmp_path / "harmed")}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Harmful(tmp_path / "harmed"), protocol=2))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(ConfigError, match=rf"{name}: not a weights file"):
            load(ClipSource(MODEL, str(tmp_path / name)))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64, b"PK\x03\x04broken"])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a weights file"):
        load(ClipSource(MODEL, str(path)))


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": 3}, {"epoch": 1}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="expected tensors by name, found none"):
        load(ClipSource(MODEL, str(tmp_path / "w.pt")))


def test_a_text_tower_without_its_description_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.hf_model.AutoConfig.from_pretrained", unreachable)
    with pytest.raises(ConfigError, match=r"text tower xlm-roberta-base: .*no route to host.*put its config.json into"):
        load(ClipSource("xlm-roberta-base-ViT-B-32", "random:0"))
