"""Criteria: named scalar expressions over columns, read and type-checked before any row is.

DuckDB would compare a caption with 5 by a silent cast, take a number for a truth value, and find a malformed literal only on
the first row. ``check`` walks a tree from its operands up and asks DuckDB for the type of each step on a row of nulls,
so a mistake is told when the recipe is read, by its smallest wrong part.

Price: about 2 ms an operator, once a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from ..corpora.errors import ConfigError
from .execution import Frame
from .expressions import COMPARISONS, LOGIC, NULL, Expr, leaves, walk
from .parsing import Scope, parse

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Criterion:
    """A named expression whose verdict on a row is true, false or null (not measurable)."""

    name: str
    expr: Expr

    @property
    def sql(self) -> str:
        """The canonical text."""
        return str(self.expr)

    @property
    def columns(self) -> tuple[str, ...]:
        """The table columns that it reads, sorted."""
        return columns_of(self.expr)


def columns_of(*trees: Expr) -> tuple[str, ...]:
    """The table columns that occur anywhere in the trees, sorted."""
    return tuple(sorted({node.value for tree in trees for node in walk(tree) if node.op == "column"}))


def check_name(name: str, kind: str, columns: pa.Schema) -> None:
    """Refuse a name that a policy could not say, or that would hide a column.

    Raises:
        ConfigError: as told.
    """
    what = f"{kind} {name!r}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what}: a name is a lower-case letter, then letters, digits and underscores")
    if kind == "criterion":
        if name in columns.names:
            raise ConfigError(f"{what}: a column has this name; choose another, so that policies are unambiguous")
        if not _is_sayable(name):
            raise ConfigError(f"{what}: this is a word of SQL; choose another name")


def _is_sayable(name: str) -> bool:
    try:
        return parse(name, Scope((), (name,)), "name") == Expr("criterion", value=name)
    except ConfigError:
        return False


def compile_criteria(texts: Mapping[str, str], schema: pa.Schema) -> dict[str, Criterion]:
    """Read and check every criterion.

    Raises:
        ConfigError: a name, a text or a type is wrong.
    """
    for name in texts:
        check_name(name, "criterion", schema)
    scope = Scope(frozenset(schema.names), frozenset(texts))
    found = {}
    for name, text in texts.items():
        what = f"criterion {name}"
        expr = parse(text, scope, what)
        for leaf in leaves(expr):
            if leaf.op in {"criterion", "first_of"}:
                raise ConfigError(f"{what}: a criterion reads columns; say {leaf} in a policy")
        check_verdict(expr, schema, what)
        found[name] = Criterion(name, expr)
    return found


def check_verdict(expr: Expr, schema: pa.Schema, what: str) -> None:
    """Refuse an expression that is not a truth value, or has a type error inside.

    Raises:
        ConfigError: names the smallest part that is wrong.
    """
    kind = _Checker(expr, schema, what).kind(expr)
    if kind != "boolean":
        raise ConfigError(f"{what}: expected true or false, found {kind}: `{expr}`; compare it with something")


class _Checker:
    """Finds what each step of a tree evaluates to, operands first."""

    def __init__(self, tree: Expr, schema: pa.Schema, what: str) -> None:
        self.what = what
        self.schema = schema
        self.frame = Frame(1)
        for node in dict.fromkeys(walk(tree)):
            if node.op == "column":
                self.frame.bind(node, pa.nulls(1, schema.field(node.value).type))
            elif node.op in {"criterion", "first_of"}:
                self.frame.bind(node, pa.nulls(1, pa.bool_()))
            elif node.op == "quantile":
                self.frame.bind_number(node, None)

    def kind(self, tree: Expr) -> str:
        kinds = [self.kind(arg) for arg in tree.args if arg.op != "rest"]
        if tree.op in LOGIC:
            self.expect(tree, kinds, {"boolean", "null"})
        elif tree.op in COMPARISONS and len({"boolean", "number", "text"} & set(kinds)) > 1:
            raise self.wrong(tree, f"cannot compare {' with '.join(dict.fromkeys(kinds))}; cast one side")
        elif tree.op == "is" and tree.value != "null":
            self.expect(tree, kinds, {"boolean", "null"})
        elif tree.op == "case":
            self.expect(tree, kinds[:-1:2], {"boolean", "null"})
        elif tree.op == "quantile":
            self.expect(tree, kinds[:1], {"number"})
            self.expect(tree, kinds[2:], {"boolean"})
            self.expect_group(tree.args[1])
        elif tree.op == "first_of" and tree.args[0].op != "rest":
            self.expect(tree, kinds[:1], {"boolean"})
        return self.evaluated(tree)

    def expect(self, tree: Expr, kinds: list[str], allowed: set[str]) -> None:
        for found in kinds:
            if found not in allowed:
                raise self.wrong(tree, f"found {found} where a {' or '.join(sorted(allowed - {'null'}))} is expected")

    def expect_group(self, by: Expr) -> None:
        if by != NULL and (pa.types.is_floating(type_ := self.frame.types([by])[0]) or pa.types.is_nested(type_)):
            raise self.wrong(by, f"by groups by text, whole numbers or truth values, found {type_}")

    def evaluated(self, tree: Expr) -> str:
        literal = {"string": "text", "number": "number", "quantile": "number", "first_of": "boolean"}.get(tree.op)
        if literal:
            return literal
        if tree.op in {"ascending", "descending"}:
            return self.evaluated(tree.args[0])
        try:
            return _kind(self.frame.types([tree])[0])
        except duckdb.Error as error:
            found = str(self.schema.field(tree.value).type) if tree.op == "column" else str(error).splitlines()[0]
            raise self.wrong(tree, f"cannot be evaluated ({found})") from None

    def wrong(self, tree: Expr, why: str) -> ConfigError:
        return ConfigError(f"{self.what}: in `{tree}`: {why}")


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "boolean"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "number"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "text"
    return str(type_)
