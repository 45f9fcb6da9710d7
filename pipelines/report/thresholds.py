"""Which numbers a criterion compares columns with, read off its tree: the lines in the histograms.

Only what can be drawn is taken: a column against a number, or against a quantile that was resolved to one number. What is
said below a ``not`` is turned round. Anything else (a ratio of columns, a quantile a group) gives no line; the counts in
the chart do not come from here and stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ...filters.expressions import Expr
from .contents import Relation, Threshold

_TURNED: Mapping[str, Relation] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
_MIRRORED: Mapping[str, Relation] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}


def thresholds(expr: Expr, constants: Mapping[str, Any]) -> tuple[Threshold, ...]:
    """The thresholds in a criterion, each once, in the order of its text.

    ``constants``: what its quantiles were resolved to, by canonical text, as the ledger has them.
    """
    return tuple(dict.fromkeys(_found(expr, constants, turned=False)))


def _found(expr: Expr, constants: Mapping[str, Any], turned: bool) -> Iterator[Threshold]:
    if expr.op == "not":
        yield from _found(expr.args[0], constants, not turned)
    elif expr.op in {"and", "or"}:
        for arg in expr.args:
            yield from _found(arg, constants, turned)
    elif expr.op in _TURNED:
        left, right = expr.args
        yield from _comparison(cast("Relation", expr.op), left, right, constants, turned)
    elif expr.op == "between":
        subject, low, high = expr.args
        yield from _comparison(">=", subject, low, constants, turned)
        yield from _comparison("<=", subject, high, constants, turned)


def _comparison(
    relation: Relation, left: Expr, right: Expr, constants: Mapping[str, Any], turned: bool
) -> Iterator[Threshold]:
    if right.op == "column":
        left, right, relation = right, left, _MIRRORED[relation]
    value = _number(right, constants)
    if left.op == "column" and value is not None:
        resolved_from = str(right) if right.op == "quantile" else ""
        yield Threshold(left.value, _TURNED[relation] if turned else relation, value, resolved_from)


def _number(expr: Expr, constants: Mapping[str, Any]) -> float | None:
    if expr.op == "number":
        return float(expr.value)
    if expr.op == "negate":
        inner = _number(expr.args[0], constants)
        return None if inner is None else -inner
    if expr.op == "quantile":
        found = constants.get(str(expr))
        return float(found) if isinstance(found, int | float) else None
    return None
