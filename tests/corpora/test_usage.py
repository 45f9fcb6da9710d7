"""Usage: the bytes of each top folder, from a listing that ends."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tamis.corpora.store import Store
from tamis.corpora.usage import Usage, usage

from ..s3_server import S3

FILES = {
    "corpus.json": 5,
    "shards/00000.parquet": 10,
    "shards/00000-ab.tar": 1000,
    "scores/look/12345678/00000.parquet": 7,
    "scores/clip/12345678/00000.embedding.npy": 70,
    "scores/clip/12345678/00000.parquet": 700,
    "logs/score.jsonl.d/one": 3,
}


def fill(store: Store) -> Store:
    for path, size in FILES.items():
        store.put_atomic(path, bytes(size))
    return store


@pytest.mark.parametrize("far", [False, True])
def test_folders_are_told_with_all_that_lies_below_them(far: bool, tmp_path: Path) -> None:
    store = fill(Store(f"memory://{secrets.token_hex(8)}" if far else str(tmp_path / "corpus")))
    found = usage(store)
    assert {"shards": found["shards"], "scores": found["scores"], "logs": found["logs"]} == {
        "shards": Usage(2, 1010),
        "scores": Usage(3, 777),
        "logs": Usage(1, 3),
    }


@pytest.mark.parametrize("far", [False, True])
def test_a_listing_ends_where_it_was_told_to_and_says_so(far: bool, tmp_path: Path) -> None:
    store = fill(Store(f"memory://{secrets.token_hex(8)}" if far else str(tmp_path / "corpus")))
    found = usage(store, 2)
    assert found["shards"] == Usage(2, 1010, whole=True), "exactly as many as are listed are all"
    assert (found["scores"].files, found["scores"].whole) == (2, False)
    assert found["scores"].bytes < 777


def test_a_folder_that_is_not_there_uses_nothing(tmp_path: Path) -> None:
    assert usage(Store(str(tmp_path / "none"))) == {}


def test_links_are_not_followed(tmp_path: Path) -> None:
    store = fill(Store(str(tmp_path / "corpus")))
    (tmp_path / "corpus/shards/all").symlink_to(tmp_path)
    assert usage(store)["shards"].files == 3


def test_s3_is_listed_a_page_at_a_time(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(Store(s3.url("corpus")))
    asked: list[str] = []
    ask = store.fs.call_s3

    def two_at_a_time(method: str, **kwargs: str) -> object:
        asked.append(kwargs["Prefix"])
        return ask(method, **kwargs, MaxKeys=2)

    monkeypatch.setattr(store.fs, "call_s3", two_at_a_time)
    assert usage(store)["scores"] == Usage(3, 777)
    assert [prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in asked].count("scores") == 2
    asked.clear()
    assert usage(store, 1)["scores"].whole is False
    assert [prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in asked].count("scores") == 1
