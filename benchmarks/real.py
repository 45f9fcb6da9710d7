"""Real input: photographs and web images with their captions, served over HTTP by a local server, through `tamis run`.

`--data` names a folder with `flickr8k` (photographs, five captions each) and `llava_pretrain_2k` (web images). Every
request must end in exactly one state and the sums must agree with the ledger; a second run must find nothing to do. With
weights of our own that know drawn scenes only, similarity says nothing here: the policies use text, looks and copies.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from harness import TAMIS, parser, tell, timed
from serving import serving

RECIPE: dict[str, Any] = {
    "name": "real",
    "corpus": "corpus",
    "source": {"kind": "laion", "path": "list.parquet", "keep": ["set"]},
    "fetch": {"allow_hosts": ["127.0.0.1"], "per_host": 32, "timeout_seconds": 10},
    "shards": {"samples": 100},
    "scores": {"look": {}, "text": {}, "hashes": {}, "clip": {"weights": "embedded"}},
    "duplicates": {"exact": {"on": "image_sha256"}},
    "criteria": {
        "big": "min_side >= 100",
        "slim": "aspect <= 3",
        "sharp": "look.blur >= 100",
        "quiet": "text.parrot_rate_fuzzy < 0.3",
        "textless": "not text.has_text",
    },
    "policies": {
        "sifted": "big and slim and sharp and quiet and first_of(duplicates.exact)",
        "no_text": "textless and first_of(duplicates.exact)",
    },
    "exports": [{"policy": "sifted", "to": "export", "samples": 200}],
}


def main() -> None:
    """Serve, run, run again, check."""
    options = parser(str(__doc__)).parse_args()
    if options.data is None:
        raise SystemExit("name the folder of real data with --data or TAMIS_DATA")
    folder = options.work.resolve() / "real"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with serving(options.data.resolve()) as base:
        rows = list(_pairs(options.data.resolve(), base, 60 if options.quick else 1_000))
        pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False), encoding="utf-8")
        first = timed([*TAMIS, "run", str(recipe), "--json"])
        again = timed([*TAMIS, "run", str(recipe), "--json"])
    told, twice = (json.loads(run.stdout.splitlines()[-1]) for run in (first, again))
    _check(told, twice, len(rows), folder)
    table = [
        ("asked", f"{told['asked']:,} = fetched {told['fetched']:,} + failed {json.dumps(told['failed'])}"),
        *(
            (f"policy {name}", f"kept {p['kept']:,}, dropped by {p['dropped_by']}")
            for name, p in told["policies"].items()
        ),
        *((f"{name}: with text, parrot rate > 0", share) for name, share in _text_shares(folder)),
        ("seconds", f"{first.wall:.1f}; again {again.wall:.1f}, nothing to do"),
    ]
    tell("real", table, {k: told[k] for k in ("asked", "fetched", "failed", "policies", "seconds")}, options.json)


def _check(told: dict[str, Any], twice: dict[str, Any], asked: int, folder: Path) -> None:
    assert told["asked"] == asked == told["fetched"] + sum(told["failed"].values())
    assert all(p["kept"] + p["dropped"] == told["samples"] for p in told["policies"].values())
    ledger = pa.concat_tables(
        [pq.read_table(path, columns=["status"]) for path in (folder / "corpus/fetch").glob("*.parquet")]
    )
    assert pc.sum(pc.equal(ledger["status"], "fetched")).as_py() == told["fetched"]
    exported = sum(pq.read_metadata(path).num_rows for path in (folder / "export").glob("*.parquet"))
    assert exported == told["policies"]["sifted"]["kept"] == told["exports"][0]["samples"]
    assert twice["worked"] is False


def _text_shares(folder: Path) -> Iterator[tuple[str, str]]:
    corpus = folder / "corpus"
    tables = []
    for index in sorted((corpus / "shards").glob("*.parquet")):
        family = next((corpus / "scores" / "text").glob(f"*/{index.name}"))
        sets = pq.read_table(index, columns=["source.set"])
        tables.append(
            pq.read_table(family, columns=["has_text", "parrot_rate"]).append_column("set", sets["source.set"])
        )
    table = pa.concat_tables(tables)
    for name in sorted(set(table["set"].to_pylist())):
        rows = table.filter(pc.equal(table["set"], name))
        text = pc.mean(rows["has_text"].cast(pa.float64())).as_py()
        parrots = pc.mean(pc.greater(rows["parrot_rate"], 0).cast(pa.float64())).as_py()
        yield name, f"{text:.1%}, {parrots:.1%} of {rows.num_rows}"


def _pairs(data: Path, base: str, photographs: int) -> Iterator[dict[str, str]]:
    """The pairs of both sets, and a few requests that must fail."""
    with (data / "flickr8k" / "captions_en.tsv").open(encoding="utf-8") as file:
        captions = {
            row[0].split("#")[0]: row[1]
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if len(row) > 1
        }
    images = sorted((data / "flickr8k").rglob("*.jpg"))[:photographs]
    for path in images:
        yield {"URL": f"{base}/{path.relative_to(data)}", "TEXT": captions.get(path.name, ""), "set": "flickr8k"}
    listed = next((data / "llava_pretrain_2k").rglob("*.json"))
    told = {Path(entry["image"]).name: entry for entry in json.loads(listed.read_text(encoding="utf-8"))}
    for path in sorted((data / "llava_pretrain_2k").rglob("*.jpg")):
        entry = told.get(path.name, {})
        caption = entry.get("blip_caption") or next(
            (t["value"] for t in entry.get("conversations", []) if t["from"] == "gpt"), ""
        )
        yield {"URL": f"{base}/{path.relative_to(data)}", "TEXT": caption, "set": "llava"}
    yield {"URL": f"{base}/absent.jpg", "TEXT": "nothing is there", "set": "faults"}
    yield {"URL": f"{base}/README.md", "TEXT": "not an image", "set": "faults"}
    yield {"URL": "http://169.254.169.254/latest/meta-data/", "TEXT": "a cloud's secrets", "set": "faults"}
    yield {"URL": f"{base}/absent.jpg", "TEXT": "nothing is there", "set": "faults"}


if __name__ == "__main__":
    main()
