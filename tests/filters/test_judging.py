"""Verdicts: Kleene logic against a tiny evaluator, quantiles against exact ranks, firsts against brute force."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError, FatalError, ShardError
from tamis.filters.expressions import NULL, TRUE, Expr
from tamis.filters.judging import Scan, judge, resolve_firsts, resolve_quantiles
from tamis.filters.policies import Rules, compile_rules

RANDOM = np.random.default_rng(0)


def with_uids(columns: Mapping[str, Any]) -> pa.Table:
    table = pa.table(dict(columns))
    return table.append_column("uid", pa.array([f"{row:032x}" for row in range(table.num_rows)]))


def starts(table: pa.Table) -> range:
    """Where the (at most three) parts of a corpus begin."""
    return range(0, table.num_rows, max(3, -(-table.num_rows // 3)))


def cut(table: pa.Table) -> Scan:
    """The table as a corpus in parts, read by column name."""

    def scan(columns: Sequence[str]) -> Iterator[pa.Table]:
        for start in starts(table):
            yield table.slice(start, starts(table).step).select(list(columns))

    return scan


def decide(
    table: pa.Table, criteria: Mapping[str, str], policies: Mapping[str, str], **clusters: Sequence[Sequence[int]]
) -> dict[str, list[bool | None]]:
    """Every verdict column over the whole corpus, judged table by table with only the columns that the rules name."""
    rules = compile_rules(criteria, policies, table.schema, clusters)
    scan = cut(table)
    constants = json.loads(json.dumps(resolve_quantiles(rules, scan)))
    firsts = resolve_firsts(rules, constants, scan, {name: members(table, groups) for name, groups in clusters.items()})
    parts = zip(scan(rules.columns), starts(table), strict=True)
    judged = [judge(rules, constants, firsts, part, start) for part, start in parts]
    return pa.concat_tables(judged).to_pydict() if judged else {}


def members(table: pa.Table, groups: Sequence[Sequence[int]]) -> pa.Table:
    pairs = [(table["uid"][row].as_py(), cluster) for cluster, rows in enumerate(groups) for row in rows]
    return pa.table(
        {"uid": pa.array([p[0] for p in pairs], pa.string()), "cluster": pa.array([p[1] for p in pairs], pa.int64())}
    )


# ---- Kleene logic


def test_the_truth_tables_are_kleene() -> None:
    values = (True, False, None)
    pairs = list(product(values, values))
    table = with_uids(
        {"p": pa.array([a for a, _ in pairs], pa.bool_()), "q": pa.array([b for _, b in pairs], pa.bool_())}
    )
    found = decide(table, {"a": "p", "b": "q"}, {"both": "a and b", "either": "a or b", "neither": "not a and not b"})
    three = {True: 1.0, None: 0.5, False: 0.0}
    back = {level: value for value, level in three.items()}
    assert found["policy.both"] == [back[min(three[a], three[b])] for a, b in pairs]
    assert found["policy.either"] == [back[max(three[a], three[b])] for a, b in pairs]
    assert found["policy.neither"] == [back[1 - max(three[a], three[b])] for a, b in pairs]


def drawn(values: Sequence[Any]) -> list[Any]:
    return [values[int(place)] for place in RANDOM.integers(len(values), size=40)]


ROWS = with_uids(
    {
        "p": pa.array(drawn([True, False, None]), pa.bool_()),
        "q": pa.array(drawn([True, False, None]), pa.bool_()),
        "i": pa.array(drawn([-3, -1, 0, 1, 2, 7, None]), pa.int32()),
        "j": pa.array(drawn([0, 1, 5, None]), pa.int64()),
        "x": pa.array(drawn([-1.5, 0.0, 0.25, 2.0, math.nan, math.inf, None]), pa.float64()),
    }
)


def column(name: str) -> Expr:
    return Expr("column", value=name)


def node(op: str, *operands: st.SearchStrategy[Expr], value: str = "") -> st.SearchStrategy[Expr]:
    return st.tuples(*operands).map(lambda args: Expr(op, args, value))


def any_node(ops: str, *operands: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of([node(op, *operands) for op in ops.split()])


NUMBERS = st.recursive(
    st.sampled_from([column("i"), column("j"), column("x"), *(Expr("number", value=str(n)) for n in (0, 1, 2, 10))]),
    lambda n: st.one_of(
        any_node("+ - * / %", n, n),
        node("negate", n),
        node("call", n, value="abs"),
        node("call", n, n, value="coalesce"),
        node("call", n, n, value="nullif"),
        node("call", n, n, value="greatest"),
    ),
    max_leaves=4,
)
TRUTHS = st.recursive(
    st.one_of(
        st.sampled_from([column("p"), column("q"), TRUE, Expr("constant", value="false")]),
        any_node("= <> < <= > >=", NUMBERS, NUMBERS),
        node("is", NUMBERS, value="null"),
        node("in", NUMBERS, NUMBERS, NUMBERS),
        node("between", NUMBERS, NUMBERS, NUMBERS),
    ),
    lambda t: st.one_of(
        any_node("and or", t, t),
        node("not", t),
        node("is", t, value="true"),
        node("is", t, value="null"),
        node("case", t, t, t),
        node("case", t, t, st.just(NULL)),
    ),
    max_leaves=6,
)
PLAIN: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else None,
    "%": lambda a, b: math.fmod(a, b) if b else None,
    "negate": lambda a: -a,
    "abs": abs,
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "not": lambda a: not a,
}


def meaning(tree: Expr, row: Mapping[str, Any]) -> Any:
    """What a tree means on a row, written as plainly as possible."""
    if tree.op == "column":
        value = row[tree.value]
        return None if isinstance(value, float) and not math.isfinite(value) else value
    if tree.op == "number":
        return int(tree.value)
    if tree.op == "constant":
        return {"true": True, "false": False, "null": None}[tree.value]
    args = [meaning(arg, row) for arg in tree.args]
    known = [arg for arg in args if arg is not None]
    match tree.op if tree.op != "call" else tree.value:
        case "and":
            return False if False in args else None if None in args else True
        case "or":
            return True if True in args else None if None in args else False
        case "is":
            return args[0] is {"null": None, "true": True}[tree.value]
        case "in":
            return None if args[0] is None else True if args[0] in known[1:] else None if None in args else False
        case "between":
            low = None if None in args[:2] else args[0] >= args[1]
            high = None if None in args[::2] else args[0] <= args[2]
            return False if False in (low, high) else None if None in (low, high) else True
        case "case":
            return args[1] if args[0] else args[2]
        case "coalesce":
            return known[0] if known else None
        case "greatest":
            return max(known) if known else None
        case "nullif":
            return None if len(known) == 2 and args[0] == args[1] else args[0]
        case operator:
            return None if None in args else PLAIN[operator](*args)


@settings(max_examples=50, deadline=None)
@given(TRUTHS)
def test_an_expression_means_what_a_plain_evaluator_says(tree: Expr) -> None:
    found = decide(ROWS, {"c": str(tree)}, {})["c"]
    assert found == [meaning(tree, row) for row in ROWS.to_pylist()]


@settings(max_examples=20, deadline=None)
@given(TRUTHS, TRUTHS, TRUTHS)
def test_a_policy_is_the_kleene_conjunction_of_its_conjuncts(a: Expr, b: Expr, c: Expr) -> None:
    found = decide(ROWS, {"a": str(a), "b": str(b)}, {"all": f"a and (b or not a) and ({c})"})
    expected = Expr("and", (a, Expr("or", (b, Expr("not", (a,)))), c))
    assert found["policy.all"] == [meaning(expected, row) for row in ROWS.to_pylist()]


def test_every_conjunct_has_its_column_in_order() -> None:
    rules = compile_rules({"small": "i < 2"}, {"b": "small and j = 0", "everything": "true"}, ROWS.schema, [])
    verdicts = judge(rules, {}, {}, ROWS)
    assert verdicts.column_names == ["small", "j = 0", "policy.b", "policy.everything"]
    assert set(verdicts.schema.types) == {pa.bool_()}
    assert verdicts["policy.everything"].to_pylist() == [True] * 40
    assert judge(rules, {}, {}, ROWS.slice(0, 0)).num_rows == 0


def test_rules_without_expressions_keep_everything() -> None:
    found = judge(compile_rules({}, {"everything": "true"}, ROWS.schema, []), {}, {}, ROWS)
    assert found.to_pydict() == {"policy.everything": [True] * 40}


# ---- quantiles


def rank(values: Sequence[float], q: str) -> float | None:
    """Nearest rank, exactly."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(Fraction(Decimal(q)) * len(ordered))) - 1] if ordered else None


