"""Adopting what others made: 100 LAION pairs with their real CLIP similarities, and img2dataset's own output.

`--data` names a folder with `tmars/output100.tar` and `flickr8k`. The tars are adopted where they lie and decided on their
own columns (`source.similarity`); the same similarities come in once more by `kind: import`. img2dataset 1.47.0, in its
venv, downloads 200 photographs from a local server; its folder is adopted likewise. Checked: the foreign folders are
untouched, every decision equals one computed from the JSON members by Python, exported image bytes equal the originals.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from harness import TAMIS, parser, tell, timed
from serving import serving

Sample = dict[str, Any]


def main() -> None:
    """Adopt both, check both."""
    options = parser(str(__doc__)).parse_args()
    if options.data is None:
        raise SystemExit("name the folder of real data with --data or TAMIS_DATA")
    folder = options.work.resolve() / "adopt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = _tmars(folder / "tmars", options.data.resolve() / "tmars")
    peer = options.peer_venv.resolve() / "img2dataset" / "bin" / "img2dataset"
    if peer.exists():
        rows += _img2dataset(folder / "img2dataset", options.data.resolve(), str(peer))
    else:
        rows.append(("img2dataset", f"not measured: {peer} is missing (make peers)"))
    tell("adopt", rows, dict(rows), options.json)  # every figure was asserted on the way


def _tmars(folder: Path, foreign: Path) -> list[tuple[str, str]]:
    samples = _samples([foreign / "output100.tar"])
    folder.mkdir()
    similarities = [{"url": s["json"]["url"], "similarity": s["json"]["similarity"]} for s in samples.values()]
    pq.write_table(pa.Table.from_pylist(similarities), folder / "measured.parquet")
    told = _run(
        folder,
        {
            "source": {"kind": "shards", "path": str(foreign / "*.tar"), "keep": ["similarity", "NSFW"]},
            "scores": {"old": {"kind": "import", "path": "measured.parquet", "on": "url", "columns": ["similarity"]}},
            "criteria": {
                "matched": "source.similarity >= 0.32",
                "matched_elsewhere": "old.similarity >= 0.32",
                "safe": "source.NSFW = 'UNLIKELY'",
            },
            "policies": {"kept": "matched and safe", "imported": "matched_elsewhere and safe"},
            "exports": [{"policy": "kept", "to": "export"}],
        },
        foreign,
    )
    wanted = [s for s in samples.values() if s["json"]["similarity"] >= 0.32 and s["json"]["NSFW"] == "UNLIKELY"]
    assert told["policies"]["kept"]["kept"] == told["policies"]["imported"]["kept"] == len(wanted), told
    _same_images(folder / "export", wanted)
    return [
        (
            "tmars",
            f"{told['fetched']} of {told['asked']} adopted; kept {len(wanted)} on source.similarity, and by import",
        )
    ]


def _img2dataset(folder: Path, data: Path, peer: str) -> list[tuple[str, str]]:
    folder.mkdir()
    photographs = sorted((data / "flickr8k").rglob("*.jpg"))[:200]
    with serving(data) as base, (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["URL", "TEXT"])
        writer.writerows([f"{base}/{path.relative_to(data)}", f"photograph {path.stem}"] for path in photographs)
        file.flush()
        command = [peer, "--url_list", str(folder / "list.csv"), "--input_format", "csv", "--url_col", "URL"]
        command += ["--caption_col", "TEXT", "--output_format", "webdataset", "--output_folder", str(folder / "made")]
        command += ["--processes_count", "1", "--thread_count", "16", "--number_sample_per_shard", "80"]
        timed([*command, "--disable_all_reencoding", "True"], {"NO_ALBUMENTATIONS_UPDATE": "1"})
    samples = _samples(sorted((folder / "made").glob("*.tar")))
    told = _run(
        folder,
        {
            "source": {"kind": "shards", "path": "made", "keep": ["status", "sha256"]},
            "criteria": {"done": "source.status = 'success'", "named": "source.sha256 = image_sha256"},
            "policies": {"kept": "done and named"},
            "exports": [{"policy": "kept", "to": "export", "samples": 100}],
        },
        folder / "made",
    )
    assert told["asked"] == told["fetched"] == told["policies"]["kept"]["kept"] == len(samples) == len(photographs), (
        told
    )
    _same_images(folder / "export", list(samples.values()))
    return [
        ("img2dataset 1.47.0 output", f"{told['fetched']} of {told['asked']} adopted; its sha256 equal ours; all kept")
    ]


def _run(folder: Path, blocks: dict[str, Any], foreign: Path) -> dict[str, Any]:
    before = _digests(foreign)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({"name": "adopted", "corpus": "corpus", **blocks}, sort_keys=False), encoding="utf-8"
    )
    done = timed([*TAMIS, "run", str(recipe), "--json"])
    assert _digests(foreign) == before, f"{foreign} was written to"
    assert not list((folder / "corpus" / "shards").glob("*.tar")), "a tar was rewritten"
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def _samples(tars: list[Path]) -> dict[str, Sample]:
    """Every sample by its key, read with Python's tarfile."""
    found: dict[str, Sample] = {}
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                body = file.read()
                found.setdefault(f"{path.name}/{key}", {})[ending] = json.loads(body) if ending == "json" else body
    return found


def _same_images(export: Path, wanted: list[Sample]) -> None:
    exported = _samples(sorted(export.glob("*.tar")))
    assert sorted(s["jpg"] for s in exported.values()) == sorted(s["jpg"] for s in wanted), "other image bytes"


if __name__ == "__main__":
    main()
