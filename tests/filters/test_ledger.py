"""The ledger: every row is kept or dropped, every drop has its reasons, and accounts add up."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.filters.judging import judge
from tamis.filters.ledger import Reason, account, combined, reasons
from tamis.filters.policies import Rules, compile_rules

SCHEMA = pa.schema({"p": pa.bool_(), "q": pa.bool_(), "r": pa.bool_()})
RULES = compile_rules(
    {"a": "p", "b": "q"}, {"all": "a and b and not r", "any": "a or b", "everything": "true"}, SCHEMA, []
)
CELLS = st.sampled_from([True, False, None])


def verdicts(rows: list[tuple[bool | None, ...]], rules: Rules = RULES) -> pa.Table:
    table = pa.table({name: pa.array([row[i] for row in rows], pa.bool_()) for i, name in enumerate("pqr")})
    return judge(rules, {}, {}, table)


def test_the_funnel_counts_false_null_and_alone() -> None:
    rows: list[tuple[bool | None, ...]] = [
        (True, True, False),  # kept
        (False, True, False),  # only a
        (None, True, False),  # only a, not measurable
        (False, None, False),  # a and b
        (True, True, True),  # only not r
        (False, False, True),  # all three
    ]
    assert account(RULES, verdicts(rows))["all"] == {
        "rows": 6,
        "kept": 1,
        "dropped": 5,
        "dropped_by": {
            "a": {"false": 3, "null": 1},
            "b": {"false": 1, "null": 1},
            "not r": {"false": 2, "null": 0},
        },
        "dropped_only_by": {"a": 2, "b": 0, "not r": 1},
    }


def test_a_policy_that_is_no_conjunction_is_its_own_reason() -> None:
    found = account(RULES, verdicts([(False, None, None), (False, False, None), (True, None, None)]))["any"]
    assert found["dropped_by"] == {"a or b": {"false": 1, "null": 1}}
    assert found["dropped_only_by"] == {"a or b": 2}


def test_everything_drops_nothing() -> None:
    expected = {"rows": 1, "kept": 1, "dropped": 0, "dropped_by": {}, "dropped_only_by": {}}
    assert account(RULES, verdicts([(None, None, None)]))["everything"] == expected
    assert account(RULES, verdicts([]))["everything"] == expected | {"rows": 0, "kept": 0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=30), st.integers(0, 30))
def test_the_funnel_adds_up(rows: list[tuple[bool | None, ...]], split: int) -> None:
    table = verdicts(rows)
    whole = account(RULES, table)
    for name, funnel in whole.items():
        kept = table[f"policy.{name}"].to_pylist().count(True)
        assert (funnel["rows"], funnel["kept"], funnel["dropped"]) == (len(rows), kept, len(rows) - kept)
        assert sum(funnel["dropped_only_by"].values()) <= funnel["dropped"]
        for conjunct, alone in funnel["dropped_only_by"].items():
            assert alone <= sum(funnel["dropped_by"][conjunct].values()) <= funnel["dropped"]
    parts = [account(RULES, table.slice(0, split)), account(RULES, table.slice(split))]
    assert combined(parts) == whole
    assert combined(reversed(parts)) == whole


@settings(max_examples=40, deadline=None)
@given(CELLS, CELLS, CELLS)
def test_dropped_only_by_means_kept_if_it_alone_were_true(p: bool | None, q: bool | None, r: bool | None) -> None:
    found = account(RULES, verdicts([(p, q, r)]))["all"]["dropped_only_by"]
    dropped = (p, q, r) != (True, True, False)
    assert found == {
        "a": int(dropped and q is True and r is False),
        "b": int(dropped and p is True and r is False),
        "not r": int(dropped and p is True and q is True),
    }


def test_reasons_name_what_was_not_true() -> None:
    [row] = verdicts([(False, True, None)]).to_pylist()
    assert reasons(RULES, "all", row) == (Reason("a", "p", False), Reason("not r", "not r", None))
    assert reasons(RULES, "everything", row) == ()


def test_nothing_adds_up_to_nothing() -> None:
    assert combined([]) == {}
