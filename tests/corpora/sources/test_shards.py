"""Foreign tars are adopted as they stand: every sample is in the index or in the ledger, whatever was packed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError, DataError
from tamis.corpora.index import TarFile, schema_with
from tamis.corpora.records import uid_of
from tamis.corpora.sources.samples import groups, hash_tar, key_of, open_tar, unpack
from tamis.corpora.sources.shards import TarSource, adopt, without_duplicates

from ..foreign_tars import Files, img2dataset_sample, img2dataset_tar, packed, picture

NOTHING_KEPT = pa.schema([])


def adopted(
    files: Files | bytes, schema: pa.Schema = NOTHING_KEPT
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return adopt(io.BytesIO(files if isinstance(files, bytes) else packed(files)), schema)


def reasons(ledger: Sequence[dict[str, Any]]) -> list[str | None]:
    return [entry.get("reason") for entry in ledger]


def keys(data: bytes) -> list[str]:
    return [group.key for group in groups(io.BytesIO(data))]


def test_a_tar_of_img2dataset_is_indexed_where_it_lies() -> None:
    data = packed(file for number in range(3) for file in img2dataset_sample(number))
    rows, ledger = adopted(data)
    assert [row["key"] for row in rows] == ["000000000", "000000001", "000000002"]
    for number, row in enumerate(rows):
        image = picture(number)
        assert data[row["image_offset"] : row["image_offset"] + row["image_size"]] == image
        assert data[row["text_offset"] : row["text_offset"] + row["text_size"]] == f"caption {number}".encode()
        assert json.loads(data[row["json_offset"] : row["json_offset"] + row["json_size"]])["key"] == row["key"]
        assert row["uid"] == uid_of("url", f"http://a.example/{number}.jpg", f"caption {number}")
        assert (row["url"], row["caption"]) == (f"http://a.example/{number}.jpg", f"caption {number}")
        assert (row["width"], row["height"], row["format"], row["bytes"]) == (24, 16, "jpeg", len(image))
        assert row["image_sha256"] == hashlib.sha256(image).hexdigest()
        assert row["image_name"] == f"{number:09d}.jpg"
    assert [(row["sample_offset"], row["sample_end"]) for row in rows[1:]] == [
        (before["sample_end"], after["sample_end"]) for before, after in pairwise(rows)
    ]
    assert reasons(ledger) == [None] * 3
    pa.Table.from_pylist(rows, schema=schema_with(NOTHING_KEPT))


def test_a_sample_without_a_url_is_named_by_its_picture() -> None:
    rows, _ = adopted([("1.jpg", picture(1)), ("1.txt", b"a cat"), ("2.png", picture(2, kind="PNG"))])
    assert [row["uid"] for row in rows] == [
        uid_of("image", hashlib.sha256(picture(1)).hexdigest(), "a cat"),
        uid_of("image", hashlib.sha256(picture(2, kind="PNG")).hexdigest(), ""),
    ]
    assert (rows[1]["captions"], rows[1]["text_offset"], rows[1]["json_offset"]) == ([], None, None)


def test_the_caption_of_the_json_stands_in_for_a_missing_text() -> None:
    about = json.dumps({"caption": "from json", "url": "http://a/"}).encode()
    rows, _ = adopted(
        [("1.jpg", picture(1)), ("1.json", about), ("2.jpg", picture(2)), ("2.json", about), ("2.txt", b"t")]
    )
    assert [row["caption"] for row in rows] == ["from json", "t"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("0001.jpg", "0001"),
        ("a/b.c/0001.seg.png", "a/b.c/0001"),
        ("v1.5/train/0001.jpg", "v1.5/train/0001"),
        ("./0001.jpg", "./0001"),
        ("图/一只猫.jpg", "图/一只猫"),
        ("a.b.c", "a"),
    ],
)
def test_the_key_is_webdatasets(name: str, key: str) -> None:
    assert key_of(name) == key
    assert keys(packed([(name, b"")])) == [key]


parts = st.text(st.characters(exclude_characters="./\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
folders = st.lists(st.tuples(parts, parts).map(".".join) | parts, max_size=2)
stems = st.tuples(folders, parts).map(lambda named: "/".join([*named[0], named[1]]))


@settings(max_examples=60, deadline=None)
@given(st.lists(stems, min_size=1, max_size=8, unique=True))
def test_any_keys_with_folders_and_dots_in_them_are_found_again(found: list[str]) -> None:
    files = [(f"{key}{ending}", b"x") for key in found for ending in (".jpg", ".txt", ".mask.png")]
    assert keys(packed(files)) == found


def test_members_that_belong_to_no_sample_do_not_tear_samples_apart() -> None:
    """macOS puts ._ files between the members; archives of folders name the folders too."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in (
            ("README", b"hello"),
            ("set/._1.jpg", b"apple"),
            ("set/1.jpg", picture(1)),
            ("set/._1.txt", b"apple"),
            ("set/1.txt", b"a cat"),
            (".DS_Store", b"apple"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    rows, ledger = adopted(sink.getvalue())
    assert [(row["key"], row["caption"]) for row in rows] == [("set/1", "a cat")]
    assert len(ledger) == 1


def test_the_picture_is_the_member_named_so_not_its_mask() -> None:
    files = [("1.mask.png", picture(8, kind="PNG")), ("1.JPG", picture(1)), ("1.notes.txt", b"no"), ("1.txt", b"yes")]
    rows, _ = adopted(files)
    assert (rows[0]["image_name"], rows[0]["caption"]) == ("1.JPG", "yes")
    assert adopted(files[:1])[0][0]["image_name"] == "1.mask.png"


def test_samples_that_cannot_be_used_are_told_with_their_key() -> None:
    files = [
        ("ok.jpg", picture(1)),
        ("video.mp4", b"x"),
        ("video.txt", b"no picture"),
        ("html.jpg", b"<!doctype html><html>"),
        ("empty.jpg", b""),
        ("cut.jpg", picture(2)[:-200]),
        ("last.png", picture(3, kind="PNG")),
    ]
    rows, ledger = adopted(files)
    assert [row["key"] for row in rows] == ["ok", "last"]
    assert [(entry["url"], entry.get("reason")) for entry in ledger] == [
        ("", None),
        ("video", "no_image"),
        ("html", "html"),
        ("empty", "empty"),
        ("cut", "truncated"),
        ("", None),
    ]
    assert [entry["slot"] for entry in ledger] == list(range(6))


KEPT = pa.schema([("similarity", pa.float64()), ("WIDTH", pa.int64()), ("nsfw", pa.bool_()), ("exif", pa.string())])


def source_of(**fields: Any) -> dict[str, Any]:
    """What becomes of fields of a ``.json`` as source columns."""
    about = json.dumps(fields).encode()
    [row] = adopted([("1.jpg", picture(1)), ("1.json", about)], KEPT)[0]
    pa.Table.from_pylist([row], schema=schema_with(KEPT))
    return {name: row[f"source.{name}"] for name in KEPT.names}


def test_source_columns_are_typed_and_what_does_not_fit_is_null() -> None:
    none = dict.fromkeys(KEPT.names)
    assert source_of(similarity=0.5, WIDTH=7, nsfw=True, exif="x") == {
        "similarity": 0.5,
        "WIDTH": 7,
        "nsfw": True,
        "exif": "x",
    }
    assert source_of(similarity=3)["similarity"] == 3.0
    assert source_of(similarity="0.5", WIDTH=7.5, nsfw=1, exif=None) == none
    assert source_of(similarity=True, WIDTH=True, nsfw="true") == none
    assert source_of(similarity=float("nan"), WIDTH=1 << 63) == none
    assert source_of(similarity=10**400, WIDTH=-(10**400)) == none
    assert source_of(exif={"a": [1, "图"]})["exif"] == '{"a": [1, "图"]}'


def test_half_a_surrogate_pair_in_one_json_costs_nothing() -> None:
    about = b'{"caption": "a \\ud83d cat", "url": "http://a/\\udfff", "exif": "\\ud800"}'
    rows, _ = adopted([("1.jpg", picture(1)), ("1.json", about)], KEPT)
    assert (rows[0]["caption"], rows[0]["url"], rows[0]["source.exif"]) == ("a ? cat", "http://a/?", "?")
    assert rows[0]["uid"] == uid_of("url", "http://a/?", "a ? cat")


@pytest.mark.parametrize(
    "about", [b"", b"not json", b"[1]", b'"x"', b"[" * 100_000, b"1" * 9999, b"{" + b" " * (1 << 20) + b"}"]
)
def test_a_json_that_is_no_object_has_no_fields(about: bytes) -> None:
    rows, ledger = adopted([("1.jpg", picture(1)), ("1.json", about), ("1.txt", b"a cat")], KEPT)
    assert (rows[0]["caption"], rows[0]["source.WIDTH"]) == ("a cat", None)
    assert reasons(ledger) == [None]


def test_text_that_is_not_utf8_loses_its_bad_bytes_and_nothing_else() -> None:
    assert adopted([("1.jpg", picture(1)), ("1.txt", b"caf\xe9")])[0][0]["caption"] == "caf\ufffd"


WHOLE = packed(file for number in range(3) for file in img2dataset_sample(number))
ROWS = adopted(WHOLE)[0]
STARTS = [row["sample_offset"] for row in ROWS]
ENDS = [row["text_offset"] + row["text_size"] for row in ROWS]
"""Where the data of each sample's last member ends."""


@pytest.mark.parametrize("at", [*range(STARTS[1], ROWS[2]["sample_end"], 256), STARTS[1] + 1, STARTS[2] + 511])
def test_a_cut_costs_the_sample_that_was_cut_and_is_told(at: int) -> None:
    """And the first one, while there is neither another to compare it with nor another key after it."""
    rows, ledger = adopted(WHOLE[:at])
    alone = at < ROWS[1]["image_offset"] + ROWS[1]["image_size"]
    assert len(rows) == (0 if alone else sum(end <= at for end in ENDS))
    assert reasons(ledger) == [*[None] * len(rows), "truncated_tar"]


def test_a_tar_without_its_end_keeps_all_its_samples_and_is_told() -> None:
    rows, ledger = adopted(WHOLE[: ROWS[2]["sample_end"]])
    assert [row["key"] for row in rows] == ["000000000", "000000001", "000000002"]
    assert reasons(ledger) == [None, None, None, "truncated_tar"]


def test_damage_in_the_middle_is_told_and_what_came_before_is_kept() -> None:
    rows, ledger = adopted(WHOLE[: STARTS[2]] + b"x" * 512 + WHOLE[STARTS[2] + 512 :])
    assert len(rows) == 2
    assert reasons(ledger) == [None, None, "broken_tar"]


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 99, picture(1)])
def test_what_is_no_tar_is_told(data: bytes) -> None:
    rows, ledger = adopted(data)
    assert rows == []
    assert len(ledger) == 1
    assert ledger[0]["reason"] in {"truncated_tar", "broken_tar"}


