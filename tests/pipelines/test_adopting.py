"""Adopting: foreign tars get their index in the corpus, are left as they are, and every sample is accounted for."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from tamis.corpora.corpus import create
from tamis.corpora.errors import ConfigError, DataError, FatalError
from tamis.corpora.index import Index, read_index
from tamis.corpora.store import RangeReader
from tamis.corpora.tables import read_meta, read_table
from tamis.corpora.tars import walk
from tamis.pipelines.ingest import ingest
from tamis.pipelines.job import Job

from ..corpora.foreign_tars import img2dataset_sample, img2dataset_tar, packed, picture
from .running import Inline, files, job_for


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of four samples; the last two tars each repeat a sample of the first."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for number, samples in enumerate(([0, 1, 2, 3], [4, 1, 5, 6], [7, 8, 0, 9])):
        img2dataset_tar(folder / f"{number:05d}.tar", samples)
    return folder


def indexes(job: Job) -> list[Index]:
    return [read_index(job.store, shard) for shard in job.corpus().shards()]


def ledger(job: Job, shard: str) -> pa.Table:
    return read_table(job.store, f"fetch/{shard}.parquet")[0]


def test_every_sample_is_in_an_index_or_told_in_the_ledger(tmp_path: Path, tars: Path) -> None:
    before = files(tars)
    job = job_for(tmp_path, {})
    result = ingest(job)
    assert files(tars) == before, "foreign tars are left as they are"
    assert (result.done, result.before, result.poison) == (3, 0, ())
    assert [index.table["key"].to_pylist() for index in indexes(job)] == [
        [f"{number:09d}" for number in numbers] for numbers in ([0, 1, 2, 3], [4, 5, 6], [7, 8, 9])
    ]
    assert [index.table["record"].to_pylist() for index in indexes(job)] == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]]
    assert ledger(job, "00001")["reason"].to_pylist() == [None, "duplicate_uid", None, None]
    assert ledger(job, "00002")["reason"].to_pylist() == [None, None, "duplicate_uid", None]
    assert sum(ledger(job, shard).num_rows for shard in job.corpus().shards()) == 12
    assert result.tally.units == 12
    assert result.tally.bytes_in == sum(len(data) for data in before.values()), "every tar is read once"


def test_pictures_are_read_from_the_foreign_tars(tmp_path: Path, tars: Path) -> None:
    job = job_for(tmp_path, {})
    ingest(job)
    for index in indexes(job):
        assert index.tar_url(job.store) == f"{tars}/{index.shard}.tar"
        with RangeReader(index.tar_url(job.store)) as reader:
            for row in index.table.to_pylist():
                assert reader.read(row["image_offset"], row["image_size"]) == picture(int(row["key"]))


def test_a_second_run_does_nothing(tmp_path: Path, tars: Path) -> None:
    ingest(job_for(tmp_path, {}))
    before = _but_logs(tmp_path)
    again = Inline()
    result = ingest(job_for(tmp_path, {}, again))
    assert (result.done, result.before, again.ran) == (0, 3, [])
    assert _but_logs(tmp_path) == before


def _but_logs(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder / "corpus").items() if not name.startswith("logs/")}


@pytest.mark.parametrize("stop_after", range(6))
def test_a_run_that_was_stopped_anywhere_ends_as_one_that_was_not(
    stop_after: int, tmp_path: Path, tars: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "tars").symlink_to(tars)
    ingest(job_for(other, {}))
    with pytest.raises(FatalError, match="stopped"):
        ingest(job_for(tmp_path, {}, Inline(stop_after=stop_after)))
    ingest(job_for(tmp_path, {}))
    shards = [
        {n: d for n, d in files(folder / "corpus").items() if n.startswith("shards/")} for folder in (tmp_path, other)
    ]
    assert [list(found) for found in shards] == [[f"shards/{n:05d}.parquet" for n in range(3)]] * 2
    tables = [[index.table for index in indexes(job_for(folder, {}))] for folder in (tmp_path, other)]
    assert tables[0] == tables[1]


def test_uids_stay_unique_when_a_poisoned_shard_comes_later(tmp_path: Path, tars: Path) -> None:
    first = ingest(job_for(tmp_path, {}, Inline(poison=frozenset({"00000"}))))
    assert [item for item, _ in first.poison] == ["00000"]
    kept = indexes(job_for(tmp_path, {}))
    assert [index.table.num_rows for index in kept] == [4, 4]
    ingest(job_for(tmp_path, {}))
    found = indexes(job_for(tmp_path, {}))
    assert [index.table for index in found[1:]] == [index.table for index in kept], "what is finished stays"
    uids = [uid for index in found for uid in index.table["uid"].to_pylist()]
    assert len(uids) == len(set(uids)) == 10
    assert ledger(job_for(tmp_path, {}), "00000")["reason"].to_pylist() == [
        "duplicate_uid",
        "duplicate_uid",
        None,
        None,
    ]


def test_gzipped_tars_are_unpacked_into_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    data = packed(file for number in range(5) for file in img2dataset_sample(number))
    (tmp_path / "tars" / "a.tar.gz").write_bytes(gzip.compress(data))
    (tmp_path / "tars" / "b.tgz").write_bytes(gzip.compress(data.replace(b"http://a", b"http://b"))[:-700])
    job = job_for(tmp_path, {})
    ingest(job)
    whole, cut = indexes(job)
    assert whole.tar.ours
    assert whole.tar.url == f"shards/00000-{whole.tar.blake3[:8]}.tar"
    assert (tmp_path / "corpus" / whole.tar.url).read_bytes() == data
    assert [row["key"] for row in whole.table.to_pylist()] == [f"{number:09d}" for number in range(5)]
    assert 1 <= cut.table.num_rows < 5
    assert ledger(job, "00001")["reason"].to_pylist()[-1] == "truncated_tar"
    with (tmp_path / "corpus" / cut.tar.url).open("rb") as tar, pytest.raises(DataError, match=r"left|ends"):
        list(walk(tar))


def test_kept_fields_become_source_columns(tmp_path: Path, tars: Path) -> None:
    job = job_for(tmp_path, {"source": {"kind": "shards", "path": "tars", "keep": ["similarity", "nsfw"]}})
    ingest(job)
    table = indexes(job)[0].table
    assert table["source.similarity"].to_pylist() == [0.0, 0.125, 0.25, 0.375]
    assert table["source.nsfw"].to_pylist() == [False, True, False, True]


@pytest.mark.parametrize("change", ["keep", "more", "size"])
def test_other_tars_or_fields_than_before_are_refused(change: str, tmp_path: Path, tars: Path) -> None:
    ingest(job_for(tmp_path, {}))
    keep = ["nsfw"] if change == "keep" else []
    if change == "more":
        img2dataset_tar(tars / "00003.tar", [11])
    elif change == "size":
        img2dataset_tar(tars / "00001.tar", range(99))
    with pytest.raises(ConfigError, match="name another folder"):
        ingest(job_for(tmp_path, {"source": {"kind": "shards", "path": "tars", "keep": keep}}))


def test_a_corpus_that_was_begun_with_other_columns_is_refused_before_the_plan(tmp_path: Path, tars: Path) -> None:
    create(job_for(tmp_path, {}).store, "corpus", pa.schema([("nsfw", pa.bool_())]))
    with pytest.raises(ConfigError, match=r"keeps the source columns nsfw \(bool\), this recipe gives \(none\)"):
        ingest(job_for(tmp_path, {}))


def test_broken_tars_are_shards_without_rows(tmp_path: Path, tars: Path) -> None:
    (tars / "00000.tar").write_bytes(b"")
    (tars / "00001.tar").write_bytes(b"no tar" * 500)
    job = job_for(tmp_path, {})
    result = ingest(job)
    assert result.poison == ()
    assert [index.table.num_rows for index in indexes(job)] == [0, 0, 4]
    assert ledger(job, "00000")["reason"].to_pylist() == ["truncated_tar"]
    assert ledger(job, "00001")["reason"].to_pylist() == ["broken_tar"]


def test_a_tar_that_is_gone_is_poison_and_the_others_are_adopted(tmp_path: Path, tars: Path) -> None:
    class Removing(Inline):
        def map(self, *args: object) -> Iterator[object]:  # type: ignore[override]
            (tars / "00001.tar").unlink(missing_ok=True)
            return super().map(*args)  # type: ignore[arg-type]

    result = ingest(job_for(tmp_path, {}, Removing()))
    assert [(item, "No such file" in error) for item, error in result.poison] == [("00001", True)]
    assert job_for(tmp_path, {}).corpus().shards() == ["00000", "00002"]


def test_tars_of_another_file_system_are_adopted_alike(tmp_path: Path, tars: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in sorted(tars.iterdir()):
        memory.pipe_file(f"/adopted/{path.name}", path.read_bytes())
    near, far = (job_for(tmp_path, {"corpus": name}) for name in ("near", "far"))
    far = job_for(tmp_path, {"corpus": "far", "source": {"kind": "shards", "path": "memory://adopted"}})
    ingest(near)
    ingest(far)
    assert [index.table for index in indexes(near)] == [index.table for index in indexes(far)]
    with RangeReader(indexes(far)[0].tar_url(far.store)) as reader:
        row = indexes(far)[0].table.to_pylist()[0]
        assert reader.read(row["image_offset"], row["image_size"]) == picture(0)


def test_adopting_leaves_no_file_open(tmp_path: Path, tars: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    ingest(job_for(tmp_path, {}))
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_drafts_footer_does_not_grow_with_its_samples(tmp_path: Path, tars: Path) -> None:
    """Parquet readers refuse footers of 100 MB: a tar of some hundred thousand samples once stopped the run."""
    job = job_for(tmp_path, {})
    ingest(job)
    assert read_meta(job.store, "plan/draft-00000.parquet").keys() == {"tar"}
