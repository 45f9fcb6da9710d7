"""The scorer against open_clip itself, on a small architecture of each family; all are made here, none is downloaded."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig

from tamis.corpora.drawn.scenes import describe, draw, random_scene
from tamis.filters.clip import Clip
from tamis.filters.scorer import FULL, Device, Sample
from tamis.models.clip import load
from tamis.models.clip_source import ClipSource, preprocess

SEED = 7
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "vit": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": TEXT,
    },
    "coca": {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16,
            "attentional_pool": True, "attn_pooler_queries": 8, "attn_pooler_heads": 2, "output_tokens": True,
        },
        "text_cfg": {**TEXT, "context_length": 15, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "context_length": 15, "attn_pooler_heads": 2},
        "custom_text": True,
    },
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False,
            "timm_pool": "map", "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 12, "vocab_size": 40, "hf_tokenizer_name": "nobody/siglip",
            "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 64, "heads": 2, "layers": 2,
            "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
        },
    },
    "xlmr": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear"},
        "text_cfg": {
            "context_length": 12, "hf_model_name": "nobody/xlmr", "hf_tokenizer_name": "nobody/xlmr",
            "hf_pooler_type": "mean_pooler", "tokenizer_kwargs": {"clean": "lower"},
        },
    },
}  # fmt: skip
WORDS = (
    "a",
    "large",
    "red",
    "circle",
    "square",
    "above",
    "on",
    "white",
    "ground",
    "红色",
    "圆形",
    "白色",
    "rot",
    "Kreis",
)


@dataclass(frozen=True)
class Architecture:
    """What we are told (``source``), and open_clip's own network, transform and tokenizer of the same."""

    source: ClipSource
    network: Any
    transform: Callable[[Image.Image], torch.Tensor]
    tokenizer: Callable[[list[str]], torch.Tensor]

    def embed(self, picture: Image.Image, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors of a picture and a caption, by open_clip alone."""
        with torch.inference_mode():
            image = self.network.encode_image(self.transform(picture)[None], normalize=True)
            return image[0], self.network.encode_text(self.tokenizer([caption]), normalize=True)[0]

    def scorer(self, mode: Literal["fast", "open_clip"]) -> Clip:
        """Ours."""
        named = self.source
        return Clip(model=named.model, weights=named.weights, tokenizer=named.tokenizer, preprocess=mode)


def write_tokenizer(folder: Path, pad: str) -> None:
    """A word-level tokenizer in the form of a hub repository, whose padding token is ``pad``."""
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*names, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token=pad
    ).save_pretrained(folder)


def build(kind: str, root: Path) -> Architecture:
    """One architecture: known to open_clip by name, or, for SigLIP, a folder as a hub repository is."""
    folder, config = root / kind, json.loads(json.dumps(CONFIGS[kind]))
    folder.mkdir()
    source, name = ClipSource(f"ours-{kind}", f"random:{SEED}"), f"ours-{kind}"
    if kind == "siglip":
        write_tokenizer(folder, pad="</s>")
        source, name = write_repository(folder, config)
    elif kind == "xlmr":
        write_tokenizer(folder, pad="<pad>")
        XLMRobertaConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
        ).save_pretrained(folder)
        source, name = ClipSource("ours-xlmr", f"random:{SEED}", str(folder)), "direct-xlmr"
        local = {**config["text_cfg"], "hf_model_name": str(folder), "hf_tokenizer_name": str(folder)}
        register(name, {**config, "text_cfg": local}, root)
    register(f"ours-{kind}", config, root)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network, _, transform = open_clip.create_model_and_transforms(name, pretrained_text=False)
    return Architecture(source, network.eval(), transform, open_clip.get_tokenizer(name))


def register(name: str, config: Mapping[str, Any], root: Path) -> None:
    """Make an architecture known to open_clip by name."""
    path = root / f"{name}.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(path)


def write_repository(folder: Path, config: Mapping[str, Any]) -> tuple[ClipSource, str]:
    """Add configuration and weights to a folder with a tokenizer: a hub repository of open_clip."""
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    whole = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(whole), encoding="utf-8")
    network = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return ClipSource("", str(folder)), f"local-dir:{folder}"


@pytest.fixture(scope="module", params=list(CONFIGS))
def architecture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Architecture:
    return build(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Image.Image, str]]:
    """JPEG pictures of 256 to 512 px, and captions."""
    rng = np.random.default_rng(0)
    found = []
    for width, height in ((256, 256), (512, 384), (300, 480)):
        scene, stored = random_scene(rng), io.BytesIO()
        draw(scene, width, height, rng).save(stored, "JPEG", quality=90)
        found.append((Image.open(stored).convert("RGB"), f"RED 圆形 {describe(scene, rng)}"))
    return found


def prepared(scorer: Clip, pairs: list[tuple[Image.Image, str]]) -> list[Any]:
    return [scorer.prepare(Sample({"caption": text}, pixels=np.asarray(picture))) for picture, text in pairs]


def test_the_cosine_is_that_of_open_clip(architecture: Architecture, pairs: list[tuple[Image.Image, str]]) -> None:
    scorer = architecture.scorer("open_clip")
    assert scorer.needs.pixels == FULL
    scored = scorer.score(prepared(scorer, pairs), Device())
    vectors = [architecture.embed(*pair) for pair in pairs]
    np.testing.assert_allclose(scored["similarity"], [float(i @ t) for i, t in vectors], rtol=0, atol=1e-6)
    for column, place in (("image_embedding", 0), ("text_embedding", 1)):
        expected = np.stack([both[place].numpy() for both in vectors])
        assert np.abs(expected[0] - expected[1]).max() > 1e-3
        np.testing.assert_allclose(scored[column], expected, rtol=0, atol=3e-4)  # half precision


def test_fast_preprocessing_stays_close_to_open_clip(
    architecture: Architecture, pairs: list[tuple[Image.Image, str]]
) -> None:
    scorer = architecture.scorer("fast")
    samples = prepared(scorer, pairs)
    assert {sample.pixels.dtype for sample in samples} == {torch.uint8}
    scored = scorer.score(samples, Device())
    expected = [float(image @ text) for image, text in (architecture.embed(*pair) for pair in pairs)]
    np.testing.assert_allclose(scored["similarity"], expected, rtol=0, atol=1e-3)


def test_sizes_and_preprocessing_are_those_of_the_network(architecture: Architecture) -> None:
    scorer, network = architecture.scorer("fast"), architecture.network
    found, [vector] = preprocess(architecture.source), [c.type for c in scorer.columns if c.name == "image_embedding"]
    theirs = network.visual.preprocess_cfg
    size = theirs["size"]
    assert found.size == ((size, size) if isinstance(size, int) else tuple(size))
    assert (found.mean, found.std) == (tuple(theirs["mean"]), tuple(theirs["std"]))
    assert (found.interpolation, found.resize_mode) == (theirs["interpolation"], theirs["resize_mode"])
    assert scorer.needs.pixels == found.size[0]
    assert (
        vector.list_size
        == load(architecture.source).dim
        == architecture.embed(Image.new("RGB", (9, 9)), "a")[0].numel()
    )


@pytest.mark.parametrize("mode", ["fast", "open_clip"])
def test_a_row_does_not_depend_on_the_rows_beside_it(
    architecture: Architecture, pairs: list[tuple[Image.Image, str]], mode: Literal["fast", "open_clip"]
) -> None:
    scorer = architecture.scorer(mode)
    first, second, third = prepared(scorer, pairs)
    full, holes = (scorer.score(batch, Device()) for batch in ([first, second, third], [None, second, None]))
    for name in ("similarity", "image_embedding", "text_embedding"):
        assert full[name][1].tobytes() == holes[name][1].tobytes()


def test_captions_are_truncated_where_the_context_ends(architecture: Architecture) -> None:
    scorer = architecture.scorer("fast")
    context = architecture.tokenizer(["a"]).shape[1]
    found = {}
    for words in range(1, context + 3):
        caption = " ".join(["circle"] * words)
        ready = scorer.prepare(Sample({"caption": caption}, pixels=np.zeros((8, 8, 3), np.uint8)))
        assert ready.tokens.tolist() == architecture.tokenizer([caption])[0].tolist()
        found[words] = ready.truncated
    assert found == {words: words > context - 2 for words in found}
