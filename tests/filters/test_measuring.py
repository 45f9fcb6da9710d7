"""One pass for many scorers: a column is a function of the shard and its scorer alone."""

from __future__ import annotations

import io
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.decoding import decode
from tamis.corpora.errors import DataError, ShardError
from tamis.corpora.metering import Meter
from tamis.corpora.store import RangeReader
from tamis.corpora.tars import TarWriter
from tamis.filters.measuring import NOT_FINITE, Family, Pace, measure
from tamis.filters.scorer import ERROR, FULL, Column, Device, Needs, Pixels, Sample, Scorer

CPU = Device()


@dataclass(frozen=True)
class Mean(Scorer):
    """The mean of the pixels at a scale, and their shape."""

    pixels: int = FULL
    columns = (
        Column("mean", pa.float64(), "grey levels", "mean of all channels"),
        Column("shape", pa.list_(pa.int32()), "px", "height and width as decoded"),
    )

    @property
    def needs(self) -> Needs:
        return Needs(pixels=self.pixels)

    def prepare(self, sample: Sample) -> Any:
        assert sample.pixels is not None
        return float(sample.pixels.mean(dtype=np.float64)), list(sample.pixels.shape[:2])

    def score(self, batch: Sequence[Any | None], device: Device) -> Mapping[str, Sequence[Any]]:
        blanks = [one or (0.0, None) for one in batch]
        return {"mean": np.array([mean for mean, _ in blanks]), "shape": [shape for _, shape in blanks]}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Words(Scorer):
    """How long a caption is, and a vector of its first letters; refuses captions that say so."""

    columns = (
        Column("letters", pa.int32(), "", "letters of the caption"),
        Column("vector", pa.list_(pa.float16(), 3), "", "its first letters"),
    )
    needs = Needs(columns=("caption",))

    def prepare(self, sample: Sample) -> str:
        caption = str(sample.row["caption"])
        if "refuse" in caption:
            raise DataError("refused")
        return caption

    def score(self, batch: Sequence[str | None], device: Device) -> Mapping[str, Sequence[Any]]:
        letters = [[float(ord(letter)) for letter in (caption or "").ljust(3)[:3]] for caption in batch]
        return {"letters": [len(caption or "") for caption in batch], "vector": np.array(letters)}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Given(Scorer):
    """What the caption says, as a number and as a vector."""

    columns = (Column("value", pa.float32(), "", ""), Column("vector", pa.list_(pa.float16(), 2), "", ""))
    needs = Needs(columns=("caption",))

    def prepare(self, sample: Sample) -> float:
        return float(sample.row["caption"])

    def score(self, batch: Sequence[float | None], device: Device) -> Mapping[str, Sequence[Any]]:
        values = [math.nan if value is None else value for value in batch]
        return {"value": values, "vector": [[0.0, value] for value in values]}


@dataclass(frozen=True)
class Encoded(Scorer):
    """How many bytes the picture has."""

    columns = (Column("size", pa.int64(), "bytes", ""),)
    needs = Needs(encoded=True)

    def prepare(self, sample: Sample) -> int:
        return len(sample.encoded)

    def score(self, batch: Sequence[int | None], device: Device) -> Mapping[str, Sequence[Any]]:
        return {"size": batch}


