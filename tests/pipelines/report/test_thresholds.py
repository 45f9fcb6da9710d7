from __future__ import annotations

import pytest

from tamis.filters.parsing import Scope, parse
from tamis.pipelines.report.contents import Threshold
from tamis.pipelines.report.thresholds import thresholds

QUANTILE = "quantile(x, 0.9)"


def found(text: str, **constants: object) -> list[tuple[str, str, float]]:
    expr = parse(text, Scope(("x", "clip.y", "name")), "criterion")
    return [(one.column, one.relation, one.value) for one in thresholds(expr, constants)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x >= 0.28", [("x", ">=", 0.28)]),
        ("0.28 <= clip.y", [("clip.y", ">=", 0.28)]),
        ("3 > x", [("x", "<", 3.0)]),
        ("x < -2", [("x", "<", -2.0)]),
        ("x = 1", [("x", "=", 1.0)]),
        ("not x < 5", [("x", ">=", 5.0)]),
        ("not (x < 5 or not clip.y <> 1)", [("x", ">=", 5.0), ("clip.y", "<>", 1.0)]),
        ("x between 1 and 2", [("x", ">=", 1.0), ("x", "<=", 2.0)]),
        ("x > 1 and x < 2 or x > 1", [("x", ">", 1.0), ("x", "<", 2.0)]),
        ("name <> 'drawn' or x >= 4", [("x", ">=", 4.0)]),
        ("x > clip.y", []),
        ("x * 2 > 3", []),
        ("name like 'a%'", []),
    ],
)
def test_thresholds_are_read_off_the_tree(text: str, expected: list[tuple[str, str, float]]) -> None:
    assert found(text) == expected


def test_a_quantile_is_drawn_where_it_was_resolved_to() -> None:
    expr = parse(f"x > {QUANTILE}", Scope(("x",)), "criterion")
    assert thresholds(expr, {QUANTILE: 7.5}) == (Threshold("x", ">", 7.5, QUANTILE),)


@pytest.mark.parametrize("resolved", [None, {"jpeg": 1.0, "png": 2.0}])
def test_a_quantile_without_one_number_is_not_drawn(resolved: object) -> None:
    assert found(f"x > {QUANTILE}", **{QUANTILE: resolved}) == []