def resolved(table: pa.Table, text: str, criteria: Mapping[str, str] | None = None) -> Any:
    rules = compile_rules(criteria or {}, {"p": text}, table.schema, [])
    return list(resolve_quantiles(rules, cut(table)).values())[-1]


def test_quantiles_agree_with_numpy() -> None:
    values = RANDOM.normal(size=1001).astype(np.float32)
    table = with_uids({"x": values})
    for q in ("0", "0.125", "0.25", "0.5", "0.75", "1"):
        assert resolved(table, f"x >= quantile(x, {q})") == float(np.quantile(values, float(q), method="inverted_cdf"))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5), st.just(math.nan)), max_size=30),
    st.integers(0, 1000).map(lambda n: f"{n / 1000:g}"),
)
def test_quantiles_are_exact_nearest_ranks_over_what_is_measured(values: list[float | None], q: str) -> None:
    table = with_uids({"x": pa.array(values, pa.float64())})
    kept = [value for value in values if value is not None and not math.isnan(value)]
    assert resolved(table, f"x >= quantile(x, {q})") == rank(kept, q)


def test_ties_at_the_bound_are_kept_together() -> None:
    table = with_uids({"x": pa.array([1, 2, 2, 2, 3, None], pa.int32())})
    assert decide(table, {"top": "x >= quantile(x, 0.5)"}, {})["top"] == [False, True, True, True, True, None]


