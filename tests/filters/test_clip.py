from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from tamis.corpora.decoding import decode, scale_for
from tamis.corpora.drawn.scenes import describe, draw, other_caption, random_scene
from tamis.corpora.errors import ConfigError, DataError
from tamis.filters.clip import Clip
from tamis.filters.scorer import FULL, Device, Pixels, Sample, identity

EMBEDDED = Clip(weights="embedded")


def sample(caption: str | None, pixels: Pixels | None = None) -> Sample:
    return Sample({"caption": caption}, pixels=np.zeros((70, 80, 3), np.uint8) if pixels is None else pixels)


def stored(seed: int) -> tuple[Pixels, str, str]:
    """A scene as a shard gives it, with a caption that matches and one that does not."""
    rng = np.random.default_rng([seed, 99])
    scene, file = random_scene(rng), io.BytesIO()
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    draw(scene, width, height, rng).save(file, "JPEG", quality=int(rng.integers(30, 96)))
    need = EMBEDDED.needs.pixels or FULL
    return (
        decode(file.getvalue(), scale_for(width, height, "jpeg", need)),
        describe(scene, rng),
        other_caption(scene, rng),
    )


def test_making_a_scorer_imports_no_model_library() -> None:
    lines = (
        "import sys",
        "from tamis.filters.clip import Clip",
        "scorer = Clip(weights='embedded')",
        "scorer.columns, scorer.needs, scorer.model_digest(), Clip().columns",
        "print(sorted({'torch', 'open_clip', 'PIL'} & set(sys.modules)))",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_without_the_extra_the_pip_line_is_told() -> None:
    lines = (
        "import sys",
        "sys.modules.update(dict.fromkeys(['torch', 'open_clip', 'safetensors', 'transformers']))",
        "from tamis.filters.clip import Clip",
        "from tamis.filters.scorer import Device",
        "Clip(weights='embedded').setup(Device())",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert re.search(r"ConfigError: CLIP needs open_clip and torch .*: pip install 'tamis\[clip\]'", run.stderr)


def test_columns_and_needs_follow_the_model() -> None:
    scorer = Clip(model="ViT-L-14-336", weights="openai")
    assert [(column.name, column.type) for column in scorer.columns] == [
        ("similarity", pa.float32()),
        ("truncated", pa.bool_()),
        ("image_embedding", pa.list_(pa.float16(), 768)),
        ("text_embedding", pa.list_(pa.float16(), 768)),
    ]
    assert (scorer.needs.pixels, scorer.needs.columns) == (336, ("caption",))
    assert (scorer.needs.extra, scorer.needs.device) == ("clip", True)
    assert Clip(model="ViT-L-14-336", weights="openai", preprocess="open_clip").needs.pixels == FULL


def test_identity_tells_models_and_precisions_apart() -> None:
    device = Device()
    found = [
        identity(Clip(model="RN50", weights="random:0"), "clip", device),
        identity(Clip(model="RN50", weights="random:1"), "clip", device),
        identity(Clip(model="RN101", weights="random:0"), "clip", device),
        identity(Clip(model="RN50", weights="random:0", preprocess="open_clip"), "clip", device),
        identity(Clip(model="RN50", weights="random:0"), "clip", Device(precision="bf16")),
    ]
    assert all(one != other for place, one in enumerate(found) for other in found[:place])
    assert len({one["model"] for one in found}) == 3


def test_an_unknown_preprocessing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'slow': expected fast or open_clip"):
        Clip(weights="embedded", preprocess="slow")  # type: ignore[arg-type]


def test_the_embedded_model_tells_matched_from_mismatched_captions() -> None:
    scenes = [stored(seed) for seed in range(200)]
    matched, other = (
        EMBEDDED.score([EMBEDDED.prepare(one) for one in samples], Device())["similarity"]
        for samples in (
            [sample(caption, pixels) for pixels, caption, _ in scenes],
            [sample(caption, pixels) for pixels, _, caption in scenes],
        )
    )
    assert (matched[:, None] > other[None, :]).mean() >= 0.98
    assert (matched >= 0.7).mean() >= 0.98
    assert (other >= 0.7).mean() <= 0.02


def test_embeddings_multiply_to_the_similarity() -> None:
    rows = [stored(seed) for seed in range(4)]
    scored = EMBEDDED.score([EMBEDDED.prepare(sample(caption, pixels)) for pixels, caption, _ in rows], Device())
    images, texts = (np.asarray(scored[name]).astype(np.float32) for name in ("image_embedding", "text_embedding"))
    np.testing.assert_allclose((images * texts).sum(axis=1), scored["similarity"], atol=2e-3)
    assert scored["image_embedding"].dtype == np.float16


def test_a_long_caption_is_marked_and_scored_by_its_beginning() -> None:
    start = "a large red circle above a small blue star on a white ground"
    captions = (start, f"{start} {'and more ' * 40}", f"{start} {'and more ' * 40} and an end")
    scored = EMBEDDED.score([EMBEDDED.prepare(sample(caption)) for caption in captions], Device())
    assert scored["truncated"] == [False, True, True]
    assert scored["similarity"][0] != scored["similarity"][1] == scored["similarity"][2]


@pytest.mark.parametrize("caption", [None, ""])
def test_a_sample_without_a_caption_is_not_measured(caption: str | None) -> None:
    with pytest.raises(DataError) as told:
        EMBEDDED.prepare(sample(caption))
    assert told.value.reason == "no_caption"


def test_a_sample_without_pixels_is_not_measured() -> None:
    with pytest.raises(DataError) as told:
        EMBEDDED.prepare(Sample({"caption": "a red circle"}))
    assert told.value.reason == "no_image"


def test_a_batch_of_unreadable_samples_keeps_its_places() -> None:
    scored = EMBEDDED.score([None, None, None], Device())
    assert {name: len(values) for name, values in scored.items()} == dict.fromkeys(
        ("similarity", "truncated", "image_embedding", "text_embedding"), 3
    )


def test_pictures_of_any_shape_are_measured() -> None:
    shapes = [(1, 1), (1, 300), (300, 1), (64, 64), (20, 30)]
    ready = [EMBEDDED.prepare(sample("a red circle", np.full((*shape, 3), 90, np.uint8))) for shape in shapes]
    similarities = EMBEDDED.score(ready, Device())["similarity"]
    np.testing.assert_allclose(similarities, similarities[0], atol=1e-6)
