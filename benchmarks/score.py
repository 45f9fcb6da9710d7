"""Scoring: how fast tars become batches (feed), and what share of a bare forward the whole stage reaches.

feed: `tamis score` with a scorer whose network is missing (tar -> read, decode, resize, tokenise, stack, index, parquet);
beside it bare decoding and resizing of the same JPEGs from memory, in as many processes, with the same decoder and
resizer at the same sizes. forward: `tamis score` with a real network of random weights, beside its forward alone on
ready batches. Interleaved; the stage's own seconds, without start-up, which is told apart.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from generated import photograph, write_corpus
from harness import TAMIS, interleaved, paired_ratio, parser, spread, tell, timed

FEED = {"kind": "null_device:NullClip", "model": "ViT-B-32", "weights": "random:0"}
FORWARD = {"model": "ViT-B-32", "weights": "random:0"}

BARE = """
import glob, io, sys, time, multiprocessing
def work(paths):
    import torch
    from tamis.corpora.sniffing import inspect
    from tamis.corpora.tars import walk
    from tamis.corpora.decoding import decode, scale_for
    from tamis.models.clip_inputs import fast_pixels
    from tamis.models.clip_source import ClipSource, preprocess
    torch.set_num_threads(1)
    prepared = preprocess(ClipSource("ViT-B-32", "random:0", ""))
    bodies = []
    for path in paths:
        with open(path, "rb") as tar:
            for member in list(walk(tar)):
                if member.name.endswith(".jpg"):
                    tar.seek(member.offset); bodies.append(tar.read(member.size))
    scales = [scale_for(*inspect(body).upright, "jpeg", 224) for body in bodies]
    fast_pixels(decode(bodies[0], scales[0]), prepared)
    started = time.perf_counter()
    for body, scale in zip(bodies, scales):
        fast_pixels(decode(body, scale), prepared)
    return time.perf_counter() - started
if __name__ == "__main__":
    tars = sorted(glob.glob(sys.argv[1]))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(max(pool.map(work, [tars[0::2], tars[1::2]])))
"""

BARE_FORWARD = """
import sys, time, multiprocessing
def work(batches):
    import torch
    from tamis.models.clip import load
    from tamis.models.clip_source import ClipSource
    torch.set_num_threads(1)
    model = load(ClipSource("ViT-B-32", "random:0", ""), "cpu", "fp32")
    pixels = torch.zeros(32, 3, 224, 224, dtype=torch.uint8); tokens = torch.ones(32, 77, dtype=torch.long)
    model.encode_images(pixels); model.encode_texts(tokens)
    started = time.perf_counter()
    for _ in range(batches):
        model.encode_images(pixels); model.encode_texts(tokens)
    return time.perf_counter() - started
if __name__ == "__main__":
    batches = int(sys.argv[1])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(max(pool.map(work, [batches // 2] * 2)))
"""


def main() -> None:
    """Build the corpora once, then time the sides in turn."""
    options = parser(str(__doc__)).parse_args()
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    images, forwards, runs = (1_000, 128, 3) if options.quick else (8_000, 256, 5)
    folder = options.work.resolve()
    feed_folder, forward_folder = folder / f"score-{images}", folder / f"score-{forwards}"
    feed = _corpus(feed_folder, images, FEED)
    forward = _corpus(forward_folder, forwards, FORWARD)
    whole: list[float] = []

    def stage(recipe: Path, count: int) -> float:
        shutil.rmtree(recipe.parent / "corpus" / "scores", ignore_errors=True)
        (recipe.parent / "corpus" / "logs" / "score.jsonl").unlink(missing_ok=True)
        timing = timed([*TAMIS, "score", str(recipe)], here)
        whole.append(timing.wall)
        lines = (recipe.parent / "corpus" / "logs" / "score.jsonl").read_text(encoding="utf-8").splitlines()
        busy: dict[int, float] = {}
        for line in (line for line in map(json.loads, lines) if line["event"] == "item"):
            assert line["ok"], line
            busy[line["worker"]["process"]] = busy.get(line["worker"]["process"], 0.0) + line["seconds"]
        return count / max(busy.values())

    def bare() -> float:
        tars = str(feed_folder / "corpus" / "shards" / "*.tar")
        return images / float(timed([sys.executable, str(_script(folder, "bare", BARE)), tars], here).stdout)

    def bare_forward() -> float:
        script = _script(folder, "bare_forward", BARE_FORWARD)
        return forwards / float(timed([sys.executable, str(script), str(forwards // 32)], here).stdout)

    feeding = interleaved(runs, ours=lambda: stage(feed, images), bare=bare)
    wall = statistics.median(whole)
    forwarding = interleaved(runs, ours=lambda: stage(forward, forwards), bare=bare_forward)
    feed_ratio = paired_ratio(feeding["ours"], feeding["bare"])
    forward_ratio = paired_ratio(forwarding["ours"], forwarding["bare"])
    rows = [
        ("images", f"{images:,} JPEGs, 256-512 px, quality 85, in {_shards(images)} shards; 2 workers, 1 thread each"),
        ("feed_rate: tar to batches, images/s", spread(feeding["ours"])),
        ("bare decoding and resizing, images/s", spread(feeding["bare"])),
        ("feed_ratio", spread(feed_ratio)),
        ("whole `tamis score` process, seconds", f"{wall:.1f} (start-up and imports included)"),
        (f"ViT-B-32 fp32, random weights, {forwards} images, images/s", spread(forwarding["ours"])),
        ("its bare forward (image and text), images/s", spread(forwarding["bare"])),
        ("ratio_to_forward", spread(forward_ratio)),
    ]
    result: dict[str, Any] = {
        "feed_rate": statistics.median(feeding["ours"]),
        "feed_ratio": statistics.median(feed_ratio),
        "ratio_to_forward": statistics.median(forward_ratio),
    }
    tell(f"score (torch {torch.__version__})", rows, result, options.json)


def _script(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def _shards(images: int) -> int:
    return 4 if images < 2_000 else 16


def _corpus(folder: Path, images: int, scorer: dict[str, str]) -> Path:
    recipe = folder / "recipe.yaml"
    told = {
        "name": "score",
        "corpus": "corpus",
        "source": {"kind": "laion", "path": "none.parquet"},
        "scores": {"clip": scorer},
        "engine": {"workers": 2, "threads": 1, "batch_size": 32},
    }
    write_corpus(folder, "score", _shards(images), images // _shards(images), photograph)
    recipe.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return recipe


if __name__ == "__main__":
    main()
