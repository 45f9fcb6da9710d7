"""What a sample costs at every stage, in the on-disk layout at 10,000 samples a shard: the unit costs of docs/scale.md.

20,000 URLs of 2,000 photographs are served on this machine and go through fetch, score (look, hashes, the embedded
CLIP), dedup, decide and export, a verb and a process tree each. Told a stage: CPU seconds per 1,000 samples, wall
seconds, peak memory of one process; a folder: bytes a sample, and objects a shard.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from generated import photograph
from harness import TAMIS, parser, tell, timed
from serving import serving

from tamis.corpora.drawn.words import ADJECTIVES, NOUNS, VERBS

STAGES = ("fetch", "score", "dedup", "decide", "export")
SHARD = 10_000
PICTURES = 2_000

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
sys.stderr.write(done.stderr[-3000:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def main() -> None:
    """Serve, run, weigh."""
    options = parser(str(__doc__)).parse_args()
    samples = 2_000 if options.quick else 20_000
    folder = options.work.resolve() / f"units-{samples}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "www").mkdir(parents=True)
    rows: list[tuple[str, str]] = []
    result: dict[str, Any] = {"samples": samples}
    _stock(folder / "www", min(samples, PICTURES))
    with serving(folder / "www") as base:
        recipe = _recipe(folder, base, samples)
        for stage in STAGES:
            timing = timed([sys.executable, "-c", PEAK, *TAMIS, stage, str(recipe), "--workers", "2"])
            per_thousand, peak = timing.cpu / samples * 1e3, int(timing.stdout.split()[-1]) / 1024
            told = f"{per_thousand:.3g} CPU s per 1,000; {timing.wall:.1f} s wall; a process at most {peak:.0f} MiB"
            rows.append((stage, told))
            result[stage] = {"cpu_per_1000": per_thousand, "wall": timing.wall, "peak_mib": peak}
    for name, (size, objects) in _weighed(folder / "corpus").items():
        rows.append((f"{name}/", f"{size / samples:,.1f} bytes a sample, {objects} objects"))
        result[f"bytes_{name}"] = size / samples
    tell("units", rows, result, options.json)


def _stock(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(photograph(np.random.default_rng(number))[0])


def _recipe(folder: Path, base: str, samples: int) -> Path:
    rng = np.random.default_rng(0)
    urls = [f"{base}/{number % PICTURES}.jpg?as=photographs/of/the/day/{number}" for number in range(samples)]
    words = [ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS, VERBS, NOUNS]
    captions = [" ".join(kind[int(rng.integers(len(kind)))] for kind in words) for _ in range(samples)]
    pq.write_table(pa.table({"URL": urls, "TEXT": captions}), folder / "list.parquet")
    told = {
        "name": "units",
        "corpus": "corpus",
        "source": {"kind": "laion", "path": "list.parquet"},
        "fetch": {"allow_hosts": ["127.0.0.1"], "per_host": 64, "concurrency": 128},
        "shards": {"samples": min(SHARD, samples // 2)},
        "scores": {"look": {}, "hashes": {}, "clip": {"weights": "embedded"}},
        "duplicates": {"exact": {"on": "image_sha256"}},
        "criteria": {"big": "min_side >= 200", "lit": "look.brightness >= quantile(look.brightness, 0.1)"},
        "policies": {"basic": "big and lit", "sifted": "big and lit and first_of(duplicates.exact)"},
        "exports": [{"policy": "basic", "to": "export", "samples": SHARD, "shuffle": "full"}],
        "engine": {"workers": 2, "batch_size": 64},
    }
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return recipe


def _weighed(corpus: Path) -> Mapping[str, tuple[int, int]]:
    """Bytes and objects of every folder of the corpus; shards apart by tars and indexes, scores by family."""
    found: dict[str, tuple[int, int]] = {}
    for path in (path for path in corpus.rglob("*") if path.is_file()):
        parts = path.relative_to(corpus).parts
        name = "/".join(parts[:2]) if parts[0] == "scores" else parts[0]
        name = f"{name} ({path.suffix[1:]})" if parts[0] in {"shards", "scores"} else name
        size, objects = found.get(name, (0, 0))
        found[name] = (size + path.stat().st_size, objects + 1)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    main()
