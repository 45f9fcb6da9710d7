"""Running trees on Arrow: guards against what SQL gets wrong, and the one locked DuckDB connection.

DuckDB sorts NaN above every number (``NaN >= 0.28`` is true) and lets 1/0 be infinite, while an integer overflow stops the
query. A verdict must be null there instead: not measurable. So float columns lose NaN and infinity before they are
registered; a divisor is ``case when b <> 0 then b end``; where a chain of arithmetic ends (an operand of a comparison,
say) a result that is not finite becomes null; small integers are widened before arithmetic; and ``try`` nulls what is left.

The connection has no files, no extensions, no settings to change, and sees Arrow tables under names of ours only: user
names never become identifiers.

Price: guards repeat their operand, so a tree may grow; beyond ``MAX_NODES`` it is refused. 10 million rows by four
criteria take 0.25 s on two cores; one query costs 2 ms, the first of a process 30 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.errors import ConfigError, TamisError
from .expressions import ARITHMETIC, NULL, Expr, quoted
from .syntax import shortened

MAX_NODES = 20_000
"""Of one tree with its guards."""

Values: TypeAlias = "pa.Array | pa.ChunkedArray"

_NUMERIC_CALLS = frozenset(["abs", "round", "floor", "ceil", "ln", "log", "log2", "log10", "exp", "sqrt", "power"])
_LOCKED: dict[str, Any] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}


class Frame:
    """The leaves of some trees, bound to columns of one Arrow table or to constants."""

    def __init__(self, num_rows: int) -> None:
        self._columns: dict[str, Values] = {}
        self._bound: dict[Expr, Expr] = {}
        self._types: dict[Expr, pa.DataType] = {}
        self._num_rows = num_rows

    def bind(self, leaf: Expr, values: Values) -> None:
        """Let ``leaf`` mean these values, a row each; NaN and infinity become null."""
        name = f"c{len(self._columns)}"
        self._columns[name] = _finite_values(values)
        self._bound[leaf] = Expr("name", value=name)
        self._types[leaf] = values.type

    def bind_number(self, leaf: Expr, value: float | None) -> None:
        """Let ``leaf`` mean this number on every row."""
        self._bound[leaf] = Expr("cast", (NULL if value is None else Expr("string", value=repr(value)),), "double")

    def evaluate(self, wanted: Mapping[str, Expr], criteria: Mapping[Expr, Expr]) -> pa.Table:
        """A column for each wanted tree, in row order; ``criteria`` are computed first, once, for trees to refer to."""
        if not wanted:
            return pa.table({})
        first = [
            f"try({self._sql(tree)}) as {quoted(f'k{place}', chr(34))}" for place, tree in enumerate(criteria.values())
        ]
        self._bound |= {leaf: Expr("name", value=f"k{place}") for place, leaf in enumerate(criteria)}
        source = f"(select {', '.join(['*', *first])} from t)" if first else "t"
        found = self._select([f"try({self._sql(tree)})" for tree in wanted.values()], source)
        return found.rename_columns(list(wanted))

    def types(self, trees: Sequence[Expr]) -> list[pa.DataType]:
        """What each tree evaluates to, with errors let through.

        Raises:
            duckdb.Error: a tree does not bind, or fails on the rows that are bound.
        """
        return list(self._select([self._sql(tree) for tree in trees], "t").schema.types)

    def _select(self, columns: Sequence[str], source: str) -> pa.Table:
        named = [f"{column} as {quoted(f'o{place}', chr(34))}" for place, column in enumerate(columns)]
        given = self._columns or {"rows": pa.nulls(self._num_rows)}
        with closing(_database(os.getpid()).cursor()) as connection:
            connection.register("t", pa.table(given))
            return connection.sql(f"select {', '.join(named)} from {source}").to_arrow_table()

    def _sql(self, tree: Expr) -> str:
        guarded = self._guarded(tree)
        if guarded.size > MAX_NODES:
            raise ConfigError(
                f"{shortened(str(tree))} is too complicated to run safely; split it into several criteria"
            )
        return str(guarded)

    def _guarded(self, tree: Expr) -> Expr:
        """The tree with its leaves bound, finite or null where arithmetic ends."""
        inner = self._bare(tree)
        return _finite(inner) if _is_numeric(tree) and not self._is_exact(tree) else inner

    def _bare(self, tree: Expr) -> Expr:
        if tree in self._bound:
            return self._bound[tree]
        if not _is_numeric(tree) or tree.op == "cast":
            return Expr(tree.op, tuple(map(self._guarded, tree.args)), tree.value)
        args = [self._widened(arg) for arg in tree.args]
        if tree.op in {"/", "//", "%"}:
            args[1] = _nonzero(args[1])
        return Expr(tree.op, tuple(args), tree.value)

    def _widened(self, operand: Expr) -> Expr:
        inner, type_ = self._bare(operand), self._types.get(operand)
        if type_ is None or not pa.types.is_integer(type_) or pa.types.is_int64(type_):
            return inner
        return Expr("cast", (inner,), "hugeint" if pa.types.is_uint64(type_) else "bigint")

    def _is_exact(self, tree: Expr) -> bool:
        """Whether it is integer or decimal arithmetic, which has no NaN and no infinity."""
        if tree.op == "number":
            return "e" not in tree.value
        if tree.op == "column":
            return tree in self._types and pa.types.is_integer(self._types[tree])
        return tree.op in ARITHMETIC - {"/"} and all(map(self._is_exact, tree.args))


def stream(tables: Iterator[pa.Table], sql: str, **others: pa.Table) -> pa.Table | None:
    """Run one query over the concatenation of ``tables`` as ``t``, a table at a time; None when there are none.

    Raises:
        TamisError, OSError: what reading the tables raised, as it was.
    """
    first = next(tables, None)
    if first is None:
        return None
    failures: list[TamisError | OSError] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for table in chain([first], tables):
                yield from table.cast(first.schema).to_batches()
        except (TamisError, OSError) as error:
            failures.append(error)  # DuckDB keeps only its text
            raise

    with closing(duckdb.connect(":memory:", config=_LOCKED)) as connection:
        connection.register("t", pa.RecordBatchReader.from_batches(first.schema, batches()))
        for name, table in others.items():
            connection.register(name, table)
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error:
            if failures:
                raise failures[0] from None
            raise


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """One database a process (a fork must not use its parent's); callers take cursors, which threads may."""
    return duckdb.connect(":memory:", config=_LOCKED)


def _finite_values(values: Values) -> Values:
    if not pa.types.is_floating(values.type):
        return values
    if pa.types.is_float16(values.type):  # DuckDB has no half floats
        values = values.cast(pa.float32())
    finite = pc.is_finite(values)
    return values if pc.all(finite).as_py() is not False else pc.if_else(finite, values, pa.scalar(None, values.type))


def _is_numeric(tree: Expr) -> bool:
    """Whether NaN and infinity may pass through it to the end of the chain."""
    floating = tree.op == "cast" and tree.value in {"float", "double"}
    return floating or tree.op in ARITHMETIC or (tree.op == "call" and tree.value in _NUMERIC_CALLS)


def _finite(tree: Expr) -> Expr:
    return Expr("case", (Expr("call", (tree,), "isfinite"), tree, NULL))


def _nonzero(tree: Expr) -> Expr:
    if tree.op == "number" and float(tree.value):
        return tree
    return Expr("case", (Expr("<>", (tree, Expr("number", value="0"))), tree, NULL))
