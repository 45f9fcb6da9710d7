"""The tree of a criterion or policy, and its one canonical text.

User text is read once into this small tree (``parsing``); everything after that (digests, names in the funnel, type
checks, the SQL that DuckDB runs) comes from the tree and never from the text. The canonical text has no more and no fewer
parentheses than it needs, so ``a AND (b)`` and ``a and b`` are one policy with one digest, and reading it gives the same
tree again.

Operators: leaves ``column criterion name number string constant rest``; logic ``and or not``; comparisons
``= <> < <= > >= like ilike is in between``; arithmetic ``+ - * / // % negate``; ``case cast call``; and
``quantile first_of`` with their sort keys ``ascending descending``. ``name`` (an identifier of ours) occurs only in
trees that are about to run; ``rest`` stands for the default ``among`` of ``first_of`` until a policy resolves it.

Price: O(nodes) to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

LOGIC = frozenset({"and", "or", "not"})
COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">=", "like", "ilike", "in", "between"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%", "negate"})

_LEVELS = (
    ("or",),
    ("and",),
    ("not",),
    ("=", "<>", "<", "<=", ">", ">=", "like", "ilike", "is", "in", "between"),
    ("+", "-"),
    ("*", "/", "//", "%"),
    ("negate",),
)
_LEVEL = {op: level for level, ops in enumerate(_LEVELS) for op in ops}
_COMPARING, _ATOM = _LEVEL["="], len(_LEVELS)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_WORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "true",
        "false",
        "case",
        "when",
        "then",
        "else",
        "end",
        "between",
        "like",
        "ilike",
        "cast",
        "as",
    ]
)


@dataclass(frozen=True)
class Expr:
    """One node: an operator, its operands, and the name, literal or type that a leaf or call carries.

    ``quantile``: args (measured, by, among), value the rank as a decimal; ``first_of``: args (among, *sort keys), value
    the duplicates method; ``case``: args (condition, value, condition, value, ..., default).
    """

    op: str
    args: tuple[Expr, ...] = ()
    value: str = ""

    @cached_property
    def size(self) -> int:
        """How many nodes the written text has; nodes that occur twice count twice."""
        return 1 + sum(arg.size for arg in self.args)

    def __str__(self) -> str:
        """The canonical text."""
        return _write(self)


TRUE = Expr("constant", value="true")
NULL = Expr("constant", value="null")
REST = Expr("rest")


def quoted(text: str, quote: str) -> str:
    """``text`` between quotes, with the quotes inside it doubled: SQL has no other escape."""
    return quote + text.replace(quote, quote * 2) + quote


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node, operands before operators."""
    for arg in expr.args:
        yield from walk(arg)
    yield expr


def leaves(expr: Expr) -> Iterator[Expr]:
    """What evaluating needs from outside: columns, criteria, and ``quantile`` / ``first_of``, which count as one."""
    if expr.op in {"column", "criterion", "quantile", "first_of"}:
        yield expr
        return
    for arg in expr.args:
        yield from leaves(arg)


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """The operands of the top-level ``and``, each once; none for ``true``."""
    parts = expr.args if expr.op == "and" else (expr,)
    return tuple(part for part in dict.fromkeys(parts) if part != TRUE)


def conjunction(parts: tuple[Expr, ...]) -> Expr:
    """The inverse of ``conjuncts``."""
    return TRUE if not parts else parts[0] if len(parts) == 1 else Expr("and", parts)


def _write(expr: Expr) -> str:
    op, args, value = expr.op, expr.args, expr.value
    match op:
        case "column":
            plain = _PLAIN.fullmatch(value) and not _WORDS & set(value.lower().split("."))
            return value if plain else quoted(value, '"')
        case "string":
            return quoted(value, "'")
        case "name":
            return quoted(value, '"')
        case "not":
            return f"not {_operand(args[0], _LEVEL[op])}"
        case "negate":
            return f"-{_operand(args[0], _ATOM)}"
        case "is":
            return f"{_operand(args[0], _COMPARING + 1)} is {value}"
        case "in":
            return f"{_operand(args[0], _COMPARING + 1)} in ({', '.join(map(str, args[1:]))})"
        case "between":
            subject, low, high = (_operand(arg, _COMPARING + 1) for arg in args)
            return f"{subject} between {low} and {high}"
        case "case":
            arms = "".join(f" when {args[i]} then {args[i + 1]}" for i in range(0, len(args) - 1, 2))
            return f"case{arms} else {args[-1]} end"
        case "cast":
            return f"try_cast({args[0]} as {value})"
        case "call":
            return f"{value}({', '.join(map(str, args))})"
        case "quantile" | "first_of":
            return _write_named(expr)
        case "ascending" | "descending":
            return str(args[0]) + (" desc" if op == "descending" else "")
        case "criterion" | "number" | "constant":
            return value
    first, *others = args  # infix: arithmetic groups to the left, so only its later operands need parentheses
    least = _LEVEL[op]
    opening = _operand(first, least if op in ARITHMETIC else least + 1)
    return f" {op} ".join([opening, *(_operand(other, least + 1) for other in others)])


def _operand(expr: Expr, least: int) -> str:
    return str(expr) if _LEVEL.get(expr.op, _ATOM) >= least else f"({expr})"


def _write_named(expr: Expr) -> str:
    if expr.op == "quantile":
        measured, by, among = expr.args
        parts = [str(measured), expr.value]
        parts += [f"by := {by}"] if by != NULL else []
        parts += [f"among := {among}"] if among != TRUE else []
    else:
        among, *keys = expr.args
        parts = [f"duplicates.{expr.value}"]
        parts += [f"order := {quoted(', '.join(map(str, keys)), chr(39))}"] if keys else []
        parts += [f"among := {among}"] if among != REST else []
    return f"{expr.op}({', '.join(parts)})"
