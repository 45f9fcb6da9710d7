"""Exports: the very bytes of the rows that a policy keeps, in a seeded order, in tars that any reader reads."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from tamis.corpora.errors import ConfigError, FatalError
from tamis.corpora.index import read_index
from tamis.corpora.store import Store
from tamis.corpora.tables import metadata_of, read_table, write_table
from tamis.corpora.tars import walk
from tamis.pipelines import copying
from tamis.pipelines.deciding import decide
from tamis.pipelines.exporting import export
from tamis.pipelines.ingest import ingest
from tamis.pipelines.job import StageResult

from ..corpora.foreign_tars import img2dataset_sample, img2dataset_tar, packed, picture
from .running import Inline, fetch_corpus, files, job_for

KEPT = ["WIDTH"]


def recipe(**export_block: Any) -> dict[str, Any]:
    return {
        "source": {"kind": "shards", "path": "tars", "keep": KEPT},
        "policies": {"everything": "true", "some": "source.WIDTH >= 96", "none": "width > 1000"},
        "exports": [{"policy": "everything", "to": "out", "samples": 5, **export_block}],
    }


def exported(folder: Path, engine: Inline | None = None, **export_block: Any) -> StageResult:
    [result] = export(job_for(folder, recipe(**export_block), engine))
    return result


@pytest.fixture(params=["adopted", "fetched"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A decided corpus of twelve samples in three shards: foreign tars, or our own."""
    job = job_for(tmp_path, recipe())
    if request.param == "adopted":
        (tmp_path / "tars").mkdir()
        for number in range(3):
            img2dataset_tar(tmp_path / "tars" / f"{number:05d}.tar", range(4 * number, 4 * number + 4))
        ingest(job)
    else:
        fetch_corpus(job.store, count=15, samples=5)
    decide(job)
    return tmp_path


def indexed(folder: Path) -> list[dict[str, Any]]:
    """The rows of a corpus, in order."""
    job = job_for(folder, recipe())
    return [row for shard in job.corpus().shards() for row in read_index(job.store, shard).table.to_pylist()]


def shards(folder: Path, where: str = "out") -> list[tuple[Path, list[dict[str, Any]]]]:
    """The tars of an export and the rows of their indexes, in order."""
    found = sorted((folder / where).glob("*.tar"))
    return [(path, pq.read_table(path.with_suffix(".parquet")).to_pylist()) for path in found]


def rows(folder: Path, where: str = "out") -> list[dict[str, Any]]:
    return [row for _, found in shards(folder, where) for row in found]


def number_of(row: dict[str, Any]) -> int:
    return int(row["caption"].split()[1])


def test_an_export_holds_the_very_bytes_where_its_index_says(corpus: Path) -> None:
    result = exported(corpus)
    assert (result.done, result.poison) == (3, ())
    assert [len(found) for _, found in shards(corpus)] == [5, 5, 2]
    for path, found in shards(corpus):
        data = path.read_bytes()
        with path.open("rb") as tar:
            members = {member.name: member for member in walk(tar)}
        assert list(members) == [f"{row['uid']}.{ending}" for row in found for ending in ("jpg", "txt", "json")]
        for place, row in enumerate(found):
            image, text, about = (
                data[row[f"{part}_offset"] : row[f"{part}_offset"] + row[f"{part}_size"]]
                for part in ("image", "text", "json")
            )
            assert image == picture(number_of(row))
            assert text.decode() == row["caption"] == f"caption {number_of(row)}"
            told = json.loads(about)
            assert (told["uid"], told["url"], told["WIDTH"]) == (row["uid"], row["url"], 24 * number_of(row))
            assert (row["key"], row["record"], row["image_name"]) == (row["uid"], place, f"{row['uid']}.jpg")
            assert members[row["image_name"]].offset == row["image_offset"]
            assert row["image_sha256"] == hashlib.sha256(image).hexdigest()
        assert [row["sample_offset"] for row in found[1:]] == [row["sample_end"] for row in found[:-1]]
        assert found[-1]["sample_end"] == len(data) - 1024
    before = {
        row["uid"]: {n: row[n] for n in ("url", "caption", "captions", "width", "source.WIDTH")}
        for row in indexed(corpus)
    }
    assert {row["uid"]: {name: row[name] for name in before[row["uid"]]} for row in rows(corpus)} == before


