from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from tamis.models.clip_source import tiny_asset
from tamis.train import tiny_clip


@pytest.fixture
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_clip, "HELD_OUT", 8)


def run(folder: Path, seed: int) -> Path:
    arguments = ["--out", str(folder), "--seed", str(seed), "--steps", "3", "--scenes", "24", "--batch", "8"]
    tiny_clip.main(arguments)
    return folder


@pytest.mark.usefixtures("few_held_out")
def test_training_writes_weights_configuration_and_log_that_follow_from_the_seed(tmp_path: Path) -> None:
    one, same, other = (run(tmp_path / name, seed) for name, seed in (("one", 0), ("same", 0), ("other", 1)))
    weights = [(folder / "tiny_clip.safetensors").read_bytes() for folder in (one, same, other)]
    assert weights[0] == weights[1] != weights[2]
    network = open_clip.CLIP(**json.loads((one / "tiny_clip.json").read_text())["model_cfg"])
    network.load_state_dict(load_file(one / "tiny_clip.safetensors"))
    [entry] = [json.loads(line) for line in (one / "tiny_clip.jsonl").read_text().splitlines()]
    assert entry.keys() == {"step", "loss", "auc", "seconds"}
    assert entry["step"] == 3


@pytest.mark.usefixtures("few_held_out")
def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_clip, "EVALUATE_EVERY", 1)
    tiny_clip.train(steps=12, scenes=16, batch=16, seed=0, log=tmp_path / "log")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.1


def test_words_that_no_caption_uses_say_nothing() -> None:
    tokens = torch.tensor([[49406, 320, 736, 49407, 0]])
    rows = tiny_clip.new_model(tokens, 0).token_embedding.weight.abs().sum(dim=1)
    assert torch.flatten(rows.nonzero()).tolist() == [0, 320, 736, 49406, 49407]


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    assert tiny_clip.area_under_curve(torch.tensor([0.9, 0.4]), torch.tensor([0.5, 0.1, 0.0])) == pytest.approx(5 / 6)


def test_batches_take_every_row_once_an_epoch() -> None:
    stream = tiny_clip.batches(10, 5, np.random.default_rng(0))
    epochs = [torch.cat([next(stream), next(stream)]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_embedded_weights_are_those_that_this_trainer_describes(root: Path) -> None:
    assert json.loads(tiny_asset("json")) == tiny_clip.CONFIG
    weights = tiny_asset("safetensors")
    assert len(weights) <= 8_000_000
    assert hashlib.sha256(weights).hexdigest() in (root / "models/assets/README.md").read_text(encoding="utf-8")