def jpeg(width: int, height: int, seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((width, height)).save(file, "JPEG", quality=90)
    return file.getvalue()


def shard(path: Path, pictures: Sequence[bytes], captions: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """A tar of pictures, and index rows for it."""
    rows = []
    with path.open("wb") as file:
        tar = TarWriter(file)
        for number, picture in enumerate(pictures):
            member = tar.add(f"{number:032x}.jpg", picture)
            rows.append(
                {
                    "uid": f"{number:032x}",
                    "caption": captions[number] if captions else f"caption {number}",
                    "width": 96 + 8 * number,
                    "height": 72,
                    "format": "jpeg",
                    "image_offset": member.offset,
                    "image_size": member.size,
                    "removed": False,
                }
            )
        tar.close()
    return rows


@pytest.fixture
def ten(tmp_path: Path) -> Iterator[tuple[list[dict[str, Any]], RangeReader]]:
    """Ten rows: the fourth's picture is broken, the sixth was removed, the eighth's caption is refused."""
    pictures = [jpeg(96 + 8 * number, 72, number) for number in range(10)]
    pictures[3] = b"no picture at all"
    rows = shard(tmp_path / "a.tar", pictures)
    rows[5]["removed"] = True
    rows[7]["caption"] = "refuse"
    with RangeReader(str(tmp_path / "a.tar")) as reader:
        yield rows, reader


def same(one: Family, other: Family) -> bool:
    vectors = {name: block.tobytes() for name, block in one.vectors.items()}
    return one.table.equals(other.table) and vectors == {n: block.tobytes() for n, block in other.vectors.items()}


ALL: dict[str, Scorer] = {"full": Mean(), "small": Mean(20), "words": Words(), "bytes": Encoded()}


def test_a_meter_hears_what_was_read_and_changes_nothing(ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    meter = Meter()
    found, expected = measure(rows, reader, ALL, CPU, Pace(4, 2), meter), measure(rows, reader, ALL, CPU, Pace(4, 2))
    assert all(same(found[name], expected[name]) for name in ALL)
    assert meter.bytes_in == sum(row["image_size"] for row in rows if not row["removed"])
    assert set(meter.seconds) == {"read", "wait", "decode", "model"}


def test_unreadable_rows_keep_their_place_and_say_why(ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    found = measure(rows, reader, {"full": Mean(), "words": Words()}, CPU, Pace(4, 2))
    mean, words = found["full"].table, found["words"].table
    assert mean["uid"].to_pylist() == words["uid"].to_pylist() == [row["uid"] for row in rows]
    assert mean[ERROR].to_pylist() == [None] * 3 + ["broken_image", None, "removed", None, None, None, None]
    assert words[ERROR].to_pylist() == [None] * 5 + ["removed", None, "refused", None, None]
    for table in (mean, words):
        for name in set(table.column_names) - {"uid", ERROR}:
            assert [value is None for value in table[name].to_pylist()] == table[ERROR].is_valid().to_pylist()
    vectors = found["words"].vectors["vector"]
    assert vectors.dtype == np.float16
    assert vectors.tolist() == [[0, 0, 0] if n in (5, 7) else [99, 97, 112] for n in range(10)]


def test_values_belong_to_their_rows(ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    table = measure(rows, reader, {"full": Mean()}, CPU, Pace(3))["full"].table
    shapes = [None if n in (3, 5) else [72, 96 + 8 * n] for n in range(10)]
    assert table["shape"].to_pylist() == shapes
    means = [v for v in table["mean"].to_pylist() if v is not None]
    assert len(set(means)) == 8


@pytest.mark.parametrize("name", ALL)
def test_a_column_is_the_same_alone_and_in_company(name: str, ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    together = measure(rows, reader, ALL, CPU, Pace(4, 2))
    backwards = measure(rows, reader, dict(reversed(ALL.items())), CPU, Pace(4, 2))
    alone = measure(rows, reader, {name: ALL[name]}, CPU, Pace(4, 2))
    assert same(alone[name], together[name])
    assert same(alone[name], backwards[name])


@pytest.mark.parametrize("pace", [Pace(1, 1), Pace(3, 4), Pace(10, 1), Pace(64, 3)], ids=str)
def test_batch_size_and_threads_do_not_change_what_is_measured(
    pace: Pace, ten: tuple[list[dict[str, Any]], RangeReader]
) -> None:
    rows, reader = ten
    expected, found = measure(rows, reader, ALL, CPU, Pace(4, 2)), measure(rows, reader, ALL, CPU, pace)
    assert all(same(expected[name], found[name]) for name in ALL)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["a cat", "refuse", "x"]), max_size=12), st.integers(1, 5), st.integers(1, 3))
def test_every_row_has_one_place_whatever_the_batches(captions: list[str], batch_size: int, threads: int) -> None:
    rows = [
        {"uid": str(n), "caption": caption, "removed": False, "image_size": None} for n, caption in enumerate(captions)
    ]
    with RangeReader("/dev/null") as reader:
        family = measure(rows, reader, {"words": Words()}, CPU, Pace(batch_size, threads))["words"]
    assert family.table["letters"].to_pylist() == [None if c == "refuse" else len(c) for c in captions]
    assert family.vectors["vector"].shape == (len(captions), 3)


def test_a_batch_is_always_the_same_consecutive_rows(ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    seen: list[list[str | None]] = []

    @dataclass(frozen=True)
    class Spy(Words):
        def score(self, batch: Sequence[str | None], device: Device) -> Mapping[str, Sequence[Any]]:
            seen.append(list(batch))
            return super().score(batch, device)

    measure(rows, reader, {"spy": Spy()}, CPU, Pace(4))
    named = [f"caption {number}" for number in range(10)]
    assert seen == [named[:4], [named[4], None, named[6], None], named[8:]]


def test_pictures_are_decoded_once_a_scale_and_read_once(
    ten: tuple[list[dict[str, Any]], RangeReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, reader = ten
    decoded: Counter[tuple[int, int]] = Counter()
    read: Counter[int] = Counter()
    lock = threading.Lock()
    plain_read = reader.read

    def counting_decode(encoded: bytes, scale: int) -> Pixels:
        with lock:
            decoded[len(encoded), scale] += 1
        return decode(encoded, scale)

    def counting_read(offset: int, size: int) -> bytes:
        with lock:
            read[offset] += 1
        return plain_read(offset, size)

    monkeypatch.setattr("tamis.filters.measuring.decode", counting_decode)
    monkeypatch.setattr(reader, "read", counting_read)
    scorers = {"full": Mean(), "again": Mean(70), "small": Mean(20), "as-small": Mean(24), "bytes": Encoded()}
    measure(rows, reader, scorers, CPU, Pace(4, 2))
    stored = [row["image_size"] for row in rows if not row["removed"]]
    # a shorter side of 72 px: FULL and 70 px decode at 1/1, 20 and 24 px at 1/2
    assert decoded == Counter({(size, scale): 1 for size in stored for scale in (1, 2)})
    assert read == Counter({row["image_offset"]: 1 for row in rows if not row["removed"]})


def test_scorers_without_pixels_read_nothing(tmp_path: Path) -> None:
    rows = shard(tmp_path / "a.tar", [jpeg(96, 72, 0)])
    (tmp_path / "a.tar").write_bytes(b"")
    with RangeReader(str(tmp_path / "a.tar")) as reader:
        assert measure(rows, reader, {"words": Words()}, CPU, Pace())["words"].table["letters"].to_pylist() == [9]
        with pytest.raises(ShardError, match="shorter than its index"):
            measure(rows, reader, {"full": Mean()}, CPU, Pace())


def test_a_shard_without_rows_gives_typed_empty_columns() -> None:
    with RangeReader("/dev/null") as reader:
        family = measure([], reader, {"words": Words()}, CPU, Pace())["words"]
    assert family.table.schema == pa.schema([("uid", pa.string()), ("letters", pa.int32()), (ERROR, pa.string())])
    assert family.table.num_rows == 0
    assert family.vectors["vector"].shape == (0, 3)


def test_values_that_are_no_numbers_are_null_with_an_error(tmp_path: Path) -> None:
    rows = shard(tmp_path / "a.tar", [b""] * 6, ["0.5", "nan", "inf", "-inf", "-2", "1e5"])
    rows[4]["removed"] = True
    with RangeReader("/dev/null") as reader:
        family = measure(rows, reader, {"given": Given()}, CPU, Pace(2))["given"]
    assert family.table["value"].to_pylist() == [0.5, None, None, None, None, 1e5]
    assert family.table[ERROR].to_pylist() == [None, NOT_FINITE, NOT_FINITE, NOT_FINITE, "removed", NOT_FINITE]
    assert family.vectors["vector"].tolist() == [[0, 0.5], *[[0, 0]] * 5]  # float16 ends at 65504


def test_a_bug_in_a_scorer_is_not_taken_for_bad_data(ten: tuple[list[dict[str, Any]], RangeReader]) -> None:
    rows, reader = ten
    rows[2]["caption"] = "no number"
    with pytest.raises(ValueError, match="could not convert"):
        measure(rows, reader, {"given": Given()}, CPU, Pace(4, 2))
