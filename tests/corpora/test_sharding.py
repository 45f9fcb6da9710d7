"""A shard being filled: whatever the order of the responses, one tar, one index, and a ledger row for every slot."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora import sharding
from tamis.corpora.errors import DataError
from tamis.corpora.fetching import Fetched
from tamis.corpora.index import digest_of, read_index
from tamis.corpora.opt_outs import OptOuts
from tamis.corpora.sharding import OpenShard, member_json
from tamis.corpora.store import Store
from tamis.corpora.tables import read_table

from .foreign_tars import picture

SOURCE = pa.schema([("score", pa.float64()), ("tag", pa.string()), ("uid", pa.string())])
BODIES: list[tuple[bytes | None, str | None]] = [
    (picture(0), None),
    (None, "timeout"),
    (picture(2, kind="PNG"), None),
    (b"<html>", "html"),
    (picture(4)[:-300], "truncated"),
    (picture(0), None),
    (b"", "empty"),
]
"""What comes for each slot, and why it is no sample."""

SAMPLES = [slot for slot, (_, reason) in enumerate(BODIES) if reason is None]


def slots() -> list[dict[str, Any]]:
    return [
        {
            "slot": slot,
            "uid": f"{slot:032x}",
            "url": f"http://a.example/{slot}?图",
            "captions": [f"caption {slot}", "一只猫"] if slot else None,
            "source.score": slot / 2,
            "source.tag": None,
            "source.uid": "theirs",
        }
        for slot in range(len(BODIES))
    ]


def filled(store: Store, order: list[int]) -> dict[str, Any]:
    shard = OpenShard(store, "00003", slots(), SOURCE)
    for slot in order:
        assert not shard.complete
        body, reason = BODIES[slot]
        told = reason if body is None else None
        size = len(body or b"")
        shard.take(Fetched(slot, f"http://a.example/{slot}", body, told, 200, 1, 0.5, size, ""), slot)
    assert shard.complete
    return shard.close()


def everything(store: Store) -> dict[str, bytes]:
    return {name: store.read(f"shards/{name}") for name in store.names("shards")}


def test_samples_stand_in_slot_order_with_their_three_members(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    filled(store, [6, 2, 0, 5, 1, 4, 3])
    index = read_index(store, "00003")
    rows = index.table.to_pylist()
    assert [row["uid"] for row in rows] == [f"{slot:032x}" for slot in SAMPLES]
    assert [row["record"] for row in rows] == [0, 1, 2]
    data = store.read(index.tar.url)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = [
            f"{slot:032x}.{ending}" for slot in SAMPLES for ending in ("png" if slot == 2 else "jpg", "txt", "json")
        ]
        assert tar.getnames() == names
    for slot, row in zip(SAMPLES, rows, strict=True):
        assert data[row["image_offset"] : row["image_offset"] + row["image_size"]] == BODIES[slot][0]
        assert data[row["text_offset"] : row["text_offset"] + row["text_size"]].decode() == row["caption"]
        assert json.loads(data[row["json_offset"] : row["json_offset"] + row["json_size"]])["uid"] == row["uid"]
        assert (row["width"], row["height"], row["min_side"], row["max_side"], row["aspect"]) == (24, 16, 16, 24, 1.5)
        assert (row["source.score"], row["source.tag"]) == (slot / 2, None)
    assert [row["captions"] for row in rows] == [[], ["caption 2", "一只猫"], ["caption 5", "一只猫"]]
    assert index.digest == digest_of(index.tar, [row["uid"] for row in rows])
    assert index.tar.url == f"shards/00003-{index.tar.blake3[:8]}.tar"


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(BODIES))))
def test_the_order_of_the_responses_does_not_matter(order: list[int]) -> None:
    one, other = Store("memory://one"), Store("memory://other")
    filled(one, order)
    filled(other, sorted(order))
    assert everything(one) == everything(other)


def test_a_resized_image_keeps_the_name_and_size_of_its_original(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    shard = OpenShard(store, "00003", slots()[:4], SOURCE)
    original, small = picture(1, 64, 48), picture(2, 32, 24, kind="WEBP")
    took: list[bytes | DataError | None] = [small, DataError("decoder_crashed"), None, b"no image"]
    for slot, resized in enumerate(took):
        shard.take(Fetched(slot, "", original, None, 200, 1, 0.5, len(original), ""), slot, resized)
    assert shard.close()["failed"] == {"decoder_crashed": 1, "not_an_image": 1}
    resized_row, whole_row = read_index(store, "00003").table.to_pylist()
    data = store.read(read_index(store, "00003").tar.url)
    told = ("format", "width", "height", "min_side", "original_width", "original_height", "bytes")
    assert [resized_row[name] for name in told] == ["webp", 32, 24, 24, 64, 48, len(small)]
    assert [whole_row[name] for name in told] == ["jpeg", 64, 48, 48, 64, 48, len(original)]
    assert {resized_row["image_sha256"], whole_row["image_sha256"]} == {hashlib.sha256(original).hexdigest()}
    assert resized_row["image_name"] == f"{0:032x}.webp"
    assert data[resized_row["image_offset"] :][: len(small)] == small
    about = json.loads(data[resized_row["json_offset"] :][: resized_row["json_size"]])
    assert [about[name] for name in told[:3]] == ["webp", 32, 24]
    assert (about["original_width"], about["original_height"]) == (64, 48)
    assert about["sha256"] == hashlib.sha256(original).hexdigest()


def test_an_image_that_is_opted_out_is_not_kept_whatever_it_was_resized_to(tmp_path: Path) -> None:
    opt_outs = OptOuts.parse([hashlib.sha256(picture(1)).hexdigest()])
    shard = OpenShard(Store(str(tmp_path)), "00003", slots()[:1], SOURCE, opt_outs)
    shard.take(Fetched(0, "", picture(1), None, 200, 1, 0.5, 9, ""), 0, picture(2))
    assert shard.close()["failed"] == {"opted_out": 1}


def test_every_slot_has_its_row_in_the_ledger(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    account = filled(store, [3, 1, 0, 2, 6, 5, 4])
    ledger = read_table(store, "fetch/00003.parquet")[0].to_pylist()
    assert [row["slot"] for row in ledger] == list(range(7))
    assert [row["reason"] for row in ledger] == [reason for _, reason in BODIES]
    assert [row["status"] for row in ledger] == ["failed" if reason else "fetched" for _, reason in BODIES]
    assert [row["uid"] for row in ledger] == [f"{slot:032x}" for slot in range(7)]
    assert [row["caption"] for row in ledger] == ["", *(f"caption {slot}" for slot in range(1, 7))]
    assert account == {
        "asked": 7,
        "fetched": 3,
        "failed": {"empty": 1, "html": 1, "timeout": 1, "truncated": 1},
        "bytes": sum(len(body or b"") for body, _ in BODIES),
        "written": next((tmp_path / "shards").glob("*.tar")).stat().st_size,
    }


def test_a_shard_in_which_nothing_came_is_an_empty_tar_with_an_index(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    shard = OpenShard(store, "00000", slots()[:2], SOURCE)
    for slot in range(2):
        shard.take(Fetched(slot, "", None, "dns", None, 3, 1.0, 0, ""), slot)
    assert shard.close()["failed"] == {"dns": 2}
    index = read_index(store, "00000")
    assert (index.num_rows, index.tar.size) == (0, 1024)


@pytest.mark.parametrize("step", ["write_table", "write_index"])
def test_without_its_index_a_shard_is_not_done(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError("killed here")

    monkeypatch.setattr(sharding, step, fail)
    with pytest.raises(OSError, match="killed here"):
        filled(store, list(range(7)))
    monkeypatch.undo()
    assert not store.exists("shards/00003.parquet")
    filled(store, list(range(7)))
    fresh = Store("memory://fresh")
    filled(fresh, list(range(7)))
    assert everything(store) == everything(fresh)


def test_the_json_member_is_strict_and_our_names_come_before_theirs(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    filled(store, list(range(7)))
    row = read_index(store, "00003").table.to_pylist()[1]
    told = json.loads(member_json(row), parse_constant=pytest.fail)
    assert (told["uid"], told["key"], told["score"], told["tag"]) == (row["uid"], row["uid"], 1.0, None)
    assert (told["status"], told["width"], told["original_height"]) == ("success", 24, 16)
    assert told["captions"] == ["caption 2", "一只猫"]
    assert "一只猫".encode() in member_json(row)
