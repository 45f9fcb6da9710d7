"""Deciding: 10 million rows, 4 criteria, 2 policies, in the on-disk layout, through `tamis decide`.

The corpus is synthetic in its values and real in its layout: an index and two score families a shard of 10,000 rows,
written by the store. Its tars are not there: deciding reads none. Nothing is compared: no peer decides over a layout.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from harness import TAMIS, parser, spread, tell, timed

from tamis.corpora.corpus import create
from tamis.corpora.index import TarFile, digest_of, path_of, schema_with
from tamis.corpora.plan import PLAN, Plan, shard_name
from tamis.corpora.store import Store
from tamis.corpora.tables import write_table
from tamis.filters.registry import build_scorer
from tamis.filters.scorer import Device, digest8, identity

RECIPE: dict[str, Any] = {
    "name": "decide",
    "corpus": "corpus",
    "source": {"kind": "laion", "path": "none.parquet"},
    "scores": {"clip": {"weights": "embedded"}, "hashes": {}},
    "criteria": {
        "big": "min_side >= 200",
        "slim": "aspect <= 3",
        "matched": "clip.similarity >= 0.28",
        "told": "length(caption) > 5 and not clip.truncated",
    },
    "policies": {"basic": "big and slim and told", "sifted": "big and slim and matched and told"},
}
SHARD_ROWS = 10_000


def main() -> None:
    """Build the corpus once, then time the verb."""
    options = parser(str(__doc__)).parse_args()
    rows = 500_000 if options.quick else 10_000_000
    folder = options.work.resolve() / f"decide-{rows}"
    recipe = _corpus(folder, rows)
    seconds, kept = [], {}
    for _ in range(3 if options.quick else 5):
        for made in ("verdicts", "selections"):
            shutil.rmtree(folder / "corpus" / made, ignore_errors=True)
        command = [*TAMIS, "run", str(recipe), "--from", "decide", "--to", "decide", "--json"]
        timing = timed(command)
        told = json.loads(timing.stdout.splitlines()[-1])
        assert all(p["kept"] + p["dropped"] == rows for p in told["policies"].values()), told
        kept = {name: policy["kept"] for name, policy in told["policies"].items()}
        seconds.append(timing.wall)
    table = [
        ("rows", f"{rows:,} in {rows // SHARD_ROWS:,} shards, 4 criteria, 2 policies"),
        ("command", "tamis run recipe.yaml --from decide --to decide --workers 2 (whole process)"),
        ("seconds", spread(seconds)),
        ("rows a second", f"{rows / statistics.median(seconds):,.0f}"),
        ("kept", ", ".join(f"{name} {count:,}" for name, count in kept.items())),
    ]
    tell("decide", table, {"rows": rows, "seconds": statistics.median(seconds)}, options.json)


def _corpus(folder: Path, rows: int) -> Path:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        shutil.rmtree(folder, ignore_errors=True)
        store = Store(str(folder / "corpus"))
        store.check_writable()
        create(store, "decide", pa.schema([]))
        for number in range(rows // SHARD_ROWS):
            _shard(store, number)
        plan = Plan("generated", requests=rows, slots=rows, shards=rows // SHARD_ROWS, refused=0)
        store.put_json(PLAN, asdict(plan))
        recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False), encoding="utf-8")
    return recipe


def _shard(store: Store, number: int) -> None:
    rng = np.random.default_rng(number)
    name = shard_name(number)
    index = _index_rows(rng, number)
    tar = TarFile(f"shards/{name}-00000000.tar", 0, hashlib.sha256(name.encode()).hexdigest())
    digest = digest_of(tar, index["uid"].to_pylist())
    write_table(store, path_of(name), index, {"shard": name, "digest": digest, "tar": tar.__dict__})
    nothing = pa.nulls(SHARD_ROWS, pa.string())
    ledger = pa.table({"status": ["fetched"] * SHARD_ROWS, "reason": nothing, "supersedes": nothing})
    write_table(store, f"fetch/{name}.parquet", ledger, {})
    for family, settings in RECIPE["scores"].items():
        kind, scorer = build_scorer(family, settings)
        identity8 = digest8(identity(scorer, kind, Device()))
        columns = _family_rows(rng, family, index)
        write_table(store, f"scores/{family}/{identity8}/{name}.parquet", columns, {"index": digest})


def _index_rows(rng: np.random.Generator, number: int) -> pa.Table:
    schema = schema_with(pa.schema([]))
    uids = [rng.bytes(16).hex() for _ in range(SHARD_ROWS)]
    width, height = rng.integers(100, 1600, SHARD_ROWS), rng.integers(100, 1600, SHARD_ROWS)
    values: dict[str, Any] = {
        "uid": uids,
        "key": uids,
        "record": np.arange(SHARD_ROWS),
        "url": [f"http://images.example/{number}/{row}.jpg" for row in range(SHARD_ROWS)],
        "caption": [
            "a caption of the usual length, number " * int(rng.integers(0, 3)) + str(row) for row in range(SHARD_ROWS)
        ],
        "width": width,
        "height": height,
        "min_side": np.minimum(width, height),
        "max_side": np.maximum(width, height),
        "aspect": np.maximum(width, height) / np.minimum(width, height),
        "image_sha256": [rng.bytes(32).hex() for _ in range(SHARD_ROWS)],
        "sample_offset": np.arange(SHARD_ROWS) * 61_440,
        "removed": np.zeros(SHARD_ROWS, bool),
    }
    columns = [
        pa.array(values[field.name]).cast(field.type) if field.name in values else pa.nulls(SHARD_ROWS, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _family_rows(rng: np.random.Generator, family: str, index: pa.Table) -> pa.Table:
    errors = pa.nulls(SHARD_ROWS, pa.string())
    if family == "clip":
        similarity = pa.array(rng.normal(0.25, 0.06, SHARD_ROWS).astype(np.float32), mask=rng.random(SHARD_ROWS) < 0.01)
        truncated = pa.array(rng.random(SHARD_ROWS) < 0.02)
        return pa.table({"uid": index["uid"], "similarity": similarity, "truncated": truncated, "error": errors})
    phash = pa.array([rng.bytes(8).hex() for _ in range(SHARD_ROWS)])
    return pa.table({"uid": index["uid"], "phash": phash, "error": errors})


if __name__ == "__main__":
    main()