def test_of_equal_uids_the_first_wins_and_the_others_are_told() -> None:
    again = [(f"x{name}", data) for name, data in img2dataset_sample(0)]
    rows, ledger = adopted([*img2dataset_sample(0), *img2dataset_sample(1), *again, ("v.mp4", b"x")])
    kept, told = without_duplicates(rows, ledger, {rows[1]["uid"]})
    assert [(row["key"], row["record"]) for row in kept] == [("000000000", 0)]
    assert reasons(told) == [None, "duplicate_uid", "duplicate_uid", "no_image"]
    assert [entry["status"] for entry in told] == ["fetched", "failed", "failed", "failed"]
    assert [entry.get("uid") for entry in told] == [rows[0]["uid"], rows[1]["uid"], rows[0]["uid"], None]


def test_a_tar_is_hashed_whole(tmp_path: Path) -> None:
    path = img2dataset_tar(tmp_path / "a.tar", range(2))
    with open_tar(str(path)) as tar:
        tar.read(100)
        found = hash_tar("url", tar, ours=False)
    data = path.read_bytes()
    assert found == TarFile("url", len(data), blake3(data).hexdigest(), False)


def test_files_are_a_tar_a_folder_or_a_glob_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("2.tar", "10.tar", "3.TAR.GZ", "4.tgz", "1.parquet", "2_stats.json", "2.tar.md5", "5.tar.part"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tar").mkdir()

    def names(path: str) -> list[str]:
        return [Path(name).name for name in TarSource(path).files()]

    assert names(str(tmp_path)) == ["10.tar", "2.tar", "3.TAR.GZ", "4.tgz"]
    assert names(f"{tmp_path}/*.tar") == ["10.tar", "2.tar"]
    assert TarSource(f"{tmp_path}/2.tar").files() == [f"{tmp_path}/2.tar"]
    fsspec.filesystem("memory").pipe_file("/tars/1.tar", b"")
    assert TarSource("memory://tars").files() == ["memory:///tars/1.tar"]


@pytest.mark.parametrize("path", ["none.tar", "none-*.tar", "empty"])
def test_no_tar_at_all_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no tar matches .+; give a tar, a folder of tars or a glob"):
        TarSource(f"{tmp_path}/{path}").files()


def test_kept_fields_are_typed_by_the_first_samples(tmp_path: Path) -> None:
    samples = [
        img2dataset_sample(0, score=None, mixed=1, tags=["a"]),
        img2dataset_sample(1, score=3, mixed="x", tags=["b"]),
        img2dataset_sample(2, score=0.5, mixed=None, tags=[]),
    ]
    (tmp_path / "a.tar").write_bytes(packed(file for sample in samples for file in sample))
    source = TarSource(str(tmp_path), ("score", "mixed", "tags", "WIDTH", "nsfw", "error_message"))
    assert source.schema() == pa.schema(
        [
            ("score", pa.float64()),
            ("mixed", pa.string()),
            ("tags", pa.string()),
            ("WIDTH", pa.int64()),
            ("nsfw", pa.bool_()),
            ("error_message", pa.string()),
        ]
    )


def test_a_field_that_no_sample_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "a.tar", range(2))
    with pytest.raises(ConfigError, match=r"no field 'score' in .+a.tar; it has WIDTH, caption, .+, width"):
        TarSource(str(tmp_path), ("score",)).schema()


