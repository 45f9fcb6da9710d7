"""Guards: what SQL would get wrong is null, and the connection reaches nothing but what it was given."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tamis.corpora.errors import ConfigError, ShardError
from tamis.filters.execution import Frame, stream
from tamis.filters.expressions import Expr, walk
from tamis.filters.parsing import Scope, parse

NAN, INF = math.nan, math.inf
TABLE = pa.table(
    {
        "x": pa.array([0.5, NAN, INF, -INF, None, 0.0], pa.float64()),
        "f": pa.array([0.5, NAN, INF, -INF, None, 3e38], pa.float32()),
        "h": pa.array([0.5, NAN, INF, -INF, None, 0.0], pa.float16()),
        "i": pa.array([0, 1, -1, 2_000_000_000, None, 2**31 - 1], pa.int32()),
        "u": pa.array([0, 1, 255, 3, None, 4], pa.uint8()),
        "l": pa.array([0, 1, -1, 2**62, None, 2**63 - 1], pa.int64()),
        "q": pa.array([0, 1, 2, 3, None, 2**64 - 1], pa.uint64()),
        "s": pa.array(["nan", "1", "inf", "x", None, "-1e999"]),
    }
)


def evaluate(text: str, table: pa.Table = TABLE) -> list[object]:
    tree = parse(text, Scope(table.column_names), "test")
    frame = Frame(table.num_rows)
    for leaf in {node for node in walk(tree) if node.op == "column"}:
        frame.bind(leaf, table[leaf.value])
    found: list[object] = frame.evaluate({"found": tree}, {})["found"].to_pylist()
    return found


@pytest.mark.parametrize("column", ["x", "f", "h"])
@pytest.mark.parametrize("text", ["{} >= 0.28", "{} < 0.28", "{} = {}", "{} in (0.5, 1)", "{} between 0 and 1e300"])
def test_a_value_that_is_not_finite_satisfies_no_comparison(column: str, text: str) -> None:
    assert evaluate(text.format(column, column))[1:5] == [None] * 4


def test_not_finite_is_null_for_every_operator() -> None:
    assert evaluate("x is null") == [False, True, True, True, True, False]
    assert evaluate("coalesce(x, -1) = -1") == [False, True, True, True, True, False]
    assert evaluate("greatest(x, 0) = 0") == [False, True, True, True, True, True]  # greatest skips nulls
    assert evaluate("case when x > 0 then 'a' else 'b' end = 'a'") == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / x > 0", [True, None, None, None, None, None]),
        ("1 / (1 / x) >= 0", [True, None, None, None, None, None]),
        ("x / 0 > 0", [None] * 6),
        ("5 // u >= 0", [None, True, True, True, None, True]),
        ("5 % u >= 0", [None, True, True, True, None, True]),
        ("0.0 / x = 0", [True, None, None, None, None, None]),
        ("ln(x) < 0", [True, None, None, None, None, None]),
        ("sqrt(x - 1) >= 0", [None] * 6),
        ("power(x - 1, 0.5) >= 0", [None] * 6),
        ("exp(i) >= 0", [True, True, True, None, None, None]),
        ("exp(i) - exp(i) = 0", [True, True, True, None, None, None]),
        ("f * f >= 0", [True, None, None, None, None, None]),
        ("x * 1e308 * 100 >= 0", [None, None, None, None, None, True]),
        ("i * 1e308 >= 0", [True, True, False, None, None, None]),
        ("i * i >= 0", [True, True, True, True, None, True]),
        ("i + i >= -2", [True, True, True, True, None, True]),
        ("-i - 2 <= 0", [True, True, True, True, None, True]),
        ("u - 3 >= -3", [True, True, True, True, None, True]),
        ("l + l >= -2", [True, True, True, None, None, None]),
        ("q + 1 > 0", [True, True, True, True, None, True]),
        ("cast(s as double) > -1e300", [None, True, None, None, None, None]),
        ("cast(s as integer) = 1", [None, True, None, None, None, None]),
        ("abs(cast(s as float)) >= 1", [None, True, None, None, None, None]),
        ("length(s) / length(s) = 1", [True, True, True, True, None, True]),
    ],
)
def test_what_cannot_be_computed_is_null_and_stops_nothing(text: str, expected: list[bool | None]) -> None:
    assert evaluate(text) == expected


def test_a_float_compares_at_its_own_precision() -> None:
    table = pa.table({"f": pa.array([0.7, 0.3, np.nextafter(np.float32(0.7), np.float32(0))], pa.float32())})
    assert evaluate("f >= 0.7", table) == [True, False, False]
    assert evaluate("f <= 0.3", table) == [False, True, False]


@pytest.mark.parametrize("name", ['a" or "b', "x; drop table t", "Source.URL", "source.url", "select", "c0", "é.ü"])
def test_user_names_never_become_identifiers(name: str) -> None:
    table = pa.table({name: [1, 2], "SOURCE.url": [0, 0]})
    quoted = '"' + name.replace('"', '""') + '"'
    assert evaluate(f'{quoted} = 2 and "SOURCE.url" = 0', table) == [False, True]


@pytest.mark.parametrize("text", ["'", "''", "\\", "%'; --", "\n", "é\u202e", '"'])
def test_literals_stay_literals(text: str) -> None:
    table = pa.table({"s": [text, "other"]})
    assert evaluate("s = '" + text.replace("'", "''") + "'", table) == [True, False]


def test_rows_keep_their_order_across_chunks_and_threads() -> None:
    values = np.random.default_rng(0).integers(0, 100, 500_000).astype(np.int32)
    column = pa.chunked_array([values[:7], values[7:123_456], values[123_456:]])
    found = evaluate("i * 2 >= 100", pa.table({"i": column}))
    assert np.array_equal(np.array(found), values * 2 >= 100)


def test_guards_that_would_explode_are_refused() -> None:
    nest = "x"
    for _ in range(18):
        nest = f"1 / (x + {nest})"
    with pytest.raises(ConfigError, match="too complicated"):
        evaluate(f"{nest} > 0")


def test_dictionaries_large_strings_and_views_are_text() -> None:
    for type_ in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()):
        table = pa.table({"s": pa.array(["a", None, "b"]).cast(type_)})
        assert evaluate("s = 'b'", table) == [False, None, True]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "copy (select 1) to '/tmp/tamis-escaped'",
        "attach '/tmp/tamis-escaped.db'",
        "set enable_external_access = true",
        "set threads = 1",
        "install httpfs",
        "load httpfs",
        "select * from first",  # a local variable of the caller
        "select getenv('HOME')",
    ],
)
def test_the_connection_is_locked(sql: str) -> None:
    with pytest.raises(duckdb.Error):
        stream(iter([pa.table({"a": [1]})]), sql)
    assert not os.path.exists("/tmp/tamis-escaped")  # noqa: PTH110


def test_a_failure_while_reading_is_raised_as_it_was() -> None:
    def tables() -> Iterator[pa.Table]:
        yield pa.table({"a": [1]})
        raise ShardError("shard 7 is gone")

    with pytest.raises(ShardError, match="shard 7 is gone"):
        stream(tables(), "select sum(a) from t")
    assert stream(iter([]), "select 1") is None


def test_nothing_but_constants_still_has_a_value_a_row() -> None:
    frame = Frame(3)
    assert frame.evaluate({"v": Expr("constant", value="false")}, {})["v"].to_pylist() == [False] * 3
