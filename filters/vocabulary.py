"""The allow-list of criteria and policies: which operators, functions and types there are. What is not here is refused.

A function belongs here if it is scalar, pure (no clock, no randomness, no environment), bounded in time by its input and
in size by its arguments, and the same in every process.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

FUNCTIONS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("abs", "floor", "ceil", "ln", "log", "log2", "log10", "exp", "sqrt"), (1, 1)),
    **dict.fromkeys(("length", "len", "lower", "upper"), (1, 1)),
    **dict.fromkeys(("round", "trim", "ltrim", "rtrim"), (1, 2)),
    **dict.fromkeys(("power", "nullif", "contains", "starts_with", "ends_with", "list_contains"), (2, 2)),
    "regexp_matches": (2, 3),
    **dict.fromkeys(("greatest", "least", "coalesce"), (1, 100)),
}
"""The scalar functions, with how many arguments they take. All are pure; ``regexp_matches`` is RE2 (linear time)."""

TYPES: Mapping[str, str] = {
    "BOOLEAN": "boolean",
    "INT": "integer",
    "BIGINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "TEXT": "varchar",
    "VARCHAR": "varchar",
    "DATE": "date",
}
"""What ``cast`` may name (sqlglot's names), as DuckDB spells it."""

BINARY: Mapping[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.IntDiv: "//",
    exp.Mod: "%",
}
LOGIC: Mapping[type[exp.Expression], str] = {exp.And: "and", exp.Or: "or"}
LIKE: Mapping[type[exp.Expression], str] = {exp.Like: "like", exp.ILike: "ilike"}
ALLOWED = (
    "allowed are columns, numbers, text, and / or / not, comparisons, in, between, is null, like, arithmetic, case, cast "
    f"and the functions {' '.join(sorted(FUNCTIONS))}"
)
"""The end of every refusal."""
