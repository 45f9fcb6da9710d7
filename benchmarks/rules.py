"""What rules cost, and what they keep: documents a second and a core, by profile, and the share that each policy keeps.

English: documents of MMC4; Chinese: ChineseWebText, and its hand-marked clean and dirty pages; captions: CC3M and THUCNews
titles; from --data. `pii` and `words` (10,000 entries) run over the same Chinese documents. `perplexity` is trained on
10,000 titles and tells 2,000 others from themselves with their characters shuffled. Speed is CPU time of the scorer's
`prepare`, one thread. Nothing is compared: the libraries that have these rules need the network to run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import parser, spread, tell

from tamis.filters.registry import build_scorer
from tamis.filters.rules.profile import load_profile
from tamis.filters.scorer import Device, Sample, Scorer


def main() -> None:
    """Run every profile over the texts that it is for."""
    options = parser(str(__doc__)).parse_args()
    if options.data is None:
        raise SystemExit("the benchmark of rules needs real texts: --data DIR or TAMIS_DATA")
    rows: list[tuple[str, str]] = []
    result: dict[str, Any] = {}
    for profile, name, texts in _runs(Path(options.data), 1_000 if options.quick else 10_000):
        _, scorer = build_scorer("rules", {"profile": profile})
        kept, failed = _kept(scorer, profile, texts)
        rows.append((f"{profile} on {name}", f"{len(texts)} texts of {_mean(texts):.0f} characters; kept: {kept}"))
        speeds = _speeds(scorer, texts)
        rows.append(("  docs/s a core", spread(speeds)))
        rows.append(("  fails most", failed))
        result[f"{profile}_{name}"] = sorted(speeds)[1]
    chinese = _chinese(Path(options.data) / "chinesewebtext/2021-43/cleared1.jsonl", "raw_content")
    with tempfile.TemporaryDirectory() as folder:
        for kind, settings in (("pii", {}), ("words", {"path": _list(Path(folder), chinese)})):
            _, scorer = build_scorer(kind, settings)
            scorer.setup(Device())
            speeds = _speeds(scorer, chinese)
            rows.append((f"{kind} on pages, docs/s a core", spread(speeds)))
            result[kind] = sorted(speeds)[1]
        rows += _perplexity(Path(options.data) / "thucnews/THUCNews/data", Path(folder), chinese)
    tell("rules", rows, result, options.json)


def _runs(data: Path, most: int) -> Iterator[tuple[str, str, Sequence[str]]]:
    mmc4 = (data / "mmc4/docs_no_face_shard_151_partial.jsonl").read_text(encoding="utf-8").splitlines()
    yield "fineweb", "mmc4", ["\n".join(json.loads(line)["text_list"]) for line in mmc4]
    yield "chinese", "pages", _chinese(data / "chinesewebtext/2021-43/cleared1.jsonl", "raw_content")
    for name in ("clean", "dirty"):
        yield "chinese", name, _chinese(data / f"chinesewebtext/fasttext/data/{name}.jsonl", "text")
    yield "news", "pages", _chinese(data / "chinesewebtext/2021-43/cleared1.jsonl", "raw_content")
    for name, path in (
        ("cc3m", "cc3m_val/Validation_GCC-1.1.0-Validation.tsv"),
        ("titles", "thucnews/THUCNews/data/dev.txt"),
    ):
        lines = (data / path).read_text(encoding="utf-8").splitlines()
        yield "alt_text", name, [line.split("\t")[0] for line in lines[:most]]


def _chinese(path: Path, field: str) -> list[str]:
    return [json.loads(line)[field] for line in path.read_text(encoding="utf-8").splitlines()]


def _mean(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / len(texts)


def _kept(scorer: Scorer, profile: str, texts: Sequence[str]) -> tuple[str, str]:
    measured: list[Mapping[str, Any]] = [scorer.prepare(Sample({"caption": text})) for text in texts]
    policies = load_profile(profile).policies
    kept = ", ".join(f"{name} {100 * sum(bool(row[name]) for row in measured) / len(texts):.0f} %" for name in policies)
    names = [name for row in measured for name in row["failed"]]
    most = sorted(set(names), key=lambda name: (-names.count(name), name))[:4]
    return kept, ", ".join(f"{name} {100 * names.count(name) / len(texts):.0f} %" for name in most)


def _speeds(scorer: Scorer, texts: Sequence[str]) -> list[float]:
    speeds = []
    for _ in range(3):
        started = time.process_time()
        for text in texts:
            scorer.prepare(Sample({"caption": text}))
        speeds.append(len(texts) / (time.process_time() - started))
    return speeds


def _perplexity(data: Path, folder: Path, pages: Sequence[str]) -> list[tuple[str, str]]:
    seen, others = (
        [line.split("\t")[0] for line in (data / name).read_text(encoding="utf-8").splitlines()]
        for name in ("dev.txt", "test.txt")
    )
    (folder / "titles.txt").write_text("\n".join(seen), encoding="utf-8")
    model = str(folder / "zh.npz")
    subprocess.run([sys.executable, "-m", "tamis.filters.ngrams", model, str(folder / "titles.txt")], check=True)
    _, scorer = build_scorer("perplexity", {"path": model})
    rng = np.random.default_rng(0)
    shuffled = ["".join(rng.permutation(list(title))) for title in others[:2_000]]
    real, mixed = (
        np.array([scorer.prepare(Sample({"caption": title}))[0] for title in titles])
        for titles in (others[:2_000], shuffled)
    )
    area = (real[:, None] < mixed[None]).mean()
    return [
        ("perplexity, real titles from shuffled ones", f"AUC {area:.3f}"),
        ("perplexity on pages, docs/s a core", spread(_speeds(scorer, pages))),
    ]


def _list(folder: Path, texts: Sequence[str]) -> str:
    """Ten thousand entries of four characters: a hundred that occur, as few of a real list do, the others made up."""
    rng = np.random.default_rng(0)
    whole = "".join("".join(texts).split())
    found = {whole[at : at + 4] for at in rng.integers(0, len(whole) - 4, 100).tolist()}
    made = {"".join(map(chr, rng.integers(0x4E00, 0x9F00, 4).tolist())) for _ in range(9_900)}
    (folder / "entries.txt").write_text("\n".join(sorted(found | made)), encoding="utf-8")
    return str(folder / "entries.txt")


if __name__ == "__main__":
    main()
