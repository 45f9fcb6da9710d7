"""Lists of URLs: every format and compression gives the same records; what cannot be read is one clear refusal."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import pytest

from tamis.corpora.errors import ConfigError
from tamis.corpora.records import Record
from tamis.corpora.sources import laion
from tamis.corpora.sources.laion import LaionList

URLS = ["http://a.example/1.jpg", "http://b.example/2.jpg?x=1,2", "http://c.example/图.png", "http://d.example/4"]
CAPTIONS = ["a cat, asleep", 'a "quoted" dog\non two lines', "一只猫 🐈 café", "007"]
TABLE = pa.table({"URL": URLS, "TEXT": CAPTIONS, "WIDTH": [640, 480, 320, 1], "similarity": [0.25, 0.5, 0.125, 1.0]})
EXPECTED = [
    Record(url, (caption,), {"WIDTH": width, "similarity": similarity})
    for url, caption, width, similarity in zip(*(column.to_pylist() for column in TABLE.columns), strict=True)
]


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def as_jsonl(table: pa.Table) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()


def as_delimited(table: pa.Table, delimiter: str) -> bytes:
    lines = [table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)]
    quoted = ([f'"{str(value).replace(chr(34), chr(34) * 2)}"' for value in line] for line in lines)
    return "".join(delimiter.join(line) + "\n" for line in quoted).encode()


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": as_parquet,
    "csv": lambda table: as_delimited(table, ","),
    "tsv": lambda table: as_delimited(table, "\t"),
    "jsonl": as_jsonl,
}


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstd,
}


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def read(path: str, **settings: Any) -> list[Record]:
    return list(LaionList(path, **settings).records())


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_and_compression_gives_the_same_records(ending: str, compression: str, tmp_path: Path) -> None:
    data = COMPRESSIONS[compression](FORMATS[ending](TABLE))
    path = write(tmp_path / f"list.{ending}{compression}", data)
    assert read(path, keep=("WIDTH", "similarity")) == EXPECTED


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=list(COMPRESSIONS))
def test_files_compressed_in_parts_are_read_to_their_end(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = as_jsonl(TABLE)
    middle = data.index(b"\n") + 1
    ending = next(name for name, found in COMPRESSIONS.items() if found is compress)
    path = write(tmp_path / f"list.jsonl{ending}", compress(data[:middle]) + compress(data[middle:]))
    assert [record.url for record in read(path)] == URLS


def test_a_glob_reads_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number, ending in enumerate(("csv", "jsonl.gz", "parquet")):
        data = FORMATS[ending.removesuffix(".gz")](TABLE.slice(number, 1))
        write(tmp_path / f"part-{number}.{ending}", gzip.compress(data) if ending.endswith("gz") else data)
    assert [record.url for record in read(f"{tmp_path}/part-*")] == URLS[:3]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path / "list[1].csv", as_delimited(TABLE, ","))
    assert len(read(path)) == len(URLS)


def test_another_file_system_is_read_alike(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/lists/a.csv", as_delimited(TABLE, ","))
    assert [record.url for record in read("memory://lists/*.csv")] == URLS


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_list_of_captions_keeps_them_all(ending: str, tmp_path: Path) -> None:
    table = pa.table({"URL": ["u", "v", "w"], "TEXT": [["one", None, "two"], [], None]})
    records = read(write(tmp_path / f"list.{ending}", FORMATS[ending](table)))
    assert [record.captions for record in records] == [("one", "two"), (), ()]
    assert [record.caption for record in records] == ["one", "", ""]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_null_urls_and_captions_become_empty(ending: str, tmp_path: Path) -> None:
    table = pa.table({"URL": pa.array([None, "u"]), "TEXT": pa.array(["a cat", None])})
    records = read(write(tmp_path / f"list.{ending}", FORMATS[ending](table)))
    assert [(record.url, record.captions) for record in records] == [("", ("a cat",)), ("u", ())]


def test_columns_are_renamed_and_captions_may_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", b"link,alt\nhttp://a/1,x\n")
    assert read(path, columns={"url": "link", "caption": "alt"}) == [Record("http://a/1", ("x",))]
    assert read(path, columns={"url": "link"}) == [Record("http://a/1")]


@pytest.mark.parametrize("first", ["007", "3.10", "true", "2020-01-02", "NA", "null", ""])
def test_captions_of_a_csv_are_text_whatever_they_look_like(first: str, tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", f"URL,TEXT\nu,{first}\nv,{first}\n".encode())
    assert [record.caption for record in read(path)] == [first, first]


def test_dates_in_jsonl_captions_stay_as_written(tmp_path: Path) -> None:
    path = write(tmp_path / "list.jsonl", b'{"URL": "u", "TEXT": "2020-01-02 03:04:05"}\n')
    assert read(path)[0].caption == "2020-01-02 03:04:05"


def test_columns_that_nobody_asked_for_cannot_break_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laion, "_CSV_BLOCKS", pa_csv.ReadOptions(block_size=64))
    monkeypatch.setattr(laion, "_JSON_BLOCKS", pa_json.ReadOptions(block_size=64))
    rows = [*((f"http://a.example/{n}", f"caption {n}", n) for n in range(20)), ("http://a.example/x", "last", "many")]
    csv = write(tmp_path / "l.csv", ("URL,TEXT,n\n" + "".join(f"{u},{t},{n}\n" for u, t, n in rows)).encode())
    lines = "".join(json.dumps({"URL": u, "TEXT": t, "n": n}) + "\n" for u, t, n in rows)
    jsonl = write(tmp_path / "l.jsonl", (lines + '{"URL": "late", "TEXT": "new", "more": {"x": [1]}}\n').encode())
    assert [record.url for record in read(csv)] == [u for u, _, _ in rows]
    assert [record.url for record in read(jsonl)] == [*(u for u, _, _ in rows), "late"]


def test_kept_columns_have_the_types_of_the_first_file(tmp_path: Path) -> None:
    table = pa.table(
        {
            "URL": ["u"],
            "TEXT": ["t"],
            "small": pa.array([7], pa.int8()),
            "hash": pa.array([2**63 + 5], pa.uint64()),
            "half": pa.array([0.5], pa.float32()),
            "exact": pa.array([3], pa.decimal128(5, 2)),
            "safe": [True],
            "day": [date(2020, 1, 2)],
            "words": [["a", "b"]],
        }
    )
    names = tuple(table.column_names[2:])
    found = LaionList(write(tmp_path / "list.parquet", as_parquet(table)), keep=names)
    assert found.schema() == pa.schema(
        [
            ("small", pa.int64()),
            ("hash", pa.string()),
            ("half", pa.float64()),
            ("exact", pa.float64()),
            ("safe", pa.bool_()),
            ("day", pa.string()),
            ("words", pa.string()),
        ]
    )
    assert next(found.records()).extra == {
        "small": 7,
        "hash": str(2**63 + 5),
        "half": 0.5,
        "exact": 3.0,
        "safe": True,
        "day": "2020-01-02",
        "words": '["a", "b"]',
    }


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    table = pa.table({"URL": ["u"] * 3, "TEXT": ["t"] * 3, "similarity": [0.5, float("nan"), float("inf")]})
    records = read(write(tmp_path / "list.parquet", as_parquet(table)), keep=("similarity",))
    assert [record.extra["similarity"] for record in records] == [0.5, None, None]


def test_later_files_fit_the_first_or_are_refused(tmp_path: Path) -> None:
    def table(value: pa.Array) -> bytes:
        return as_parquet(pa.table({"URL": ["u"], "TEXT": ["t"], "n": value}))

    write(tmp_path / "0.parquet", table(pa.array([1], pa.int64())))
    for value in (pa.array([2], pa.int32()), pa.array([2.0]), pa.array(["2"]), pa.array([None])):
        write(tmp_path / "1.parquet", table(value))
        assert [r.extra["n"] for r in read(f"{tmp_path}/*.parquet", keep=("n",))][1] in (2, None)
    write(tmp_path / "1.parquet", table(pa.array(["two"])))
    with pytest.raises(ConfigError, match=r"source.keep: 'n' is string in one file of the list, int64 in the first"):
        read(f"{tmp_path}/*.parquet", keep=("n",))


def test_text_that_is_not_utf8_loses_its_bad_bytes_and_nothing_else(tmp_path: Path) -> None:
    names = pa.array([b"http://a/\xff.jpg", b"http://b/"], pa.binary())
    texts = pa.array([[b"ok", b"caf\xe9"], [b"fine"]], pa.list_(pa.binary()))
    for url, text in ((names, texts), (names.view(pa.string()), texts)):
        path = write(tmp_path / "list.parquet", as_parquet(pa.table({"URL": url, "TEXT": text})))
        records = read(path)
        assert [record.url for record in records] == ["http://a/\ufffd.jpg", "http://b/"]
        assert [record.captions for record in records] == [("ok", "caf\ufffd"), ("fine",)]


def test_a_list_without_rows_has_no_records_but_must_have_the_columns(tmp_path: Path) -> None:
    empty = write(tmp_path / "list.parquet", as_parquet(TABLE.slice(0, 0)))
    assert read(empty) == []
    assert LaionList(empty, keep=("WIDTH",)).schema() == pa.schema([("WIDTH", pa.int64())])
    assert read(write(tmp_path / "list.csv", b"URL,TEXT\n")) == []
    with pytest.raises(ConfigError, match=r"no column 'ALT'; it has URL, TEXT, WIDTH, similarity"):
        read(empty, columns={"url": "URL", "caption": "ALT"})


@pytest.mark.parametrize("ending", FORMATS)
def test_a_missing_column_is_named_with_those_that_are_there(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"list.{ending}", FORMATS[ending](TABLE))
    for settings in ({"columns": {"url": "url"}}, {"keep": ("url",)}):
        with pytest.raises(ConfigError, match=r"no column 'url'; it has URL, TEXT, WIDTH, similarity"):
            read(path, **settings)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.parquet", b"not parquet"),
        ("list.parquet", as_parquet(TABLE)[:-20]),
        ("list.csv", b""),
        ("list.csv", b"URL,TEXT\nu,v\nu,v,w\n"),
        ("list.csv", b"URL,TEXT\nu,caf\xe9\n"),
        ("list.jsonl", b""),
        ("list.jsonl", b'{"URL": "u", "TEXT": "t"}\n{"URL": '),
        ("list.jsonl", b'{"URL": "u", "TEXT": "\\ud800"}\n'),
        ("list.jsonl", b'[{"URL": "u", "TEXT": "t"}]'),
        ("list.csv.gz", gzip.compress(as_delimited(TABLE, ","))[:-30]),
        ("list.csv.gz", b"not gzip at all"),
        ("list.parquet.zst", zstd(as_parquet(TABLE))[:-9]),
        ("list.csv.bz2", bz2.compress(as_delimited(TABLE, ","))[:-9]),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(name: str, data: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(ConfigError, match=rf"{name} cannot be read as its ending says \(.+\)"):
        read(path)


def test_damage_inside_a_parquet_file_is_refused(tmp_path: Path) -> None:
    table = pa.table({"URL": [f"http://a/{n}" for n in range(5000)], "TEXT": ["t"] * 5000})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    data = bytearray(sink.getvalue())
    data[300:400] = bytes(100)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(write(tmp_path / "list.parquet", bytes(data)))


def test_an_unknown_ending_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"list.txt is not parquet, csv, tsv or jsonl"):
        read(write(tmp_path / "list.txt", b"x"))
    for path in (f"{tmp_path}/none.csv", f"{tmp_path}/none-*.csv", str(tmp_path)):
        with pytest.raises(ConfigError, match="no file matches"):
            read(path)


def test_the_fingerprint_follows_content_and_settings_not_the_place(tmp_path: Path) -> None:
    here = write(tmp_path / "a" / "list.csv", b"URL,TEXT\nu,v\n")
    there = write(tmp_path / "b" / "list.csv", b"URL,TEXT\nu,v\n")
    other = write(tmp_path / "c" / "list.csv", b"URL,TEXT\nu,w\n")
    found = LaionList(here).fingerprint()
    assert LaionList(there).fingerprint() == found
    others = [LaionList(other), LaionList(here, {"url": "URL"}), LaionList(here, keep=("TEXT",))]
    assert found not in {one.fingerprint() for one in others}


def test_a_tsv_whose_quotation_marks_run_rows_together_is_refused(tmp_path: Path) -> None:
    """Many tsv lists quote nothing: a caption that begins with a mark swallowed the rows after it."""
    for rows in ('u\t"open\nv\tx\nw\ty\n', 'u\t"one\nv\t"two\nw\ty\n'):
        path = write(tmp_path / "list.tsv", f"URL\tTEXT\n{rows}".encode())
        with pytest.raises(ConfigError, match=r"list.tsv: a quotation mark opens the value '.+' and is not closed in"):
            read(path)
    marks = write(tmp_path / "list.tsv", b'URL\tTEXT\nu\tan "inch" of 5"\nv\t"two\nlines"\nw\t"a\ttab"\n')
    assert [record.caption for record in read(marks)] == ['an "inch" of 5"', "two\nlines", "a\ttab"]