def test_manifest_sizes_and_metadata_agree_with_the_tars(corpus: Path) -> None:
    exported(corpus)
    manifest = json.loads((corpus / "out/manifest.json").read_text())
    told: list[dict[str, Any]] = [
        {
            "tar": path.name,
            "size": path.stat().st_size,
            "blake3": blake3(path.read_bytes()).hexdigest(),
            "samples": len(found),
        }
        for path, found in shards(corpus)
    ]
    assert manifest["shards"] == told
    assert (manifest["samples"], manifest["bytes"]) == (12, sum(entry["size"] for entry in told))
    assert (manifest["policy"], manifest["shuffle"], manifest["seed"]) == ("everything", "full", 0)
    assert json.loads((corpus / "out/sizes.json").read_text()) == {e["tar"]: e["samples"] for e in told}
    for entry in told:
        meta = metadata_of(pq.read_schema(corpus / "out" / entry["tar"].replace(".tar", ".parquet")))
        assert (meta["tar"]["blake3"], meta["tar"]["size"], meta["samples"]) == (
            entry["blake3"],
            entry["size"],
            entry["samples"],
        )
    assert {path.suffix for path in (corpus / "out").iterdir()} == {".tar", ".parquet", ".json"}, "no spool, no mark"


def test_copied_and_rewritten_samples_are_the_same_bytes(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(corpus)
    monkeypatch.setattr(copying, "_laid_out_by_us", lambda table: False)
    exported(corpus, to="again")
    one, other = files(corpus / "out"), files(corpus / "again")
    assert {n: d for n, d in one.items() if n.endswith(".tar")} == {
        n: d for n, d in other.items() if n.endswith(".tar")
    }
    assert rows(corpus) == rows(corpus, "again")


@pytest.mark.parametrize(("max_read", "max_open"), [(1, 1), (5000, 2)])
def test_how_much_is_read_at_once_does_not_matter(
    max_read: int, max_open: int, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(corpus)
    monkeypatch.setattr(copying, "BUFFER_BYTES", max_read)
    monkeypatch.setattr(copying, "MAX_OPEN_TARS", max_open)
    exported(corpus, to="again")
    assert files(corpus / "out") == files(corpus / "again")


def uids(folder: Path, where: str = "out") -> list[str]:
    return [row["uid"] for row in rows(folder, where)]


def test_unshuffled_rows_are_in_corpus_order(corpus: Path) -> None:
    exported(corpus, shuffle="none")
    assert uids(corpus) == [row["uid"] for row in indexed(corpus)]


def test_a_full_shuffle_is_the_order_of_the_hash_of_seed_and_uid(corpus: Path) -> None:
    for seed in (0, 7):
        exported(corpus, to=f"full-{seed}", seed=seed)
        by_hash = sorted(
            (row["uid"] for row in indexed(corpus)), key=lambda uid: hashlib.md5(f"{seed}:{uid}".encode()).hexdigest()
        )
        assert uids(corpus, f"full-{seed}") == by_hash
    assert uids(corpus, "full-0") != uids(corpus, "full-7")


def test_a_block_shuffle_keeps_each_shard_together(corpus: Path) -> None:
    job = job_for(corpus, recipe())
    blocks = {s: read_index(job.store, s).table["uid"].to_pylist() for s in job.corpus().shards()}
    orders = set()
    for seed in range(5):
        exported(corpus, to=f"block-{seed}", shuffle="block", seed=seed)
        order = sorted(blocks, key=lambda shard: hashlib.md5(f"{seed}:{shard}".encode()).hexdigest())
        assert uids(corpus, f"block-{seed}") == [uid for shard in order for uid in blocks[shard]]
        orders.add(tuple(order))
    assert len(orders) > 1


def test_only_the_rows_of_the_policy_are_exported(corpus: Path) -> None:
    exported(corpus, policy="some")
    assert sorted(number_of(row) for row in rows(corpus)) == sorted(
        number_of(row) for row in indexed(corpus) if row["source.WIDTH"] >= 96
    )


def test_a_policy_that_keeps_nothing_makes_an_empty_export(corpus: Path) -> None:
    result = exported(corpus, policy="none")
    assert (result.done, result.poison) == (0, ())
    manifest = json.loads((corpus / "out/manifest.json").read_text())
    assert (manifest["samples"], manifest["shards"]) == (0, [])
    assert exported(corpus, policy="none").poison == ()


READ = """
import hashlib, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False):
    print(sample["__key__"], sample["txt"].decode(), hashlib.sha256(sample["jpg"]).hexdigest(), sep="\\t")
"""  # in a process of its own, for the library leaves its files open


def test_webdataset_and_tar_read_an_export(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    exported(corpus)
    tars = [str(path) for path, _ in shards(corpus)]
    read = subprocess.run([sys.executable, "-c", READ, *tars], capture_output=True, text=True, check=True).stdout
    assert [line.split("\t") for line in read.splitlines()] == [
        [row["uid"], row["caption"], row["image_sha256"]] for row in rows(corpus)
    ]
    unpacked = tmp_path_factory.mktemp("unpacked")
    for tar in tars:
        subprocess.run(["tar", "-xf", tar, "-C", str(unpacked)], check=True)
    assert len(list(unpacked.iterdir())) == 3 * 12


def test_an_export_that_is_there_is_not_made_again(corpus: Path) -> None:
    exported(corpus)
    before, engine = files(corpus / "out"), Inline()
    result = exported(corpus, engine)
    assert (result.done, result.before, engine.ran) == (0, 3, [])
    assert files(corpus / "out") == before


def test_another_export_replaces_the_one_that_was_there(corpus: Path) -> None:
    exported(corpus, samples=2)
    assert len(shards(corpus)) == 6
    (corpus / "out/README.md").write_text("mine")
    (corpus / "out/mine.parquet").write_text("mine")
    exported(corpus, policy="some", samples=4)
    exported(corpus, policy="some", samples=4, to="fresh")
    fresh = files(corpus / "fresh")
    assert files(corpus / "out") == {**fresh, "README.md": b"mine", "mine.parquet": b"mine"}


@pytest.mark.parametrize("damage", ["00001.tar", "00002.parquet"])
def test_what_was_removed_from_an_export_is_made_again(damage: str, corpus: Path) -> None:
    exported(corpus)
    before = files(corpus / "out")
    (corpus / "out" / damage).unlink()
    exported(corpus)
    assert files(corpus / "out") == before


@pytest.mark.parametrize(
    "content",
    [
        {"notes.txt": b"mine"},
        {"00000.tar": b"mine"},
        {"manifest.json": b'{"version": 3}', "00000.tar": b"mine"},
        {"manifest.json": b"[]", "00000.tar": b"mine"},
        {"manifest.json": b"no json", "00000.tar": b"mine"},
    ],
)
def test_a_folder_that_is_not_ours_is_refused_and_left_alone(content: dict[str, bytes], corpus: Path) -> None:
    (corpus / "out").mkdir()
    for name, data in content.items():
        (corpus / "out" / name).write_bytes(data)
    with pytest.raises(
        ConfigError, match=r"files that no export of tamis wrote \(such as '.+'\): name an empty or a new"
    ):
        exported(corpus)
    assert files(corpus / "out") == content


def test_an_export_into_the_corpus_itself_is_refused(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="no export of tamis wrote"):
        exported(corpus, to="corpus")


@pytest.mark.parametrize("stop_after", range(4))
def test_an_export_that_was_stopped_anywhere_ends_as_one_that_was_not(stop_after: int, corpus: Path) -> None:
    exported(corpus, to="whole")
    if stop_after == 3:
        exported(corpus, policy="some", samples=1)  # an older one to be replaced
    with pytest.raises(FatalError, match="stopped"):
        exported(corpus, Inline(stop_after=stop_after % 3))
    assert not (corpus / "out/manifest.json").exists()
    resumed = Inline()
    exported(corpus, resumed)
    assert files(corpus / "out") == files(corpus / "whole")
    assert resumed.ran == [f"{number:05d}" for number in range(stop_after % 3, 3)]


def test_lists_that_were_left_half_written_are_written_again(corpus: Path) -> None:
    exported(corpus, to="whole")
    [lists] = (corpus / "corpus/exports").iterdir()
    before = files(lists)
    (lists / "plan.json").unlink()
    (lists / "00001.parquet").write_bytes(b"half")
    exported(corpus)
    assert files(corpus / "out") == files(corpus / "whole")
    assert {**files(lists), "plan.json": b""} == {**before, "plan.json": b""}


def test_a_shard_that_cannot_be_written_leaves_the_export_unfinished(corpus: Path) -> None:
    result = exported(corpus, Inline(poison=frozenset({"00001"})))
    assert result.poison == (("00001", "poisoned"),)
    assert not (corpus / "out/manifest.json").exists()
    again = Inline()
    assert exported(corpus, again).poison == ()
    assert again.ran == ["00001"]


def test_a_source_tar_that_became_shorter_is_told(corpus: Path) -> None:
    job = job_for(corpus, recipe())
    url = read_index(job.store, "00001").tar_url(job.store)
    os.truncate(url, 2000)
    result = exported(corpus)
    assert result.poison
    for _, error in result.poison:
        assert url in error
        assert "the file is shorter than its index says: restore it" in error
    assert not (corpus / "out/manifest.json").exists()


def test_a_selection_of_other_rows_is_refused(corpus: Path) -> None:
    store = job_for(corpus, recipe()).store
    [folder] = (corpus / "corpus/selections").glob("everything-*")
    path = f"selections/{folder.name}/00000-00002.parquet"
    table, meta = read_table(store, path)
    write_table(store, path, table.set_column(0, "uid", table["uid"].take(list(range(11, -1, -1)))), meta)
    with pytest.raises(FatalError, match=r"names other rows than .+: run `tamis decide` again"):
        exported(corpus)


def test_what_was_not_decided_is_not_exported(tmp_path: Path) -> None:
    fetch_corpus(job_for(tmp_path, recipe()).store, count=3, samples=5)
    with pytest.raises(ConfigError, match="run `tamis decide RECIPE` first"):
        exported(tmp_path)


def test_exporting_leaves_no_file_open(corpus: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    exported(corpus)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_unpacked_foreign_tars_are_exported_under_our_keys(tmp_path: Path) -> None:
    """Two gzipped tars that both call their samples 000000000 to 000000003."""
    (tmp_path / "tars").mkdir()
    for place in range(2):
        samples = (img2dataset_sample(n, url=f"http://{place}.example/{n}", caption=f"caption {n}") for n in range(4))
        data = packed(file for sample in samples for file in sample)
        (tmp_path / "tars" / f"{place}.tar.gz").write_bytes(gzip.compress(data))
    job = job_for(tmp_path, recipe())
    ingest(job)
    decide(job)
    exported(tmp_path, samples=100)
    [(path, found)] = shards(tmp_path)
    assert len({row["uid"] for row in found}) == 8
    assert [row["key"] for row in found] == [row["uid"] for row in found]
    with path.open("rb") as tar:
        assert {member.name.split(".")[0] for member in walk(tar)} == {row["uid"] for row in found}


def test_object_stores_are_exported_from_and_to(tmp_path: Path) -> None:
    here = job_for(tmp_path, recipe())
    away = job_for(tmp_path, {**recipe(to="memory://away-out"), "corpus": "memory://away-corpus"})
    for job in (here, away):
        fetch_corpus(job.store, count=15, samples=5)
        decide(job)
        export(job)
    memory = fsspec.filesystem("memory")
    found = {name.rsplit("/", 1)[1]: memory.cat_file(name) for name in memory.find("/away-out")}
    assert found == files(tmp_path / "out")
    memory.rm("/away-out", recursive=True)
    memory.rm("/away-corpus", recursive=True)


def test_a_moved_corpus_exports_the_same(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    job = job_for(tmp_path / "one", recipe())
    fetch_corpus(job.store, count=15, samples=5)
    decide(job)
    exported(tmp_path / "one")
    lists = files(tmp_path / "one/corpus/exports")
    (tmp_path / "one/corpus").rename(tmp_path / "two/corpus")
    exported(tmp_path / "two")
    assert files(tmp_path / "two/out") == files(tmp_path / "one/out")
    assert files(tmp_path / "two/corpus/exports") == lists


def test_a_store_of_ours_opens_an_export_like_a_shard(corpus: Path) -> None:
    exported(corpus)
    table = read_table(Store(str(corpus / "out")), "00000.parquet")[0]
    assert table.column_names[:3] == ["uid", "key", "record"]
    assert "source.WIDTH" in table.column_names