@pytest.mark.parametrize("first", [b"", b"no tar" * 999, gzip.compress(b"no tar")], ids=["empty", "broken", "gzip"])
def test_tars_without_samples_are_passed_over_for_the_types(first: bytes, tmp_path: Path) -> None:
    (tmp_path / ("0.tar.gz" if first[:2] == b"\x1f\x8b" else "0.tar")).write_bytes(first)
    img2dataset_tar(tmp_path / "1.tar", range(2))
    assert TarSource(str(tmp_path), ("WIDTH",)).schema() == pa.schema([("WIDTH", pa.int64())])
    (tmp_path / "1.tar").unlink()
    with pytest.raises(ConfigError, match=r"no field 'WIDTH' in .+; it has none"):
        TarSource(str(tmp_path), ("WIDTH",)).schema()


@pytest.mark.parametrize("cut", [0, 400])
def test_a_gzipped_tar_tells_the_types_even_when_it_is_cut(cut: int, tmp_path: Path) -> None:
    data = gzip.compress(img2dataset_tar(tmp_path / "a", range(6)).read_bytes())
    (tmp_path / "0.tar.gz").write_bytes(data[: len(data) - cut])
    assert TarSource(f"{tmp_path}/0.tar.gz", ("WIDTH",)).schema() == pa.schema([("WIDTH", pa.int64())])