def test_a_bound_is_the_value_itself_at_every_precision() -> None:
    values = RANDOM.random(99)
    for type_ in (pa.float32(), pa.float64()):
        table = with_uids({"x": pa.array(values).cast(type_, safe=False)})
        found = decide(table, {"c": "x = quantile(x, 0.37)"}, {})["c"]
        assert found.count(True) == 1
        assert found.index(True) == int(np.argsort(values)[36])


def test_a_quantile_by_group_applies_to_the_rows_of_the_group() -> None:
    groups = ["en", "en", "en", "zh", "zh", None, "de", 'o"d']
    table = with_uids({"x": [1.0, 2.0, 3.0, 10.0, 20.0, 5.0, None, 1.0], "lang": groups})
    text = "x >= quantile(x, 0.5, by := lang)"
    assert resolved(table, text) == {"en": 2.0, "zh": 10.0, 'o"d': 1.0}
    assert decide(table, {"c": text}, {})["c"] == [False, True, True, True, True, None, None, True]


def test_a_quantile_by_expression_and_among_other_rows() -> None:
    table = with_uids({"x": [1, 2, 3, 4, 5, 6], "ok": [True, True, True, False, None, True]})
    text = "x >= quantile(x * 2, 0.5, by := x % 2, among := good) / 2"
    assert resolved(table, text, {"good": "ok"}) == {"0": 4.0, "1": 2.0}
    assert decide(table, {"good": "ok", "c": text}, {})["c"] == [True] * 6
    assert resolved(table, "x > quantile(x, 0, by := ok)") == {"false": 4.0, "true": 1.0}


