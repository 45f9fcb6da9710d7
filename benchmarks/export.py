"""Exporting: `tamis export` beside `cp` of the same bytes, and beside a sequential reader that writes what it keeps.

A corpus of our own shards (JPEG-sized random bodies, so that nothing compresses) is exported in full, shuffled fully and
not at all. `cp` copies the same tars and is told to reach the disk as an export does (`sync` of its files). The sequential
reader is webdataset's `WebDataset -> TarWriter`, the usual resharder. Interleaved; medians of 5.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
import yaml
from generated import write_corpus
from harness import TAMIS, interleaved, paired_ratio, parser, spread, tell, timed

from tamis.corpora.sniffing import ImageHeader

SAMPLES_A_SHARD = 10_000
MEAN_BYTES = 58_000

PEER = """
import sys, webdataset as wds
urls, out = sys.argv[1].split(","), sys.argv[2]
with wds.ShardWriter(out + "/%05d.tar", maxcount=10000, verbose=0) as sink:
    for sample in wds.WebDataset(urls, shardshuffle=False):
        sink.write({k: v for k, v in sample.items() if not k.startswith("__") or k == "__key__"})
"""


def main() -> None:
    """Build the corpus once, then time the sides in turn."""
    options = parser(str(__doc__)).parse_args()
    shards = 1 if options.quick else 13
    folder = options.work.resolve() / f"export-{shards}"
    write_corpus(folder, "export", shards, SAMPLES_A_SHARD, _body)
    tars = sorted((folder / "corpus" / "shards").glob("*.tar"))
    size = sum(tar.stat().st_size for tar in tars)
    out = folder / "out"

    def fresh(command: list[str], then: list[str] | None = None) -> Callable[[], float]:
        def side() -> float:
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(folder / "corpus" / "exports", ignore_errors=True)
            subprocess.run(["sync"], check=True)
            if command[0] != TAMIS[0] or "-c" in command:
                out.mkdir()
            seconds = timed(command).wall
            return seconds + (timed(then).wall if then else 0.0)

        return side

    def export(shuffle: str) -> Callable[[], float]:
        recipe = _recipe(folder, shuffle)
        timed([*TAMIS, "decide", str(recipe)])
        return fresh([*TAMIS, "export", str(recipe), "--workers", "4"])

    copy = ["cp", *map(str, tars), str(out)]
    sync = ["sync", str(out), *(str(out / tar.name) for tar in tars)]
    reader = [sys.executable, "-W", "ignore", "-c", PEER, ",".join(map(str, tars)), str(out)]
    runs = 3 if options.quick else 5
    found = interleaved(
        runs, full=export("full"), none=export("none"), cp=fresh(copy), cp_sync=fresh(copy, sync), reader=fresh(reader)
    )
    ratios = {name: paired_ratio(found[peer], found["full"]) for name, peer in _RATIOS.items()}
    rows = [
        ("bytes", f"{size / 1e9:.2f} GB, {shards * SAMPLES_A_SHARD:,} samples in {shards} tars; page cache warm"),
        (
            "tamis export, shuffle full",
            f"{spread(found['full'])} s, {size / 1e6 / statistics.median(found['full']):,.0f} MB/s",
        ),
        ("tamis export, shuffle none", f"{spread(found['none'])} s"),
        ("cp", f"{spread(found['cp'])} s"),
        ("cp, then sync of its files", f"{spread(found['cp_sync'])} s"),
        (f"webdataset {webdataset.__version__} reader to ShardWriter", f"{spread(found['reader'])} s"),
        *((name, spread(values)) for name, values in ratios.items()),
    ]
    result: dict[str, Any] = {name: statistics.median(values) for name, values in ratios.items()}
    tell("export", rows, {"bytes": size, **result}, options.json)


_RATIOS = {"ratio_to_cp": "cp", "ratio_to_cp_and_sync": "cp_sync", "ratio_to_sequential_reader": "reader"}


def _recipe(folder: Path, shuffle: str) -> Path:
    path = folder / f"{shuffle}.yaml"
    told = {
        "name": "export",
        "corpus": "corpus",
        "source": {"kind": "laion", "path": "none.parquet"},
        "policies": {"everything": "true"},
        "exports": [{"policy": "everything", "to": "out", "samples": SAMPLES_A_SHARD, "shuffle": shuffle}],
    }
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return path


def _body(rng: np.random.Generator) -> tuple[bytes, ImageHeader]:
    header = ImageHeader(format="jpeg", width=512, height=384, animated=False, extension="jpg", orientation=1)
    return rng.bytes(int(rng.normal(MEAN_BYTES, 9_000))), header


if __name__ == "__main__":
    main()
