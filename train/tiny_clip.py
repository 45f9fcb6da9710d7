"""Train the tiny CLIP that the package carries: ``python -m tamis.train.tiny_clip --out DIR --seed 0``.

A small ResNet at 64 px and a text transformer learn drawn scenes (``corpora/drawn/scenes.py``) with the contrastive loss
of CLIP (Radford et al. 2021), so that demonstrations and tests have a CLIP whose score means something, without a
download. A ViT of the same size costs twice the time a step, and convolutions need no time to learn what is near.

Scenes are drawn once, at 72 to 220 px, pass through JPEG at any quality and through the preprocessing that scoring uses;
every scene has four captions, of which a step takes one. open_clip's vocabulary has 49,408 tokens, captions of scenes
use some 90: the other rows of the embedding stay exactly zero, so an unknown word says nothing, and the file packs well.

Price: about 10 minutes on one CPU core. The same seed, machine and thread count give the same weights.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import CLIP
from open_clip.loss import ClipLoss
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from ..corpora.drawn.scenes import Scene, describe, draw, other_caption, random_scene
from ..models.clip_inputs import fast_pixels
from ..models.clip_source import Preprocess

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3},
    },
    "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic", "resize_mode": "shortest"},
}
CAPTIONS_PER_SCENE = 4
EVALUATE_EVERY = 100
HELD_OUT = 500
_PREPROCESS = Preprocess((64, 64), (0.5,) * 3, (0.25,) * 3, "bicubic", "shortest")


def photograph(scene: Scene, low_px: int, high_px: int, rng: np.random.Generator) -> Tensor:
    """Draw a scene, pass it through JPEG, and prepare it as scoring does: uint8 (3, 64, 64)."""
    width, height = (int(side) for side in rng.integers(low_px, high_px + 1, 2))
    stored = io.BytesIO()
    draw(scene, width, height, rng).save(stored, "JPEG", quality=int(rng.integers(30, 96)))
    return fast_pixels(np.array(Image.open(stored).convert("RGB")), _PREPROCESS)


def training_pairs(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Scenes as uint8 (count, 3, 64, 64) and their captions' tokens as int64 (count, captions, context)."""
    tokenizer = SimpleTokenizer(context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"])
    images, captions = [], []
    for _ in range(count):
        scene = random_scene(rng)
        images.append(photograph(scene, 72, 220, rng))
        captions.append(tokenizer([describe(scene, rng) for _ in range(CAPTIONS_PER_SCENE)]))
    return torch.stack(images), torch.stack(captions)


def held_out(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes at 200 to 400 px, with the tokens of a caption that matches and of one that does not."""
    tokenizer = SimpleTokenizer(context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"])
    scenes = [random_scene(rng) for _ in range(count)]
    images = torch.stack([photograph(scene, 200, 400, rng) for scene in scenes])
    matched = tokenizer([describe(scene, rng) for scene in scenes])
    return images, matched, tokenizer([other_caption(scene, rng) for scene in scenes])


def similarities(model: CLIP, pixels: Tensor, *captions: Tensor) -> list[Tensor]:
    """The cosine of each picture with its caption, for each set of captions."""
    with torch.inference_mode():
        images = model.encode_image(normalised(pixels), normalize=True)
        return [(images * model.encode_text(tokens, normalize=True)).sum(1) for tokens in captions]


def area_under_curve(matched: Tensor, other: Tensor) -> float:
    """The share of (matched, other) pairs in which the matched caption scores higher: the area under the ROC curve."""
    return float((matched[:, None] > other[None, :]).double().mean())


def normalised(pixels: Tensor) -> Tensor:
    """Scale uint8 pixels to the network's range; channels last, a third faster through convolutions on a CPU."""
    return ((pixels.float() / 255 - 0.5) / 0.25).to(memory_format=torch.channels_last)


def new_model(tokens: Tensor, seed: int) -> CLIP:
    """An untrained model whose token embedding is zero for tokens that no caption uses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**CONFIG["model_cfg"])
    used = torch.zeros(model.vocab_size, 1)
    used[tokens.flatten()] = 1
    with torch.no_grad():
        model.token_embedding.weight.mul_(used)
    return model


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Row numbers, epoch after epoch, in a new order each; the rest that fills no batch is left out."""
    while True:
        order = torch.from_numpy(rng.permutation(count))
        yield from order[: count - count % size].reshape(-1, size)


def train(steps: int, scenes: int, batch: int, seed: int, log: Path) -> CLIP:
    """Train on freshly drawn scenes; write a line of JSON to ``log`` now and then."""
    started = time.perf_counter()
    rng = np.random.default_rng([seed, 1])
    pixels, captions = training_pairs(scenes, rng)
    unseen = held_out(HELD_OUT, np.random.default_rng([seed, 2]))
    model, loss_of = new_model(captions, seed).to(memory_format=torch.channels_last), ClipLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    with log.open("w", encoding="utf-8") as lines:
        for step, rows in zip(range(1, steps + 1), batches(scenes, batch, rng), strict=False):
            tokens = captions[rows, int(rng.integers(CAPTIONS_PER_SCENE))]
            images, texts, scale = model(normalised(pixels[rows]), tokens)
            loss = loss_of(images, texts, scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            if step % EVALUATE_EVERY == 0 or step == steps:
                area = area_under_curve(*similarities(model.eval(), *unseen))
                model.train()
                seconds = round(time.perf_counter() - started)
                entry = {"step": step, "loss": round(loss.item(), 4), "auc": round(area, 5), "seconds": seconds}
                print(json.dumps(entry), file=lines, flush=True)
    return model.eval()


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over 150 steps, then a cosine to zero."""
    return min((step + 1) / 150, 0.5 * (1 + math.cos(math.pi * step / steps)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write ``tiny_clip.safetensors`` (half precision), ``tiny_clip.json`` and ``tiny_clip.jsonl``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--scenes", type=int, default=16_000)
    parser.add_argument("--batch", type=int, default=192)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "tiny_clip.jsonl"
    model = train(options.steps, options.scenes, options.batch, options.seed, log)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    (options.out / "tiny_clip.safetensors").write_bytes(save(weights))
    (options.out / "tiny_clip.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
