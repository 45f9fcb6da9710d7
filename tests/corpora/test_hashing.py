"""The hash of Arrow values: what a plain program over one value at a time computes, wherever the value lies."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora import hashing
from tamis.corpora.hashing import LONG_BYTES, hashed, hashed_rows

MASK = 2**64 - 1
NULL = 0x9E3779B97F4A7C15


def mixed(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def folded(data: bytes) -> int:
    if len(data) > LONG_BYTES:
        return int.from_bytes(blake3(data).digest(8), "little")
    found = len(data) * 0xFF51AFD7ED558CCD & MASK
    for start in range(0, len(data), 8):
        found = (found ^ int.from_bytes(data[start : start + 8], "little")) * 0xFF51AFD7ED558CCD & MASK
        found ^= found >> 32
    return mixed(found)


def plainly(value: Any) -> int:
    """The hash of one value, by the definition."""
    match value:
        case None:
            return NULL
        case bool() | int():
            return mixed(value & MASK)
        case float():
            return mixed(int.from_bytes(struct.pack("<d", value), "little"))
        case str():
            return folded(value.encode())
        case bytes():
            return folded(value)
    return folded(b"".join(plainly(inner).to_bytes(8, "little") for inner in value))


def test_the_hash_of_a_value_never_changes() -> None:
    # Parts that were written by an older version must be those that a newer one would write.
    assert hashed(pa.array([0, 1, -1, 2**40])).tolist() == [
        0,
        6238072747940578789,
        13029008266876403067,
        48217637115032568,
    ]
    assert hashed(pa.array([0.0, 1.5])).tolist() == [0, 16657480027015623784]
    assert hashed(pa.array(["", "a", "8 bytes!", "图" * 5, "x" * 257])).tolist() == [
        0,
        11443235972264375053,
        15964522011743104112,
        3950741803124021009,
        17440210717212326242,
    ]
    assert hashed(pa.array([[1, None], []])).tolist() == [5099077894806969901, 0]
    assert hashed_rows([pa.chunked_array([[1]]), pa.chunked_array([["a"]])], 1).tolist() == [1966993256701201106]


SCALARS = [
    (st.booleans(), pa.bool_()),
    (st.integers(-(2**31), 2**31 - 1), pa.int32()),
    (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    (st.floats(width=32), pa.float32()),
    (st.floats(), pa.float64()),
    (st.text(max_size=30), pa.string()),
    (st.text("ab\0", max_size=300), pa.large_string()),
    (st.binary(max_size=300), pa.binary()),
]
VALUES = [
    *SCALARS,
    *[(st.lists(values | st.none(), max_size=40), pa.list_(type_)) for values, type_ in SCALARS],
    (st.lists(st.lists(st.text(max_size=3), max_size=3) | st.none(), max_size=3), pa.list_(pa.list_(pa.string()))),
]


def _type_name(case: Any) -> str:
    return str(case) if isinstance(case, pa.DataType) else ""


@pytest.mark.parametrize(("values", "type_"), VALUES, ids=_type_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_value_hashes_by_the_definition(values: st.SearchStrategy[Any], type_: pa.DataType, data: Any) -> None:
    drawn = data.draw(st.lists(values | st.none(), max_size=12))
    start = data.draw(st.integers(0, 3))
    column = pa.array(drawn, type_).slice(start)
    assert hashed(column).tolist() == [plainly(value) for value in column.to_pylist()]


def test_a_value_hashes_alike_in_narrow_and_wide_types() -> None:
    assert hashed(pa.array([7, -7], pa.int32())).tolist() == hashed(pa.array([7, -7], pa.int64())).tolist()
    assert hashed(pa.array([0.5], pa.float32())).tolist() == hashed(pa.array([0.5], pa.float64())).tolist()
    assert hashed(pa.array(["图"])).tolist() == hashed(pa.array(["图".encode()])).tolist()


def test_chunks_and_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [None if row % 7 == 0 else "x" * (row % 300) + str(row) for row in range(1000)]
    expected = [plainly(value) for value in values]
    chunked = pa.chunked_array([values[:3], [], values[3:999], values[999:]], pa.string())
    assert hashed(chunked).tolist() == expected
    monkeypatch.setattr(hashing, "_BLOCK_ROWS", 10)
    assert hashed(chunked).tolist() == expected
    lists = pa.array([[value, value] for value in values])
    assert hashed(lists).tolist() == [plainly([value, value]) for value in values]


def test_nothing_hashes_to_nothing() -> None:
    for type_ in (pa.int64(), pa.string(), pa.list_(pa.string())):
        assert hashed(pa.array([], type_)).tolist() == []
        assert hashed(pa.chunked_array([], type_)).tolist() == []


def test_values_that_are_alike_spread_evenly_over_parts() -> None:
    columns = [
        pa.array(range(64_000)),
        pa.array([number * 4096 for number in range(64_000)]),
        pa.array([float(number) for number in range(64_000)]),
        pa.array([f"https://a.example/{number}.jpg" for number in range(64_000)]),
        pa.array([[number, number + 1] for number in range(64_000)]),
    ]
    for column in columns:
        hashes = hashed(column)
        assert len(np.unique(hashes)) == 64_000
        for parts in (64, 100):
            sizes = np.bincount((hashes % np.uint64(parts)).astype(np.int64), minlength=parts)
            expected = 64_000 / parts
            chi_squared = float(((sizes - expected) ** 2 / expected).sum())
            assert chi_squared < parts - 1 + 5 * np.sqrt(2 * (parts - 1)), (column.type, parts)


def test_a_row_hashes_by_all_its_columns_in_order() -> None:
    ones, twos = pa.chunked_array([[1, 1, 2, 2]]), pa.chunked_array([["a", "b", "a", None]])
    hashes = hashed_rows([ones, twos], 4)
    assert len(set(hashes.tolist())) == 4
    assert set(hashes.tolist()).isdisjoint(hashed_rows([twos, ones], 4).tolist())
    expected = mixed((mixed((NULL ^ plainly(2)) & MASK) + NULL ^ plainly("a")) & MASK)
    assert hashes[2] == expected
    assert hashed_rows([], 2).tolist() == [0, 0]
