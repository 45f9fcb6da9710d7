"""Verdicts: what quantiles and ``first_of`` need is resolved over the whole corpus, then every table is judged alone.

*Quantile*: nearest rank (the value at rank max(1, ceil(q n)) of the n values that are not null, q read as an exact decimal:
DuckDB's ``quantile_disc``), so a bound is always a measured value and ties stay together. With ``by`` there is one a group,
and a row takes its own group's; a group without values, and the null group, have none (the comparison is null).

*First of*: in each cluster of duplicates the best row among those that satisfy ``among`` wins (order keys, nulls last, then
uid); every other row of that cluster loses. A cluster in which no row qualifies has no winner and no loser: its rows are
dropped by something else, and blaming the copy would be wrong. A row in no cluster is true.

Losers are kept by their place in the corpus, since looking up 10 million uids in a set of a million costs seconds and places
cost nothing; their uids are kept beside, so that a table which is not the one that was resolved is noticed.

Price: a pass over the needed columns for each quantile and each ``first_of`` (only cluster members are held); judging 10
million rows by four criteria and two policies takes 0.3 s on two idle cores, one DuckDB query a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.errors import ConfigError, FatalError
from .criteria import columns_of
from .execution import Frame, Values, stream
from .expressions import NULL, Expr, leaves
from .policies import Rules

Scan: TypeAlias = Callable[[Sequence[str]], Iterator["pa.Table"]]
"""The corpus: the named columns of every row, in corpus order, in tables of any length."""

Constants: TypeAlias = Mapping[str, Any]
"""What quantiles resolved to, by canonical text: a number or null, or with ``by`` an object of group and number. JSON-able."""

Winners: TypeAlias = "pa.Table"
"""A row a losing row: ``row`` (int64, its place in the corpus, ascending), ``uid``, ``winner`` (the uid that is kept)."""

_NO_LOSERS = pa.schema({"row": pa.int64(), "uid": pa.string(), "winner": pa.string()}).empty_table()
_QUANTILE = 'select "group", quantile_disc("value", {rank}) as "value" from t group by "group" order by "group"'
_LOSERS = """
with placed as (select *, (select cluster from clusters where clusters.uid = t.uid) as cluster from t),
ranked as (
    select "row", uid, first_value(uid) over best as winner, first_value(among) over best as won
    from placed where cluster is not null
    window best as (partition by cluster order by among desc nulls last, {keys}uid)
)
select "row", uid, winner from ranked where won and uid <> winner order by "row"
"""
# A scalar subquery, not a join: DuckDB takes a stream for one row long, and would hash the corpus instead of the clusters.


def resolve_quantiles(rules: Rules, scan: Scan) -> dict[str, Any]:
    """The constant of every quantile."""
    constants: dict[str, Any] = {}
    for quantile in rules.quantiles:
        measured, by, among = quantile.args
        wanted = {"value": Expr("cast", (measured,), "double"), "group": _as_text(by), "among": among}
        judged = _Known(rules, constants, {}).scanned(scan, wanted)
        kept = (table.filter(pc.and_(table["among"], table["value"].is_valid())) for table in judged)
        found = stream(kept, _QUANTILE.format(rank=quantile.value))
        groups = {} if found is None else {row["group"]: row["value"] for row in found.to_pylist()}
        constants[str(quantile)] = groups.pop(None, None) if by == NULL else _without_null(groups)
    return constants


def resolve_firsts(
    rules: Rules, constants: Constants, scan: Scan, clusters: Mapping[str, pa.Table]
) -> dict[str, Winners]:
    """The losers of every ``first_of``; ``clusters``: for each method a table (uid, cluster) of clusters of two and more.

    Raises:
        ConfigError: a method that the rules name has no clusters.
    """
    firsts: dict[str, Winners] = {}
    for first in rules.firsts:
        if first.value not in clusters:
            raise ConfigError(f"{first}: there are no clusters of duplicates.{first.value}; run its dedup stage first")
        among, *keys = first.args
        wanted = {"among": among} | {f"key{place}": key.args[0] for place, key in enumerate(keys)}
        order = "".join(f"key{i} {'desc' if k.op == 'descending' else 'asc'} nulls last, " for i, k in enumerate(keys))
        judged = _Known(rules, constants, firsts).scanned(scan, wanted, "uid")
        found = stream(judged, _LOSERS.format(keys=order), clusters=clusters[first.value])
        firsts[str(first)] = _NO_LOSERS if found is None else found.cast(_NO_LOSERS.schema).combine_chunks()
    return firsts


def judge(
    rules: Rules, constants: Constants, firsts: Mapping[str, Winners], table: pa.Table, start: int = 0
) -> pa.Table:
    """Nullable booleans, a row a row: each criterion, each ``Conjunct.column`` that is not one, each ``Policy.column``.

    ``start``: the place in the corpus of the table's first row; only ``first_of`` reads it.

    Raises:
        FatalError: ``firsts`` was resolved on other rows than these.
    """
    wanted = {name: Expr("criterion", value=name) for name in rules.criteria}
    wanted |= {part.column: part.expr for policy in rules.policies.values() for part in policy.conjuncts}
    found = _Known(rules, constants, firsts).evaluate(table, start, wanted)
    verdicts: dict[str, Values] = dict(zip(found.column_names, found.columns, strict=True))
    everything = pa.array(np.ones(table.num_rows, np.bool_))
    for policy in rules.policies.values():
        verdicts[policy.column] = reduce(
            pc.and_kleene, (verdicts[part.column] for part in policy.conjuncts), everything
        )
    return pa.table(verdicts)


@dataclass(frozen=True)
class _Known:
    """Rules with what has been resolved so far."""

    rules: Rules
    constants: Constants
    firsts: Mapping[str, Winners]

    def scanned(self, scan: Scan, wanted: Mapping[str, Expr], *others: str) -> Iterator[pa.Table]:
        """The wanted trees, and other columns as they are, over the whole corpus; ``row`` is the place in it."""
        start = 0
        for table in scan(sorted({*self.columns(wanted.values()), *others})):
            rows = pa.array(np.arange(start, start + table.num_rows, dtype=np.int64))
            found = self.evaluate(table, start, wanted).append_column("row", rows)
            for name in others:
                found = found.append_column(name, table[name])
            yield found
            start += table.num_rows

    def columns(self, trees: Iterable[Expr]) -> list[str]:
        """The table columns that evaluating reads."""
        found = set()
        for leaf in self.needed(trees):
            if leaf.op == "first_of":
                found.add("uid")
            elif leaf.op != "criterion":
                found.update(columns_of(leaf if leaf.op == "column" else leaf.args[1]))
        return sorted(found)

    def needed(self, trees: Iterable[Expr]) -> list[Expr]:
        """The leaves of the trees and of the criteria among them."""
        direct = dict.fromkeys(leaf for tree in trees for leaf in leaves(tree))
        inside = (
            leaf for node in direct if node.op == "criterion" for leaf in leaves(self.rules.criteria[node.value].expr)
        )
        return list(direct | dict.fromkeys(inside))

    def evaluate(self, table: pa.Table, start: int, wanted: Mapping[str, Expr]) -> pa.Table:
        frame = Frame(table.num_rows)
        criteria: dict[Expr, Expr] = {}
        for leaf in self.needed(wanted.values()):
            if leaf.op == "column":
                frame.bind(leaf, table[leaf.value])
            elif leaf.op == "criterion":
                criteria[leaf] = self.rules.criteria[leaf.value].expr
            elif leaf.op == "first_of":
                frame.bind(leaf, _first_of(self.firsts[str(leaf)], table, start, str(leaf)))
            elif isinstance(bound := self.constants[str(leaf)], Mapping):
                groups = self.evaluate(table, start, {"group": _as_text(leaf.args[1])})["group"]
                frame.bind(leaf, _by_group(bound, groups))
            else:
                frame.bind_number(leaf, bound)
        return frame.evaluate(wanted, criteria)


def _as_text(by: Expr) -> Expr:
    return Expr("cast", (by,), "varchar")


def _without_null(groups: dict[str | None, float]) -> dict[str, float]:
    return {group: bound for group, bound in groups.items() if group is not None}


def _by_group(bounds: Mapping[str, float], groups: Values) -> Values:
    place = pc.index_in(groups, value_set=pa.array(list(bounds), groups.type))
    return pc.take(pa.array(list(bounds.values()), pa.float64()), place)


def _first_of(losers: Winners, table: pa.Table, start: int, key: str) -> pa.Array:
    rows = losers["row"].to_numpy()
    low, high = np.searchsorted(rows, [start, start + table.num_rows])
    here = rows[low:high] - start
    expected, found = losers["uid"][low:high], table["uid"].take(pa.array(here))
    if not pc.all(pc.equal(expected, found.cast(expected.type))).as_py() and len(here):
        raise FatalError(
            f"{key} was resolved on other rows than those from {start}: their uids differ; resolve it again"
        )
    verdict = np.ones(table.num_rows, np.bool_)
    verdict[here] = False
    return pa.array(verdict)
