"""Policies: boolean algebra over criteria, and ``Rules``, the compiled whole of a recipe's criteria and policies.

A policy is the conjunction of its conjuncts; the funnel is told in their names. ``first_of`` without ``among`` takes the rest
of its conjunction: every conjunct without a ``first_of`` of its own, and those to its left, so that several of them are
resolved from left to right (the copies that the first one drops do not compete in the second).

What a verdict needs beyond its row is resolved before any verdict, each once: quantiles (over the rows that satisfy their
``among``, whose own quantiles come earlier in ``Rules.quantiles``), then firsts, in ``Rules.firsts`` order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ..corpora.errors import ConfigError
from .criteria import Criterion, check_name, check_verdict, columns_of, compile_criteria
from .expressions import REST, Expr, conjunction, conjuncts, walk
from .parsing import Scope, parse

LANGUAGE = 1
"""Bumped by hand when the same text decides otherwise; part of every digest."""


@dataclass(frozen=True)
class Conjunct:
    """One operand of a policy's top-level ``and``: ``name`` in funnels, ``column`` in verdict tables."""

    name: str
    expr: Expr

    @property
    def column(self) -> str:
        """The criterion's name for a bare criterion, the canonical text otherwise."""
        return str(self.expr)


@dataclass(frozen=True)
class Policy:
    """A named conjunction; a row is kept iff it is true."""

    name: str
    conjuncts: tuple[Conjunct, ...]

    @property
    def column(self) -> str:
        """Its column in verdict tables: prefixed, since a criterion may have the same name."""
        return f"policy.{self.name}"

    @property
    def sql(self) -> str:
        """The canonical text, with the default ``among`` of ``first_of`` written out."""
        return str(conjunction(tuple(part.expr for part in self.conjuncts)))


@dataclass(frozen=True)
class Rules:
    """Compiled criteria and policies; picklable.

    ``columns``: every table column that resolving and judging read, sorted. ``quantiles`` and ``firsts``: what must be
    resolved before judging, in this order; ``str`` of one is its key.
    """

    criteria: Mapping[str, Criterion]
    policies: Mapping[str, Policy]
    quantiles: tuple[Expr, ...]
    firsts: tuple[Expr, ...]
    columns: tuple[str, ...]

    def canonical(self) -> dict[str, Any]:
        """What digests are taken of: independent of spacing, case of keywords, and needless parentheses."""
        return {
            "language": LANGUAGE,
            "criteria": {name: criterion.sql for name, criterion in self.criteria.items()},
            "policies": {name: policy.sql for name, policy in self.policies.items()},
        }


def compile_rules(
    criteria: Mapping[str, str], policies: Mapping[str, str], schema: pa.Schema, duplicates: Collection[str]
) -> Rules:
    """Read, check and order everything, before any row is looked at.

    ``schema``: the columns of the tables that will be judged, family columns under their dotted names; ``duplicates``:
    the known methods.

    Raises:
        ConfigError: names the criterion or policy, what was found there, and what is known or allowed.
    """
    read = compile_criteria(criteria, schema)
    for name in policies:
        check_name(name, "policy", schema)
    scope = Scope(frozenset(schema.names), frozenset(criteria), frozenset(duplicates))
    made = {name: _policy(name, text, scope, schema) for name, text in policies.items()}
    parts = [part.expr for policy in made.values() for part in policy.conjuncts]
    order = _Order(read)
    for tree in [*(Expr("criterion", value=name) for name in read), *parts]:
        order.visit(tree)
    quantiles = tuple(expr for expr in order.found if expr.op == "quantile")
    firsts = tuple(expr for expr in order.found if expr.op == "first_of")
    columns = {*columns_of(*parts, *(criterion.expr for criterion in read.values())), *(["uid"] if firsts else [])}
    return Rules(read, made, quantiles, firsts, tuple(sorted(columns)))


def _policy(name: str, text: str, scope: Scope, schema: pa.Schema) -> Policy:
    what = f"policy {name}"
    parts = list(conjuncts(parse(text, scope, what)))
    for place, part in enumerate(parts):
        if part.op == "first_of" and part.args[0] == REST:
            rest = [p for i, p in enumerate(parts) if i < place or (i > place and not _holds_first_of(p))]
            parts[place] = replace(part, args=(conjunction(tuple(rest)), *part.args[1:]))
    for part in parts:
        if REST in walk(part):
            raise ConfigError(
                f"{what}: in `{part}`: first_of is not a conjunct of its own here; give it `among := ...`"
            )
        check_verdict(part, schema, what)
    short = [f"first_of(duplicates.{p.value})" if p.op == "first_of" else str(p) for p in parts]
    many = Counter(short)
    return Policy(name, tuple(Conjunct(s if many[s] == 1 else str(p), p) for s, p in zip(short, parts, strict=True)))


def _holds_first_of(tree: Expr) -> bool:
    return any(node.op == "first_of" for node in walk(tree))


class _Order:
    """Finds every quantile and ``first_of``, each after what its ``among`` needs."""

    def __init__(self, criteria: Mapping[str, Criterion]) -> None:
        self.criteria = criteria
        self.found: dict[Expr, None] = {}
        self.open: list[str] = []

    def visit(self, tree: Expr) -> None:
        if tree.op == "criterion":
            self.enter(tree.value)
        for arg in tree.args:
            self.visit(arg)
        if tree.op in {"quantile", "first_of"}:
            self.found.setdefault(tree)

    def enter(self, name: str) -> None:
        if name in self.open:
            circle = " -> ".join([*self.open[self.open.index(name) :], name])
            raise ConfigError(f"criterion {name}: its quantile is taken among itself ({circle}); break the circle")
        self.open.append(name)
        self.visit(self.criteria[name].expr)
        self.open.pop()
