"""From user text to ``Expr``: an allow-list over sqlglot's tree.

Each node type has one rule; a node without a rule, or with an argument that its rule does not read (``distinct``,
``filter``, ``symmetric``, a later sqlglot's novelty), is refused by name. Names are looked up in the scope, so nothing of the
text survives but known names and literals. ``clip.similarity`` is one column whose name has a dot.

Price: microseconds a node.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from ..corpora.errors import ConfigError
from .expressions import NULL, REST, TRUE, Expr, walk
from .syntax import condition, near, shortened, sort_keys
from .vocabulary import ALLOWED, BINARY, FUNCTIONS, LIKE, LOGIC, TYPES

MAX_DEPTH = 80
"""Of one tree: keeps every walk over it far from Python's recursion limit."""


@dataclass(frozen=True)
class Scope:
    """The names that a text may use."""

    columns: Collection[str]
    criteria: Collection[str] = ()
    duplicates: Collection[str] = ()


def parse(text: str, scope: Scope, what: str) -> Expr:
    """Read one expression; ``what`` (``criterion big``) opens every message.

    Raises:
        ConfigError: the text does not parse, names something unknown, or uses anything that is not on the list.
    """
    return _Reader(scope, what, text).expr(condition(text, what))


class _Reader:
    """Turns sqlglot nodes into ``Expr``, one rule a node type."""

    def __init__(self, scope: Scope, what: str, text: str) -> None:
        self.scope = scope
        self.what = what
        self.text = text
        self.known = [*scope.criteria, *scope.columns]
        self.depth = 0

    def expr(self, node: exp.Expression) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}", "; split it into several criteria")
        found = self.rule(node)
        self.depth -= 1
        return found

    def rule(self, node: exp.Expression) -> Expr:
        kind = type(node)
        if kind is exp.Paren:
            return self.expr(self.args(node, "this")[0])
        if kind in LOGIC:
            return self.chain(node, kind)
        if kind in BINARY:
            return Expr(BINARY[kind], tuple(map(self.expr, self.args(node, "this expression", "typed safe"))))
        if kind in LIKE:
            return self.like(node)
        rule = getattr(self, f"read_{kind.__name__.lower()}", None)
        if rule is None:
            raise self.refusal(kind.__name__.lower())
        found: Expr = rule(node)
        return found

    def error(self, message: str, remedy: str = "") -> ConfigError:
        return ConfigError(f"{self.what}: {message}, found in {shortened(self.text)}{remedy}")

    def refusal(self, name: str) -> ConfigError:
        return self.error(f"{name} is not allowed", f"; {ALLOWED}")

    def args(self, node: exp.Expression, names: str, ignored: str = "") -> list[exp.Expression]:
        """The operands under ``names``; anything else that is set on the node is refused."""
        wanted = names.split()
        for key, value in node.args.items():
            if value and key not in wanted and key not in ignored.split():
                raise self.refusal(f"{key} in {type(node).__name__.lower()}")
        found = [node.args.get(name) for name in wanted]
        if not all(isinstance(value, exp.Expression) for value in found):
            raise self.refusal(f"an incomplete {type(node).__name__.lower()}")
        return [value for value in found if value is not None]

    def chain(self, node: exp.Expression, kind: type[exp.Expression]) -> Expr:
        """An and / or chain, flat: it is associative, and long ones must not cost recursion depth."""
        parts: list[Expr] = []
        pending = [node]
        while pending:
            top = pending.pop()
            while isinstance(top, exp.Paren):
                [top] = self.args(top, "this")
            if type(top) is kind:
                left, right = self.args(top, "this expression")
                pending += [right, left]
            else:
                parts.append(self.expr(top))
        return Expr(LOGIC[kind], tuple(parts))

    def like(self, node: exp.Expression) -> Expr:
        subject, pattern = self.args(node, "this expression", "negate")
        like = Expr(LIKE[type(node)], (self.expr(subject), self.literal(pattern, "a like pattern")))
        return Expr("not", (like,)) if node.args.get("negate") else like

    def literal(self, node: exp.Expression, role: str) -> Expr:
        found = self.expr(node)
        if found.op != "string":
            raise self.error(f"{role} must be text in single quotes, not {shortened(str(found))}")
        return found

    def read_column(self, node: exp.Expression) -> Expr:
        parts = [node.args[key] for key in ("catalog", "db", "table", "this") if node.args.get(key)]
        if not all(isinstance(part, exp.Identifier) for part in parts):
            raise self.refusal("*")
        name = ".".join(str(part.this) for part in parts)
        if name in self.scope.criteria:
            return Expr("criterion", value=name)
        if name in self.scope.columns:
            return Expr("column", value=name)
        raise self.error(f"there is no column or criterion {name}", near(name, self.known))

    def read_literal(self, node: exp.Expression) -> Expr:
        value = str(node.this)
        if node.args.get("is_string"):
            return Expr("string", value=value)
        if not re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
            raise self.refusal("this number")
        return Expr("number", value=value.lower())

    def read_boolean(self, node: exp.Expression) -> Expr:
        return Expr("constant", value="true" if node.this else "false")

    def read_null(self, node: exp.Expression) -> Expr:
        return NULL

    def read_not(self, node: exp.Expression) -> Expr:
        return Expr("not", (self.expr(self.args(node, "this")[0]),))

    def read_neg(self, node: exp.Expression) -> Expr:
        return Expr("negate", (self.expr(self.args(node, "this")[0]),))

    def read_is(self, node: exp.Expression) -> Expr:
        subject, against = map(self.expr, self.args(node, "this expression"))
        if against.op != "constant":
            raise self.refusal("is with anything but null, true or false")
        return Expr("is", (subject,), against.value)

    def read_in(self, node: exp.Expression) -> Expr:
        subject = self.args(node, "this", "expressions")[0]
        items = tuple(map(self.expr, node.expressions))
        if not items:
            raise self.refusal("in without a list")
        return Expr("in", (self.expr(subject), *items))

    def read_between(self, node: exp.Expression) -> Expr:
        return Expr("between", tuple(map(self.expr, self.args(node, "this low high"))))

    def read_case(self, node: exp.Expression) -> Expr:
        subject, default = node.args.get("this"), node.args.get("default")
        args: list[Expr] = []
        self.args(node, "", "this ifs default")
        for arm in node.args["ifs"]:
            condition, value = map(self.expr, self.args(arm, "this true"))
            args += [Expr("=", (self.expr(subject), condition)) if subject else condition, value]
        return Expr("case", (*args, self.expr(default) if default else NULL))

    def read_cast(self, node: exp.Expression) -> Expr:
        subject, to = self.args(node, "this to", "safe")
        name = getattr(to.this, "name", "")
        if not isinstance(to, exp.DataType) or name not in TYPES or to.expressions:
            raise self.error(
                f"cannot cast to {name or 'this type'}", f"; types are {', '.join(dict.fromkeys(TYPES.values()))}"
            )
        return Expr("cast", (self.expr(subject),), TYPES[name])

    read_trycast = read_cast

    def read_pow(self, node: exp.Expression) -> Expr:
        return Expr("call", tuple(map(self.expr, self.args(node, "this expression"))), "power")

    def read_anonymous(self, node: exp.Expression) -> Expr:
        name = str(node.name).lower()
        self.args(node, "", "this expressions")
        if name == "quantile":
            return self.quantile(node)
        if name == "first_of":
            return self.first_of(node)
        if name not in FUNCTIONS:
            raise self.error(f"the function {name} is not allowed", near(name, FUNCTIONS))
        return self.call(name, node)

    def call(self, name: str, node: exp.Expression) -> Expr:
        args = tuple(map(self.expr, node.expressions))
        least, most = FUNCTIONS[name]
        if not least <= len(args) <= most:
            raise self.error(f"{name} takes {least} to {most} arguments")
        if name == "regexp_matches":
            for pattern in node.expressions[1:]:
                self.literal(pattern, "a regular expression and its options")
        return Expr("call", args, name)

    def quantile(self, node: exp.Expression) -> Expr:
        given, named = self.named(node, {"by", "among"})
        rank = self.expr(given[1]) if len(given) == 2 else NULL
        if rank.op != "number" or not 0 <= Decimal(rank.value) <= 1:
            raise self.error("expected quantile(column, q) with q in [0, 1]")
        measured, by = self.expr(given[0]), self.expr(named["by"]) if "by" in named else NULL
        among = self.expr(named["among"]) if "among" in named else TRUE
        self.only_columns((measured, by), "quantile")
        self.refuse_inside(among, {"quantile", "first_of"}, "the among of a quantile")
        return Expr("quantile", (measured, by, among), f"{Decimal(rank.value).normalize():f}")

    def first_of(self, node: exp.Expression) -> Expr:
        given, named = self.named(node, {"order", "among"})
        target = given[0] if len(given) == 1 else None
        if not isinstance(target, exp.Column) or target.table != "duplicates" or target.args.get("db"):
            raise self.error("expected first_of(duplicates.<method>, ...)")
        if target.name not in self.scope.duplicates:
            raise self.error(f"there is no duplicates method {target.name}", near(target.name, self.scope.duplicates))
        keys = self.keys(named["order"]) if "order" in named else ()
        among = self.expr(named["among"]) if "among" in named else REST
        self.only_columns(keys, "the order of first_of")
        self.refuse_inside(among, {"first_of"}, "the among of first_of")
        return Expr("first_of", (among, *keys), target.name)

    def keys(self, node: exp.Expression) -> tuple[Expr, ...]:
        found = []
        for key in sort_keys(self.literal(node, "order").value, f"{self.what}, order"):
            self.args(key, "this", "desc nulls_first")
            if key.args.get("nulls_first"):
                raise self.error("nulls first is not allowed", "; nulls always come last, order by coalesce(...)")
            found.append(Expr("descending" if key.args.get("desc") else "ascending", (self.expr(key.this),)))
        return tuple(found)

    def named(self, node: exp.Expression, names: set[str]) -> tuple[list[exp.Expression], dict[str, exp.Expression]]:
        """The positional and the ``name := value`` arguments of a call."""
        given: list[exp.Expression] = []
        named: dict[str, exp.Expression] = {}
        for arg in node.expressions:
            if not isinstance(arg, exp.PropertyEQ):
                given.append(arg)
            elif arg.this.name in names - named.keys():
                named[arg.this.name] = arg.expression
            else:
                raise self.error(
                    f"{arg.this.name} := ... is unknown here, or given twice", f"; allowed: {', '.join(sorted(names))}"
                )
        return given, named

    def only_columns(self, exprs: tuple[Expr, ...], role: str) -> None:
        for expr in exprs:
            self.refuse_inside(expr, {"criterion", "quantile", "first_of"}, role)

    def refuse_inside(self, expr: Expr, forbidden: set[str], role: str) -> None:
        for inner in walk(expr):
            if inner.op in forbidden:
                raise self.error(f"{role} cannot hold a {inner.op}, as {shortened(str(inner))}")
