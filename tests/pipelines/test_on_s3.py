"""Everything on S3: lists, tars, the corpus and the export; the bytes are those of a run on this machine's disk."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faults import KINDS, proxied

from tamis.corpora.index import read_index
from tamis.corpora.store import Store
from tamis.pipelines import copying
from tamis.pipelines.explaining import explain
from tamis.pipelines.job import Job
from tamis.pipelines.recipe import parse_recipe
from tamis.pipelines.report.report import write_report
from tamis.pipelines.run import run

from ..corpora.foreign_tars import img2dataset_tar
from ..s3_server import S3, environment
from .conftest import Calm, Site
from .running import Inline, Unwatched, files

FOLDERS = (
    "corpus/shards/",
    "corpus/scores/",
    "corpus/duplicates/",
    "corpus/verdicts/",
    "corpus/selections/",
    "export/",
)


def same(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """What must be the same bytes everywhere."""
    return {path: data for path, data in found.items() if path.startswith(FOLDERS)}


def test_a_run_on_s3_ends_in_the_bytes_of_a_run_on_disk(s3: S3, site: Site, calm: Calm) -> None:
    s3.put("lists/list.parquet", (site.folder / "list.parquet").read_bytes())
    told = site.recipe(Path(), corpus=s3.url("corpus"))
    told["source"]["path"] = s3.url("lists/*.parquet")
    told["exports"][0]["to"] = s3.url("export")
    recipe = parse_recipe(told, Path())
    job = Job(recipe, Store(recipe.corpus), Inline(), Unwatched())
    result = run(job)
    assert not result.poison
    assert same(s3.files()) == same(calm.files)
    assert len(same(s3.files())) > 20
    assert {**result.account, "seconds": 0, "exports": 0} == {**calm.account, "seconds": 0, "exports": 0}
    assert s3.dangling_uploads() == []

    report = write_report(job, result)
    assert b"<html" in s3.files()[report.removeprefix(s3.url() + "/")]
    lines = [json.loads(line) for data in s3.files("corpus/logs").values() for line in data.splitlines()]
    assert {line["stage"] for line in lines} == {"fetch", "score", "dedup", "decide", "export"}
    again = run(job)
    assert not again.worked
    exported = read_index(Store(s3.url("corpus")), "00000").table["uid"].to_pylist()
    known = [explain(job.corpus(), uid) for uid in exported[:3]]
    assert [one["sample"]["uid"] for one in known] == exported[:3]
    assert all(one["scores"] and one["verdicts"] for one in known)


def test_a_corpus_made_through_faults_has_the_bytes_of_one_made_without(
    s3: S3, site: Site, calm: Calm, tmp_path: Path
) -> None:
    rates = dict.fromkeys(KINDS, 0.015) | {"truncated": 0.04}
    with proxied(s3.endpoint, rates, seed=3, delay=0.05) as proxy, s3.behind(proxy.endpoint):
        told = site.recipe(tmp_path, corpus=s3.url("corpus"))
        told["exports"][0]["to"] = s3.url("export")
        recipe = parse_recipe(told, tmp_path)
        result = run(Job(recipe, Store(recipe.corpus), Inline(), Unwatched()))
        counts = proxy.counts()
    assert not result.poison
    assert counts["requests"] - counts["untouched"] >= 10
    assert same(s3.files()) == same(calm.files)
    assert s3.dangling_uploads() == []
    assert environment(s3.endpoint)["AWS_SECRET_ACCESS_KEY"].encode() not in b"".join(s3.files().values())


def adopting(corpus: str, tars: str, to: str) -> Job:
    told: dict[str, Any] = {
        "corpus": corpus,
        "source": {"kind": "shards", "path": tars, "keep": ["WIDTH"]},
        "scores": {"look": {}},
        "policies": {"all": "true"},
        "exports": [{"policy": "all", "to": to, "samples": 5}],
    }
    recipe = parse_recipe(told, Path())
    return Job(recipe, Store(corpus), Inline(), Unwatched())


@pytest.mark.parametrize("piece_bytes", [1000, copying.PIECE_BYTES])
def test_tars_on_s3_are_adopted_and_exported_as_tars_on_disk(
    s3: S3, tmp_path: Path, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PIECE_BYTES", piece_bytes)
    (tmp_path / "tars").mkdir()
    plain = img2dataset_tar(tmp_path / "tars" / "0.tar", range(7)).read_bytes()
    packed = gzip.compress(img2dataset_tar(tmp_path / "1", range(5, 12)).read_bytes())
    (tmp_path / "tars" / "1.tar.gz").write_bytes(packed)
    s3.put("tars/0.tar", plain)
    s3.put("tars/1.tar.gz", packed)
    run(adopting(s3.url("corpus"), s3.url("tars"), s3.url("export")))
    run(adopting(str(tmp_path / "corpus"), str(tmp_path / "tars"), str(tmp_path / "export")))
    assert s3.files("export") == files(tmp_path / "export")
    assert read_index(Store(s3.url("corpus")), "00000").tar.url == s3.url("tars/0.tar")
    assert {"0.tar": plain, "1.tar.gz": packed} == s3.files("tars"), "nothing is written beside foreign tars"


@pytest.mark.parametrize("shuffle", ["none", "full"])
def test_an_export_of_an_export_on_s3_copies_ranges_of_any_length(
    s3: S3, tmp_path: Path, shuffle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PIECE_BYTES", 1500)
    for number in range(2):
        s3.put(
            f"tars/{number}.tar.gz", gzip.compress(img2dataset_tar(tmp_path / "a", range(number, 9, 2)).read_bytes())
        )
    near = adopting(str(tmp_path / "corpus"), s3.url("tars"), str(tmp_path / "export"))
    far = adopting(s3.url("corpus"), s3.url("tars"), s3.url("export"))
    for job in (near, far):
        block = job.recipe.exports[0].model_copy(update={"shuffle": shuffle})
        run(Job(job.recipe.model_copy(update={"exports": (block,)}), job.store, Inline(), Unwatched()))
    assert s3.files("export") == files(tmp_path / "export")
