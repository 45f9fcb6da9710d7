"""Scores measured elsewhere: joined by name, typed as they are, null where nothing is listed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tamis.corpora.errors import ConfigError
from tamis.corpora.store import RangeReader
from tamis.filters.imported import Imported
from tamis.filters.measuring import Pace, measure
from tamis.filters.scorer import Column, Device, identity

TABLE = pa.table(
    {
        "uid": ["aa", "bb", "cc"],
        "similarity": pa.array([0.25, None, 0.5], pa.float32()),
        "language": ["en", "zh", None],
        "boxes": pa.array([[1, 2], [], None], pa.list_(pa.int16())),
    }
)


def parquet(path: Path, table: pa.Table) -> str:
    pq.write_table(table, path)
    return str(path)


def values(scorer: Imported, *names: str, on: str = "uid", batch_size: int = 2) -> list[dict[str, Any]]:
    rows = [{"uid": f"u{n}", "removed": False, "image_size": None, on: name} for n, name in enumerate(names)]
    with RangeReader("/dev/null") as reader:
        table = measure(rows, reader, {"old": scorer}, Device(), Pace(batch_size))["old"].table
    found: list[dict[str, Any]] = table.drop_columns(["uid"]).to_pylist()
    return found


def test_rows_get_what_the_table_lists_for_them(tmp_path: Path) -> None:
    scorer = Imported(parquet(tmp_path / "t.parquet", TABLE), ("language", "similarity", "boxes"))
    unlisted: Mapping[str, Any] = {"language": None, "similarity": None, "boxes": None, "error": "not_listed"}
    assert values(scorer, "cc", "nowhere", "aa", "bb", "cc") == [
        {"language": None, "similarity": 0.5, "boxes": None, "error": None},
        unlisted,
        {"language": "en", "similarity": 0.25, "boxes": [1, 2], "error": None},
        {"language": "zh", "similarity": None, "boxes": [], "error": None},
        {"language": None, "similarity": 0.5, "boxes": None, "error": None},
    ]
    assert values(scorer, "nowhere", "none") == [unlisted, unlisted]


def test_columns_are_typed_as_the_table_has_them(tmp_path: Path) -> None:
    scorer = Imported(parquet(tmp_path / "t.parquet", TABLE), ("similarity", "boxes"))
    assert scorer.columns == (
        Column("similarity", pa.float32(), "", "imported, joined on uid"),
        Column("boxes", pa.list_(pa.int16()), "", "imported, joined on uid"),
    )
    assert scorer.needs.columns == ("uid",)
    assert scorer.needs.pixels is None


def test_a_table_without_rows_lists_nothing(tmp_path: Path) -> None:
    scorer = Imported(parquet(tmp_path / "t.parquet", TABLE.slice(0, 0)), ("similarity",))
    assert values(scorer, "aa", "bb") == [{"similarity": None, "error": "not_listed"}] * 2


@pytest.mark.parametrize("on", ["url", "image_sha256"])
def test_other_names_join_too_and_the_table_may_call_them_its_own(on: str, tmp_path: Path) -> None:
    table = TABLE.rename_columns(["theirs", "similarity", "language", "boxes"])
    scorer = Imported(parquet(tmp_path / "t.parquet", table), ("language",), on, key="theirs")  # type: ignore[arg-type]
    assert values(scorer, "bb", on=on) == [{"language": "zh", "error": None}]


def test_of_repeated_keys_the_first_counts_and_null_is_no_key(tmp_path: Path) -> None:
    table = pa.table({"uid": ["aa", None, "aa"], "n": [1, 2, 3]})
    scorer = Imported(parquet(tmp_path / "t.parquet", table), ("n",))
    assert values(scorer, "aa") == [{"n": 1, "error": None}]
    rows = [{"uid": None, "removed": False, "image_size": None}]
    with RangeReader("/dev/null") as reader:
        found = measure(rows, reader, {"old": scorer}, Device(), Pace())["old"].table
    assert found["error"].to_pylist() == ["not_listed"]


def test_a_glob_is_one_table_and_narrow_types_widen(tmp_path: Path) -> None:
    parquet(tmp_path / "0.parquet", pa.table({"uid": ["aa"], "n": pa.array([1], pa.int32())}))
    parquet(tmp_path / "1.parquet", pa.table({"n": pa.array([1 << 40]), "uid": ["bb"]}))
    parquet(tmp_path / "2.parquet", pa.table({"uid": ["cc"], "n": pa.nulls(1)}))
    scorer = Imported(f"{tmp_path}/*.parquet", ("n",))
    assert scorer.columns[0].type == pa.int64()
    assert [row["n"] for row in values(scorer, "aa", "bb", "cc")] == [1, 1 << 40, None]


def test_csv_is_read_and_keys_of_digits_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("uid,n,other\n007,0.5,x\n7,1.5,y\n")
    assert values(Imported(str(path), ("n",)), "007", "7", "07") == [
        {"n": 0.5, "error": None},
        {"n": 1.5, "error": None},
        {"n": None, "error": "not_listed"},
    ]


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    table = pa.table({"uid": ["aa", "bb"], "n": [float("nan"), 1.0]})
    assert values(Imported(parquet(tmp_path / "t.parquet", table), ("n",)), "aa", "bb") == [
        {"n": None, "error": "not_finite"},
        {"n": 1.0, "error": None},
    ]


def test_the_identity_follows_the_content(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", TABLE)
    before = identity(Imported(path, ("similarity",)), "import", Device())
    again = Imported(parquet(tmp_path / "other.parquet", TABLE), ("similarity",))
    changed = Imported(parquet(tmp_path / "new.parquet", TABLE.slice(1)), ("similarity",))
    assert before["model"] == again.model_digest() != changed.model_digest()
    assert before != identity(Imported(path, ("language",)), "import", Device())


def test_it_travels_to_workers(tmp_path: Path) -> None:
    scorer = Imported(parquet(tmp_path / "t.parquet", TABLE), ("similarity",))
    assert values(pickle.loads(pickle.dumps(scorer)), "aa") == [{"similarity": 0.25, "error": None}]  # noqa: S301


def csv_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa_csv.write_csv(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no file matches"),
        ({"t.parquet": b"not parquet"}, r"t.parquet cannot be imported \("),
        ({"t.csv": b""}, r"t.csv cannot be imported \("),
        ({"t.csv": csv_bytes(TABLE.select(["uid", "language"]))}, "t.csv cannot be imported .*similarity"),
        ({"t.parquet": TABLE.select(["similarity", "language"])}, "has no column uid; it has similarity, language"),
        ({"t.parquet": TABLE.select(["uid", "language"])}, "has no column similarity; it has uid, language"),
        (
            {"a.parquet": TABLE, "b.parquet": pa.table({"uid": ["dd"], "similarity": ["high"]})},
            "disagree on a column's type",
        ),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(
    files: dict[str, bytes | pa.Table], told: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            parquet(tmp_path / name, content)
    with pytest.raises(ConfigError, match=told):
        _ = Imported(f"{tmp_path}/*", ("similarity",)).columns
