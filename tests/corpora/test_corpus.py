"""A corpus says what it is, and refuses to be taken for another; its index names the tar that it describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tamis.corpora.corpus import MANIFEST, create, open_corpus, storable
from tamis.corpora.errors import ConfigError, FatalError
from tamis.corpora.index import TarFile, check_digest, digest_of, read_index, schema_with, write_index
from tamis.corpora.store import Store

KEPT = pa.schema([("n", pa.int64()), ("safe", pa.bool_()), ("score", pa.float64()), ("tag", pa.string())])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_corpus_is_made_once_and_opened_again(store: Store) -> None:
    made = create(store, "laion-mini", KEPT)
    before = store.read(MANIFEST)
    assert create(store, "laion-mini", KEPT) == made
    assert open_corpus(store) == made
    assert (made.name, made.source_schema) == ("laion-mini", KEPT)
    assert store.read(MANIFEST) == before


def test_another_name_or_other_columns_are_refused(store: Store) -> None:
    create(store, "one", KEPT)
    with pytest.raises(ConfigError, match="holds the corpus 'one', the recipe's name is 'two'"):
        create(store, "two", KEPT)
    with pytest.raises(ConfigError, match=r"keeps the source columns n \(int64\), .+, this recipe gives \(none\)"):
        create(store, "one", pa.schema([]))


def test_columns_that_cannot_be_kept_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"bool, int64, double or string; found list"):
        create(store, "one", pa.schema([("x", pa.list_(pa.int64()))]))
    assert store.names("") == []


def test_a_folder_without_a_corpus_says_how_to_make_one(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"no corpus in .+ make one with `tamis fetch RECIPE`"):
        open_corpus(store)


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"{}", b'{"name": "x"}', b"3", b"\xff\xfe"])
def test_a_manifest_of_another_program_is_refused(content: bytes, store: Store) -> None:
    store.put_atomic(MANIFEST, content)
    with pytest.raises(ConfigError, match=r"corpus.json in .+ was not written by tamis"):
        open_corpus(store)


def test_a_newer_format_asks_for_a_newer_tamis(store: Store) -> None:
    create(store, "one", KEPT)
    manifest = json.loads(store.read(MANIFEST))
    store.put_json(MANIFEST, {**manifest, "format_version": 99})
    with pytest.raises(ConfigError, match="has format 99, this tamis reads up to 1: upgrade tamis"):
        open_corpus(store)


def test_shards_are_those_with_an_index_in_the_order_of_their_numbers(store: Store) -> None:
    corpus = create(store, "one", KEPT)
    for name in ("100000", "99999", "00002"):
        store.put_atomic(f"shards/{name}.parquet", b"")
    store.put_atomic("shards/00001-0123abcd.tar", b"")
    assert corpus.shards() == ["00002", "99999", "100000"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pa.int8(), pa.int64()),
        (pa.uint32(), pa.int64()),
        (pa.uint64(), pa.string()),
        (pa.float16(), pa.float64()),
        (pa.decimal128(9, 2), pa.float64()),
        (pa.bool_(), pa.bool_()),
        (pa.large_string(), pa.string()),
        (pa.timestamp("us"), pa.string()),
        (pa.list_(pa.int8()), pa.string()),
        (pa.null(), pa.string()),
    ],
)
def test_source_columns_are_kept_as_four_types(given: pa.DataType, kept: pa.DataType) -> None:
    assert storable(given) == kept


def index_rows(*uids: str) -> list[dict[str, Any]]:
    return [{"uid": uid, "key": uid, "record": n, "captions": ["a"], "source.n": n} for n, uid in enumerate(uids)]


def test_an_index_comes_back_whole_or_by_columns(store: Store) -> None:
    tar = TarFile("shards/00007-abcd.tar", 2048, "ab" * 32)
    digest = write_index(store, "00007", index_rows("aa", "bb"), schema_with(KEPT), tar)
    index = read_index(store, "00007")
    assert (index.shard, index.tar, index.digest, index.num_rows) == ("00007", tar, digest, 2)
    assert index.table.schema == schema_with(KEPT)
    assert index.table["source.n"].to_pylist() == [0, 1]
    assert index.table["width"].to_pylist() == [None, None]
    some = read_index(store, "00007", ["uid", "source.n"])
    assert (some.table.column_names, some.digest) == (["uid", "source.n"], digest)


def test_the_digest_follows_the_tar_and_the_uids_in_their_order() -> None:
    tar, other = TarFile("x", 1, "ab" * 32), TarFile("x", 1, "cd" * 32)
    found = [
        digest_of(tar, ["a", "b"]),
        digest_of(tar, ["b", "a"]),
        digest_of(tar, ["a"]),
        digest_of(other, ["a", "b"]),
    ]
    assert len(set(found)) == 4
    assert digest_of(TarFile("moved", 1, "ab" * 32), ["a", "b"]) == found[0]


def test_a_table_made_for_another_index_is_refused_by_name() -> None:
    check_digest("abcdef", "abcdef", "scores/x.parquet")
    for found in ("12345678aa", None):
        with pytest.raises(FatalError, match=r"^scores/x.parquet was made for index .+ remove that file"):
            check_digest(found, "abcdef", "scores/x.parquet")


def test_our_tars_are_found_from_the_corpus_and_foreign_ones_where_they_are(store: Store) -> None:
    for tar, url in (
        (TarFile("shards/a.tar", 1, ""), f"{store.root}/shards/a.tar"),
        (TarFile("/data/b.tar", 1, "", ours=False), "/data/b.tar"),
    ):
        write_index(store, "00000", index_rows("aa"), schema_with(KEPT), tar)
        assert read_index(store, "00000").tar_url(store) == url