def test_a_quantile_may_depend_on_another() -> None:
    table = with_uids({"x": list(range(1, 11))})
    criteria = {"top": "x > quantile(x, 0.5)", "tip": "x > quantile(x, 0.5, among := top)"}
    assert [row + 1 for row, kept in enumerate(decide(table, criteria, {})["tip"]) if kept] == [9, 10]


def test_a_quantile_of_nothing_is_null() -> None:
    table = with_uids({"x": pa.array([None, math.nan], pa.float32()), "g": ["a", "b"]})
    assert resolved(table, "x > quantile(x, 0.5)") is None
    assert resolved(table, "x > quantile(x, 0.5, by := g)") == {}
    assert decide(table, {"c": "1 > quantile(x, 0.5)", "d": "1 > quantile(x, 0.5, by := g)"}, {}) == {
        "c": [None, None],
        "d": [None, None],
    }
    assert resolved(table.slice(0, 0), "x > quantile(x, 0.5)") is None


# ---- first_of


COPIES = with_uids(
    {
        "x": [0.1, 0.9, 0.5, 0.5, 0.5, None, math.nan, 0.2],
        "ok": [True, False, True, True, None, True, True, True],
    }
)


def verdicts(text: str, groups: Sequence[Sequence[int]], table: pa.Table = COPIES) -> list[bool | None]:
    found = decide(table, {"good": "ok"}, {"p": text}, exact=groups)
    return next(found[name] for name in found if name.startswith("first_of"))


@pytest.mark.parametrize(
    ("text", "groups", "lost"),
    [
        ("first_of(duplicates.exact)", [[0, 1, 2], [6, 5]], [1, 2, 6]),  # by uid
        ("first_of(duplicates.exact, order := 'x desc')", [[0, 1, 2]], [0, 2]),
        ("first_of(duplicates.exact, order := 'x')", [[0, 1, 2]], [1, 2]),
        ("first_of(duplicates.exact, order := 'x desc')", [[4, 3, 2]], [3, 4]),  # ties by uid
        ("first_of(duplicates.exact, order := 'x desc')", [[5, 6, 0]], [5, 6]),  # null and NaN last, both ways
        ("first_of(duplicates.exact, order := 'x')", [[5, 6, 1]], [5, 6]),
        ("first_of(duplicates.exact, order := 'ok, x desc')", [[0, 1, 2]], [0, 2]),
        ("first_of(duplicates.exact, order := 'x = 0.5 desc, uid desc')", [[0, 2, 3]], [0, 2]),
        (
            "good and first_of(duplicates.exact, order := 'x desc')",
            [[0, 1, 2]],
            [0, 1],
        ),  # the rest: row 1 does not compete
        ("good and first_of(duplicates.exact, order := 'x desc', among := true)", [[0, 1, 2]], [0, 2]),
        ("first_of(duplicates.exact, order := 'x desc', among := good)", [[0, 1, 2]], [0, 1]),
        ("good and first_of(duplicates.exact)", [[1, 4]], []),  # nobody qualifies: dropped by something else
        ("good and first_of(duplicates.exact)", [[1, 4, 7]], [1, 4]),
        ("first_of(duplicates.exact)", [], []),
        ("x > quantile(x, 0.5) and first_of(duplicates.exact)", [[0, 1]], [0]),
    ],
)
def test_the_best_row_that_qualifies_wins(text: str, groups: list[list[int]], lost: list[int]) -> None:
    assert verdicts(text, groups) == [row not in lost for row in range(8)]


