"""The whole loop on a small planted corpus: it reconciles, resumes, and does again only what changed."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from tamis.corpora.errors import ConfigError
from tamis.corpora.index import read_index
from tamis.filters.scorer import Column, Device, Needs, Sample, Scorer
from tamis.pipelines.deciding import read_decision
from tamis.pipelines.explaining import explain
from tamis.pipelines.ingest import source_of
from tamis.pipelines.job import Job
from tamis.pipelines.report.report import write_report
from tamis.pipelines.run import RunResult, check, run

from .conftest import JobOf, Site
from .running import Inline


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, job_of: JobOf) -> tuple[Path, Job, RunResult]:
    """A finished run: its folder, its job and its result."""
    folder = tmp_path_factory.mktemp("finished")
    job = job_of(folder)
    return folder, job, run(job)


def _written(folder: Path, *names: str) -> dict[str, int]:
    """When each file under the named folders was last written."""
    roots = [folder / "corpus" / name for name in names]
    return {str(path): path.stat().st_mtime_ns for root in roots for path in root.rglob("*") if path.is_file()}


def test_every_request_ends_as_planted_and_the_sums_agree(finished: tuple[Path, Job, RunResult], site: Site) -> None:
    _, _, result = finished
    account = result.account
    planted = Counter(one.outcome for one in site.planted)
    assert account["asked"] == len(site.planted) == account["fetched"] + sum(account["failed"].values())
    assert account["failed"] == {reason: count for reason, count in sorted(planted.items()) if reason != "ok"}
    for policy in account["policies"].values():
        assert policy["kept"] + policy["dropped"] == account["samples"] == account["fetched"] == planted["ok"]
    assert account["exports"][0]["samples"] == account["policies"]["sifted"]["kept"] > 0


def test_only_one_of_each_group_of_byte_identical_copies_is_kept(
    finished: tuple[Path, Job, RunResult], site: Site
) -> None:
    folder, _, _ = finished
    exported = [
        row for path in sorted((folder / "export").glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    hashes = Counter(row["image_sha256"] for row in exported)
    assert max(hashes.values()) == 1
    assert any(one.copy_group for one in site.planted)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset's
def test_an_export_opens_in_webdataset_with_the_bytes_that_were_served(
    finished: tuple[Path, Job, RunResult], site: Site
) -> None:
    folder, job, _ = finished
    tars = [str(path) for path in sorted((folder / "export").glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    rows = [row for path in sorted((folder / "export").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [sample["__key__"] for sample in samples] == [row["uid"] for row in rows]
    sources = {}
    for shard in job.corpus().shards():
        index = read_index(job.store, shard)
        tar = Path(index.tar_url(job.store)).read_bytes()
        for row in index.table.to_pylist():
            sources[row["uid"]] = tar[row["image_offset"] : row["image_offset"] + row["image_size"]]
    for sample, row in zip(samples, rows, strict=True):
        image = sample[row["image_name"].rsplit(".", 1)[1]]
        assert image == sources[row["uid"]]
        assert sample["txt"].decode() == row["caption"]
        Image.open(io.BytesIO(image)).load()


def test_the_export_index_points_at_its_own_members(finished: tuple[Path, Job, RunResult]) -> None:
    folder, _, _ = finished
    for path in sorted((folder / "export").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: (member.offset_data, member.size) for member in tar}
        for row in pq.read_table(path.with_suffix(".parquet")).to_pylist():
            assert members[row["image_name"]] == (row["image_offset"], row["image_size"])
            assert members[f"{row['uid']}.txt"] == (row["text_offset"], row["text_size"])
            assert members[f"{row['uid']}.json"] == (row["json_offset"], row["json_size"])


def test_each_stage_tells_where_its_time_and_bytes_went(finished: tuple[Path, Job, RunResult]) -> None:
    folder, job, result = finished
    told = {stage.stage: stage.told() for stage in result.stages}
    assert {stage: list(one["spent"]) for stage, one in told.items()} == {
        "fetch": ["download", "write"],
        "score": ["read", "wait", "decode", "model", "write"],
        "dedup": ["read", "judge", "write"],
        "decide": ["read", "judge", "write"],
        "export": ["read", "write"],
    }

    def written(*patterns: str) -> int:
        return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern))

    assert {stage: one["bytes"]["out"] for stage, one in told.items()} == {
        "fetch": written("corpus/shards/*.tar"),
        "score": written("corpus/scores/*/*/*.parquet", "corpus/scores/*/*/*.npy"),
        "dedup": written("corpus/duplicates/*/*/*.parquet"),
        "decide": written("corpus/verdicts/*/*.parquet", "corpus/selections/*/*.parquet"),
        "export": written("export/*.tar", "export/*.parquet"),
    }
    indexes = [read_index(job.store, shard).table for shard in job.corpus().shards()]
    images = sum(index["image_size"].to_numpy().sum() for index in indexes)
    assert told["score"]["bytes"]["in"] == images <= told["fetch"]["bytes"]["in"]
    copied = told["export"]["bytes"]["in"]
    assert copied == written("export/*.tar") - 1024 * len(list(folder.glob("export/*.tar"))), "all but the tars' ends"
    for one in told.values():
        assert 0 < one["busy_seconds"] <= 2 * one["seconds"], "two workers, none of them twice"
        assert one["retries"] == one["failed"] == 0


def test_a_second_run_does_no_work_and_says_so(finished: tuple[Path, Job, RunResult]) -> None:
    folder, job, first = finished
    before = _written(folder, "shards", "scores", "duplicates", "verdicts", "selections")
    again = run(job)
    assert not again.worked
    assert _written(folder, "shards", "scores", "duplicates", "verdicts", "selections") == before
    assert {**again.account, "seconds": 0} == {**first.account, "seconds": 0}


def test_one_worker_gives_the_bytes_of_two(
    finished: tuple[Path, Job, RunResult], tmp_path: Path, job_of: JobOf
) -> None:
    folder, _, _ = finished
    run(job_of(tmp_path, workers=1))
    names = ("shards", "scores", "duplicates", "verdicts", "selections")
    for root in (*(f"corpus/{name}" for name in names), "export"):
        expected = {p.relative_to(folder): p.read_bytes() for p in (folder / root).rglob("*") if p.is_file()}
        found = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path / root).rglob("*") if p.is_file()}
        assert found.keys() == expected.keys()
        assert [path for path in found if found[path] != expected[path]] == []


def test_a_changed_criterion_measures_nothing_again(finished: tuple[Path, Job, RunResult], job_of: JobOf) -> None:
    folder, _, _ = finished
    before = _written(folder, "shards", "scores", "duplicates")
    other = job_of(folder, criteria={"big": "min_side >= 200", "lit": "true"}, exports=[])
    stages = {stage.stage: stage.done for stage in run(other).stages}
    assert stages == {"fetch": 0, "score": 0, "dedup": 0, "decide": 1, "export": 0}
    assert _written(folder, "shards", "scores", "duplicates") == before


def test_a_changed_scorer_measures_that_scorer_alone(finished: tuple[Path, Job, RunResult], job_of: JobOf) -> None:
    folder, _, _ = finished
    before = _written(folder, "shards", "scores")
    other = job_of(folder, scores={"look": {"side": 128}, "hashes": {}}, exports=[])
    assert {stage.stage: stage.done for stage in run(other).stages}["score"] == len(other.corpus().shards())
    after = _written(folder, "shards", "scores")
    assert {path: after[path] for path in before} == before
    assert {Path(path).parts[-3] for path in after.keys() - before.keys()} == {"look"}


def test_another_list_in_the_same_folder_is_refused(finished: tuple[Path, Job, RunResult], job_of: JobOf) -> None:
    folder, _, _ = finished
    with pytest.raises(ConfigError, match="was planned from another list, seed or shard size"):
        run(job_of(folder, shards={"samples": 21}))


def test_an_explanation_tells_values_verdicts_copies_and_exports(
    finished: tuple[Path, Job, RunResult], site: Site
) -> None:
    _, job, _ = finished
    copy = next(one for one in site.planted if one.copy_group)
    told = explain(job.corpus(), copy.url(site.url))
    assert told["sample"]["url"] == copy.url(site.url)
    assert told["fetch"]["status"] == "fetched"
    assert {name.split("/")[0] for name in told["scores"]} >= {"look", "hashes"}
    assert len(next(iter(told["duplicates"].values()))) >= 1
    decision = read_decision(job)
    assert decision is not None
    verdicts = told["verdicts"][decision.digest8]
    assert verdicts["kept_by"]["everything"] is True
    assert verdicts["criteria"]["big"] is True
    assert bool(told["exports"]) == verdicts["kept_by"]["sifted"]


def test_an_explanation_of_a_failed_url_tells_the_reason(finished: tuple[Path, Job, RunResult], site: Site) -> None:
    _, job, _ = finished
    missing = next(one for one in site.planted if one.outcome == "http_404")
    assert explain(job.corpus(), missing.url(site.url))["fetch"]["reason"] == "http_404"
    with pytest.raises(ConfigError, match="no uid or URL"):
        explain(job.corpus(), "0" * 32)


@pytest.mark.parametrize(
    ("lacks", "blocks"),
    [
        ("pyarrow", {}),
        ("onnxruntime", {"scores": {"look": {}, "text": {}}}),
        ("s3fs", {"exports": [{"policy": "kept", "to": "s3://bucket/export"}]}),
    ],
)
def test_workers_that_lack_what_the_tasks_import_are_refused_before_anything_is_fetched(
    lacks: str, blocks: dict[str, Any], tmp_path: Path, job_of: JobOf
) -> None:
    light: dict[str, Any] = {"scores": {"look": {}}, "duplicates": {}, "criteria": {}, "policies": {"kept": "true"}}
    job = replace(job_of(tmp_path, **light | {"exports": []} | blocks), engine=Inline(lacks=lacks))
    with pytest.raises(ConfigError, match=f"a worker lacks {lacks}"):
        run(job)
    assert not (tmp_path / "corpus").exists()
    if blocks:
        plain = replace(job_of(tmp_path, **light | {"exports": []}), engine=Inline(lacks=lacks))
        check(plain, source_of(plain.recipe).schema())


def test_a_shard_that_cannot_be_measured_is_null_within_tolerance_and_stops_the_run_beyond_it(
    tmp_path: Path, job_of: JobOf
) -> None:
    def job(failed_shards: int, scores: dict[str, Any]) -> Job:
        blocks: dict[str, Any] = {
            "scores": scores,
            "criteria": {"fine": "fussy.fine"} if scores else {},
            "policies": {"kept": "fine"} if scores else {},
            "exports": [{"policy": "kept", "to": str(tmp_path / "export")}] if scores else [],
            "tolerance": {"failed_shards": failed_shards},
        }
        return replace(job_of(tmp_path, **blocks), engine=Inline())

    run(job(0, {}))
    lost = read_index(job(0, {}).store, "00001").table["uid"].to_pylist()
    fussy = {"fussy": {"kind": f"{Fussy.__module__}:Fussy", "hated": lost[0]}}
    strict = run(job(0, fussy))
    assert [(stage, item) for stage, item, _ in strict.poison] == [("score", "00001")]
    assert "a sample that it cannot bear" in strict.poison[0][2]
    assert strict.stages[-1].stage == "score"
    assert Path(write_report(job(0, fussy), strict)).is_file()
    tolerant = run(job(1, fussy))
    kept = tolerant.account["policies"]["kept"]
    assert kept["not_measurable"] == {"fine": len(lost)}
    assert kept["kept"] == tolerant.account["samples"] - len(lost) == tolerant.account["exports"][0]["samples"]


@dataclass(frozen=True)
class Fussy(Scorer):
    """Fails on one sample in a way that it does not foresee, and so on its shard."""

    hated: str

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("fine", pa.bool_(), "", "always"),)

    @property
    def needs(self) -> Needs:
        return Needs()

    def prepare(self, sample: Sample) -> bool:
        if sample.row["uid"] == self.hated:
            raise RuntimeError("a sample that it cannot bear")
        return True

    def score(self, batch: Sequence[bool | None], device: Device) -> Mapping[str, Sequence[bool]]:
        return {"fine": [True] * len(batch)}
