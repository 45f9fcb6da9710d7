"""The ledger: why was this dropped, and by what alone?

A policy is a conjunction, so a row is dropped by every conjunct that is not true, and dropped *only* by one when it is the sole
one: the row would be kept if that conjunct alone were true. False (measured, and failed) and null (not measurable) are
counted apart. Every count is a plain sum over rows: the accounts of tables add up to the account of the corpus.

Price: a few bitmap operations a conjunct and table; 10 million rows by two policies of four conjuncts take under 0.1 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .policies import Policy, Rules


@dataclass(frozen=True)
class Reason:
    """One conjunct that did not let a row pass: false, or null because it could not be measured."""

    conjunct: str
    expression: str
    verdict: bool | None


def account(rules: Rules, verdicts: pa.Table) -> dict[str, dict[str, Any]]:
    """The funnel of each policy over a table that ``judge`` made.

    ``{policy: {rows, kept, dropped, dropped_by: {conjunct: {false, null}}, dropped_only_by: {conjunct: rows}}}``; kept and
    dropped add up to rows.
    """
    return {name: _funnel(policy, verdicts) for name, policy in rules.policies.items()}


def combined(accounts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of accounts of the same rules; empty for none."""
    total: dict[str, Any] = {}
    for one in accounts:
        for key, value in one.items():
            if isinstance(value, Mapping):
                total[key] = combined([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return total


def reasons(rules: Rules, policy: str, row: Mapping[str, bool | None]) -> tuple[Reason, ...]:
    """The conjuncts of ``policy`` that are not true in one row of a verdict table, in policy order; none if it is kept."""
    found = []
    for part in rules.policies[policy].conjuncts:
        if not row[part.column]:
            criterion = rules.criteria.get(part.column)
            found.append(Reason(part.name, criterion.sql if criterion else str(part.expr), row[part.column]))
    return tuple(found)


def _funnel(policy: Policy, verdicts: pa.Table) -> dict[str, Any]:
    rows = verdicts.num_rows
    failed = {part.name: pc.invert(pc.fill_null(verdicts[part.column], False)) for part in policy.conjuncts}
    once = twice = pa.chunked_array([pa.array(np.zeros(rows, np.bool_))])
    for column in failed.values():
        twice = pc.or_(twice, pc.and_(once, column))
        once = pc.or_(once, column)
    alone = pc.and_not(once, twice)
    dropped = _count(once)
    return {
        "rows": rows,
        "kept": rows - dropped,
        "dropped": dropped,
        "dropped_by": {
            part.name: {"false": _count(pc.invert(verdicts[part.column])), "null": verdicts[part.column].null_count}
            for part in policy.conjuncts
        },
        "dropped_only_by": {name: _count(pc.and_(column, alone)) for name, column in failed.items()},
    }


def _count(flags: pa.ChunkedArray) -> int:
    return pc.sum(flags).as_py() or 0