def test_firsts_are_resolved_from_left_to_right() -> None:
    found = decide(
        COPIES,
        {"good": "ok"},
        {"p": "first_of(duplicates.exact, order := 'x desc') and first_of(duplicates.near, order := 'x') and good"},
        exact=[[0, 2]],
        near=[[0, 3], [2, 7]],
    )
    exact, near = (found[name] for name in found if name.startswith("first_of"))
    assert exact == [row != 0 for row in range(8)]
    assert near == [row not in (0, 2) for row in range(8)]  # row 0 has lost already, so row 3 wins


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_firsts_agree_with_brute_force(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 25))
    keys = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=size, max_size=size))
    good = data.draw(st.lists(st.sampled_from([True, False, None]), min_size=size, max_size=size))
    cluster = data.draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    groups = [[row for row in range(size) if cluster[row] == c] for c in range(1, 7)]  # cluster 0: not a duplicate
    groups = [group for group in groups if len(group) > 1]
    table = with_uids({"k": pa.array(keys, pa.int32()), "ok": pa.array(good, pa.bool_())})
    expected = [True] * size
    for group in groups:
        order = sorted(group, key=lambda row: (keys[row] is None, -(keys[row] or 0), row))
        best = next((row for row in order if good[row]), None)
        for row in group:
            expected[row] = best in (None, row)
    assert verdicts("good and first_of(duplicates.exact, order := 'k desc')", groups, table) == expected


def firsts_of(table: pa.Table, groups: Sequence[Sequence[int]]) -> tuple[Rules, dict[str, pa.Table]]:
    rules = compile_rules({}, {"p": "first_of(duplicates.exact)"}, table.schema, ["exact"])
    return rules, resolve_firsts(rules, {}, cut(table), {"exact": members(table, groups)})


def test_losers_name_their_winner_in_corpus_order() -> None:
    _, firsts = firsts_of(COPIES, [[7, 2, 5], [1, 4]])
    [losers] = firsts.values()
    uid = COPIES["uid"].to_pylist()
    assert losers.to_pydict() == {"row": [4, 5, 7], "uid": [uid[4], uid[5], uid[7]], "winner": [uid[1], uid[2], uid[2]]}


def test_verdicts_of_other_rows_than_the_resolved_ones_are_refused() -> None:
    rules, firsts = firsts_of(COPIES, [[0, 1], [6, 7]])
    with pytest.raises(FatalError, match="resolved on other rows"):
        judge(rules, {}, firsts, COPIES.slice(4))  # the place is forgotten
    assert judge(rules, {}, firsts, COPIES.slice(4), 4)["policy.p"].to_pylist() == [True, True, True, False]


def test_missing_clusters_are_told() -> None:
    rules = compile_rules({}, {"p": "first_of(duplicates.exact)"}, COPIES.schema, ["exact"])
    with pytest.raises(ConfigError, match=r"no clusters of duplicates\.exact"):
        resolve_firsts(rules, {}, cut(COPIES), {})


def test_an_empty_corpus_has_no_losers() -> None:
    _, firsts = firsts_of(COPIES.slice(0, 0), [])
    assert [losers.num_rows for losers in firsts.values()] == [0]


def test_only_the_needed_columns_are_read() -> None:
    asked: list[list[str]] = []

    def scan(columns: Sequence[str]) -> Iterator[pa.Table]:
        asked.append(list(columns))
        return cut(COPIES)(columns)

    rules = compile_rules(
        {"good": "ok", "high": "x > quantile(x, 0.5)"},
        {"p": "good and first_of(duplicates.exact)"},
        COPIES.schema,
        ["exact"],
    )
    constants = resolve_quantiles(rules, scan)
    resolve_firsts(rules, constants, scan, {"exact": members(COPIES, [[0, 1]])})
    assert asked == [["x"], ["ok", "uid"]]


def test_a_shard_that_cannot_be_read_is_raised_as_it_is() -> None:
    def scan(columns: Sequence[str]) -> Iterator[pa.Table]:
        yield COPIES.select(list(columns))
        raise ShardError("shard 1")

    rules = compile_rules({"high": "x > quantile(x, 0.5)"}, {}, COPIES.schema, [])
    with pytest.raises(ShardError, match="shard 1"):
        resolve_quantiles(rules, scan)
