"""The dedup stage: clusters in as many parts as the corpus is large, made once, read as one table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.errors import ConfigError
from tamis.corpora.grouping import DONE
from tamis.corpora.index import read_index
from tamis.pipelines import dedup as stage
from tamis.pipelines.columns import wide_table
from tamis.pipelines.dedup import corpus_digest, dedup, read_clusters
from tamis.pipelines.explaining import explain
from tamis.pipelines.ingest import ingest
from tamis.pipelines.job import Job

from ..corpora.foreign_tars import img2dataset_sample, packed
from .running import files, job_for

RECIPE: dict[str, Any] = {"duplicates": {"exact": {"on": "image_sha256"}, "named": {"on": "captions"}}}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three tars of which some pictures, with their captions, are in two and some in all."""
    (tmp_path / "tars").mkdir()
    for host, numbers in (("a", range(10)), ("b", range(5)), ("c", range(3, 13))):
        samples = [img2dataset_sample(n, url=f"http://{host}.example/{n}.jpg") for n in numbers]
        (tmp_path / f"tars/{host}.tar").write_bytes(packed(file for sample in samples for file in sample))
    job = job_for(tmp_path, RECIPE)
    ingest(job)
    return job


def clusters(job: Job) -> dict[str, set[tuple[str, ...]]]:
    """The uids of every cluster, by method."""
    found = read_clusters(job, wide_table(job), corpus_digest(job.store, job.corpus().shards()))
    members: dict[str, defaultdict[str, list[str]]] = {}
    for name, table in found.items():
        members[name] = defaultdict(list)
        for row in table.to_pylist():
            members[name][row["cluster"]].append(row["uid"])
        assert all(cluster == min(uids) for cluster, uids in members[name].items())
    return {name: {tuple(sorted(uids)) for uids in by_cluster.values()} for name, by_cluster in members.items()}


def expected(job: Job) -> set[tuple[str, ...]]:
    """The uids with the same picture, as the indexes have them."""
    same = defaultdict(list)
    for shard in job.corpus().shards():
        for row in read_index(job.store, shard).table.to_pylist():
            same[row["image_sha256"]].append(row["uid"])
    return {tuple(sorted(uids)) for uids in same.values() if len(uids) > 1}


@pytest.mark.parametrize(("rows_a_part", "parts"), [(1 << 20, 1), (3, 9)])
def test_clusters_are_those_of_the_indexes_in_any_number_of_parts(
    job: Job, rows_a_part: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ROWS_A_PART", rows_a_part)
    result = dedup(job)
    assert (result.done, result.before, result.tally.units) == (2 * parts, 0, 44)
    assert clusters(job) == {"exact": expected(job), "named": expected(job)}
    assert len(expected(job)) == 10
    [folder] = job.store.folders("duplicates/exact")
    assert job.store.names(f"duplicates/exact/{folder}") == [f"{n:05d}.parquet" for n in range(parts)] + [DONE]
    uid = min(expected(job))[0]
    copies = {name.split("/")[0]: set(uids) for name, uids in explain(job.corpus(), uid)["duplicates"].items()}
    [cluster] = [set(cluster) for cluster in expected(job) if uid in cluster]
    assert copies == {"exact": cluster - {uid}, "named": cluster - {uid}}


def test_what_is_there_is_not_made_again(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "ROWS_A_PART", 8)
    assert dedup(job).done == 8
    made = files(tmp_path / "corpus/duplicates")
    again = dedup(job)
    assert (again.done, again.before) == (0, 8)
    [folder] = (tmp_path / "corpus/duplicates/exact").iterdir()
    (folder / "00002.parquet").unlink()
    (folder / DONE).unlink()
    with pytest.raises(ConfigError, match=r"duplicates\.exact is not made for this corpus as it is"):
        clusters(job)
    mended = dedup(job)
    assert (mended.done, mended.before) == (1, 7)
    assert files(tmp_path / "corpus/duplicates") == made
    (folder / DONE).unlink()
    assert (dedup(job).done, files(tmp_path / "corpus/duplicates")) == (0, made)