def test_without_kept_fields_no_tar_is_opened(tmp_path: Path) -> None:
    assert TarSource(f"{tmp_path}/none.tar").schema() == NOTHING_KEPT


def test_the_fingerprint_follows_names_sizes_and_kept_fields(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "a.tar", range(2))
    found = TarSource(str(tmp_path)).fingerprint()
    assert TarSource(f"{tmp_path}/*.tar").fingerprint() == found
    assert TarSource(str(tmp_path), ("WIDTH",)).fingerprint() != found
    img2dataset_tar(tmp_path / "b.tar", range(1))
    assert TarSource(str(tmp_path)).fingerprint() != found


def gzipped(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_a_gzipped_tar_is_unpacked(tmp_path: Path) -> None:
    target = io.BytesIO()
    unpack(gzipped(tmp_path / "a.tar.gz", gzip.compress(WHOLE[:3000]) + gzip.compress(WHOLE[3000:])), target)
    assert target.getvalue() == WHOLE


def damaged_deflate() -> bytes:
    data = bytearray(gzip.compress(WHOLE))
    data[40:60] = b"\xff" * 20
    with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
        gzip.decompress(bytes(data))
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(WHOLE)[:-9],
        gzip.compress(WHOLE)[:200],
        damaged_deflate(),
        b"not gzip",
        gzip.compress(WHOLE)[:-8] + bytes(8),
    ],
)
def test_a_broken_gzip_is_a_data_error(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        unpack(gzipped(tmp_path / "a.tar.gz", data), io.BytesIO())
    assert raised.value.reason == "truncated_tar"


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    class Counting(io.RawIOBase):
        size = 0

        def write(self, data: Any) -> int:
            self.size += len(data)
            return len(data)

    target = Counting()
    bomb = gzipped(tmp_path / "a.tar.gz", gzip.compress(bytes(200 << 20), 1))
    with pytest.raises(DataError, match="unpacks to more than 64 times its size") as raised:
        unpack(bomb, target)  # type: ignore[arg-type]
    assert raised.value.reason == "too_large"
    assert target.size < 100 << 20
