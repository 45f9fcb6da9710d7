from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest

from tamis.corpora.errors import ConfigError
from tamis.models.clip_source import ClipSource, image_size, model_config, preprocess, tiny_asset
from tamis.models.clip_weights import checkpoint, digest


def repository(folder: Path, **changes: Any) -> Path:
    """A folder with the files of a hub repository (its weights are never read here)."""
    config = open_clip.get_model_config("ViT-B-32")
    whole = {"model_cfg": config, "preprocess_cfg": {"resize_mode": "squash", "mean": [0.1, 0.2, 0.3]}, **changes}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(whole), encoding="utf-8")
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    return folder


def test_an_architecture_is_read_without_importing_torch() -> None:
    lines = (
        "import sys",
        "from tamis.models.clip_source import ClipSource, image_size, model_config",
        "from tamis.models.clip_weights import digest",
        "source = ClipSource('ViT-B-16-SigLIP-384', 'random:0')",
        "print(image_size(source), model_config(source)['embed_dim'], len(digest(source)), 'torch' in sys.modules)",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "(384, 384) 768 64 False"


def test_weights_default_to_a_hub_tag_of_vit_b_32() -> None:
    assert ClipSource().architecture == "ViT-B-32"
    assert model_config(ClipSource())["embed_dim"] == 512
    assert image_size(ClipSource()) == (224, 224)


def test_a_tag_brings_its_published_preprocessing() -> None:
    found = preprocess(ClipSource("ViT-B-16-SigLIP", "webli"))
    assert (found.mean, found.std, found.resize_mode) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash")
    assert preprocess(ClipSource("ViT-L-14", "laion2b_s32b_b82k")).mean == (0.5, 0.5, 0.5)
    assert preprocess(ClipSource("ViT-L-14", "openai")).mean == (0.48145466, 0.4578275, 0.40821073)


def test_a_file_gets_the_preprocessing_of_its_architecture() -> None:
    published = preprocess(ClipSource("ViT-B-16-SigLIP", "webli"))
    assert preprocess(ClipSource("ViT-B-16-SigLIP", "/somewhere/siglip.safetensors")) == published


def test_a_file_whose_preprocessing_is_unknowable_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"laion2b_s32b_b82k.*name a folder with the file and its open_clip_config"):
        preprocess(ClipSource("ViT-L-14", "/somewhere/vit.safetensors"))


def test_a_folder_brings_its_own_architecture_and_preprocessing(tmp_path: Path) -> None:
    source = ClipSource("", str(repository(tmp_path / "copy")))
    found = preprocess(source)
    assert (found.mean, found.resize_mode, found.interpolation) == ((0.1, 0.2, 0.3), "squash", "bicubic")
    assert model_config(source)["embed_dim"] == 512
    assert checkpoint(source) == tmp_path / "copy/open_clip_model.safetensors"


@pytest.mark.parametrize(
    ("model", "weights", "told"),
    [
        ("ViT-B-33", "random:0", r"'ViT-B-33' is not known to open_clip; near it: ViT-B-32"),
        (
            "ViT-B-32",
            "laion3b",
            r"'laion3b': neither a file nor a tag of ViT-B-32, whose tags are openai, .*laion2b_e16",
        ),
        ("ViT-B-32", "openai", r"QuickGELU: ViT-B-32-quickgelu fits"),
        ("", "/nowhere/clip.safetensors", r"/nowhere/clip.safetensors: no such file"),
        ("", "clip.safetensors", r"clip.safetensors: no such file"),
        ("", "random:x", r"expected random: and a whole number"),
        ("ViT-B-32", "embedded", r"leave model out"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(model: str, weights: str, told: str) -> None:
    source = ClipSource(model, weights)
    with pytest.raises(ConfigError, match=told):
        assert model_config(source) and digest(source)  # noqa: PT018 - whichever of the two finds it


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"expected one of \.safetensors, \.pt, \.pth, \.bin"):
        checkpoint(ClipSource("", str(tmp_path / "clip.npz")))


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a folder without open_clip_config\.json"):
        model_config(ClipSource("", str(tmp_path)))
    whole = repository(tmp_path / "whole")
    with pytest.raises(ConfigError, match="leave model out"):
        model_config(ClipSource("ViT-B-32", str(whole)))
    (whole / "open_clip_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has none of open_clip_model\.safetensors"):
        checkpoint(ClipSource("", str(whole)))
    with pytest.raises(ConfigError, match="expected model_cfg with embed_dim"):
        model_config(ClipSource("", str(repository(tmp_path / "empty", model_cfg={}))))


def test_a_hub_that_cannot_be_reached_is_told_with_the_ways_round_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(config: object) -> str:
        raise FileNotFoundError("no route to host")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", unreachable)
    with pytest.raises(ConfigError, match=r"laion/CLIP-ViT-B-32.*no route to host.*another machine.*embedded"):
        digest(ClipSource("ViT-B-32", "laion2b_s34b_b79k"))


def test_a_downloaded_tag_has_the_digest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(b"downloaded")
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", lambda config: str(tmp_path / "w.bin"))
    assert digest(ClipSource("ViT-B-32", "laion2b_e16")) == hashlib.sha256(b"downloaded").hexdigest()


def test_without_the_extra_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    for ask in (model_config, preprocess):
        with pytest.raises(ConfigError, match=r"pip install 'tamis\[clip\]'"):
            ask(ClipSource("RN50", "openai"))


def test_the_digest_follows_what_the_measurement_rests_on(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"one")
    assert digest(ClipSource("ViT-B-32", str(tmp_path / "w.safetensors"))) == hashlib.sha256(b"one").hexdigest()

    digests = {digest(ClipSource("", str(repository(tmp_path / "copy"))))}
    digests.add(digest(ClipSource("", str(repository(tmp_path / "same")))))
    assert len(digests) == 1
    with_tokenizer = repository(tmp_path / "tokenizer")
    (with_tokenizer / "tokenizer.json").write_text("{}")
    digests.add(digest(ClipSource("", str(with_tokenizer))))
    digests.add(digest(ClipSource("", str(repository(tmp_path / "mean", preprocess_cfg={"mean": [0, 0, 0]})))))
    assert len(digests) == 3
    assert digest(ClipSource("RN50", "random:0", str(with_tokenizer))) != digest(ClipSource("RN50", "random:0"))

    assert digest(ClipSource("", "embedded")) == hashlib.sha256(tiny_asset("safetensors")).hexdigest()
    random = {digest(ClipSource(model, f"random:{seed}")) for model in ("RN50", "ViT-B-32") for seed in (0, 1)}
    assert len(random) == 4
