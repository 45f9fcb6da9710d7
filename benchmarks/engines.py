"""What an engine costs: Ray and Spark beside the local one, two workers each, on this machine.

map: 2,000 items that do nothing, in ms an item, after the workers have started; and 100,000 of them (`--quick` without):
the time and the peak memory of the driver, which is what a corpus of 100,000 shards asks of a scheduler.
scoring: `tamis score --engine NAME` of 500 shards of 10 images with the light scorers `look` and `hashes`; from the
first shard's start to the last one's end as the logs tell, so that nobody's start-up counts. Interleaved; ratios are
the local engine's seconds over the cluster engine's, above 1 when the cluster engine is faster.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from generated import photograph, write_corpus
from harness import TAMIS, interleaved, paired_ratio, parser, spread, tell, timed

ENGINES = ("local", "ray", "spark")
WORKERS = 2
SCHEDULED = 100_000


def main() -> None:
    """Time the engines in turn."""
    options = parser(str(__doc__)).parse_args()
    shards, items, runs = (40, 300, 1) if options.quick else (500, 2_000, 5)
    folder = options.work.resolve() / f"engines-{shards}"
    recipe = _corpus(folder, shards)
    started: dict[str, list[float]] = {name: [] for name in ENGINES}

    def nothing(name: str) -> float:
        told = _nothing(name, items)
        started[name].append(told["start"])
        return float(told["ms"])

    mapping = interleaved(runs, **{name: partial(nothing, name) for name in ENGINES})
    scoring = interleaved(runs, **{name: partial(_score, recipe, name, shards) for name in ENGINES})
    ratios = {name: paired_ratio(scoring["local"], scoring[name]) for name in ENGINES[1:]}
    rows = [(f"{name}: workers start, s", spread(started[name])) for name in ENGINES]
    rows += [(f"{name}: {items:,} items of nothing, ms an item", spread(mapping[name])) for name in ENGINES]
    rows += [(f"{name}: scoring {shards} shards of 10 images, s", spread(scoring[name])) for name in ENGINES]
    rows += [(f"ratio_to_local, {name}: scoring", spread(ratios[name])) for name in ratios]
    result: dict[str, Any] = {f"ms_{name}": statistics.median(mapping[name]) for name in ENGINES}
    result |= {f"ratio_to_local_{name}": statistics.median(ratios[name]) for name in ratios}
    if not options.quick:
        for name in ENGINES:
            told = _nothing(name, SCHEDULED)
            peaks = ", ".join(f"{process} {mib:.0f} MiB" for process, mib in told["memory"].items())
            rows.append((f"{name}: {SCHEDULED:,} items of nothing", f"{told['seconds']:.1f} s; at most {peaks}"))
            result |= {f"scheduled_{name}_seconds": told["seconds"], f"scheduled_{name}_memory": told["memory"]}
    tell("engines", rows, result, options.json)


def _nothing(name: str, items: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("noop_map.py")), name, str(WORKERS), str(items)]
    told: dict[str, Any] = json.loads(timed(command).stdout.splitlines()[-1])
    return told


def _score(recipe: Path, engine: str, shards: int) -> float:
    """Seconds from the first shard's start to the last one's end."""
    corpus = recipe.parent / "corpus"
    shutil.rmtree(corpus / "scores", ignore_errors=True)
    log = corpus / "logs" / "score.jsonl"
    log.unlink(missing_ok=True)
    timed([*TAMIS, "score", str(recipe), "--engine", engine, "--workers", str(WORKERS)])
    lines = [line for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "item" in line]
    assert len(lines) == shards
    assert all(line["ok"] and line["worker"]["engine"] == engine for line in lines)
    ends = [datetime.fromisoformat(line["time"]).timestamp() for line in lines]
    starts = [end - float(line["seconds"]) for end, line in zip(ends, lines, strict=True)]
    return max(ends) - min(starts)


def _corpus(folder: Path, shards: int) -> Path:
    write_corpus(folder, "engines", shards, 10, photograph)
    recipe = folder / "recipe.yaml"
    told = {
        "name": "engines",
        "corpus": "corpus",
        "source": {"kind": "shards", "path": "none/*.tar"},
        "scores": {"look": {}, "hashes": {}},
        "engine": {"batch_size": 10},
    }
    recipe.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return recipe


if __name__ == "__main__":
    main()
