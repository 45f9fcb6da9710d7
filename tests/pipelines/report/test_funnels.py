from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import FatalError
from tamis.filters.judging import judge
from tamis.filters.ledger import account
from tamis.filters.policies import compile_rules
from tamis.pipelines.report.funnels import Remaining
from tamis.pipelines.report.rows import Rows

SCHEMA = pa.schema([("uid", pa.string()), ("x", pa.float64()), ("y", pa.float64())])
RULES = compile_rules({"low": "x < 5", "high": "y >= 2"}, {"both": "low and high", "all": "true"}, SCHEMA, ())
ROWS = st.lists(st.tuples(st.none() | st.floats(0, 9), st.none() | st.floats(0, 9)), max_size=30)


def remaining(
    rows: list[tuple[float | None, float | None]], policy: str, size: int
) -> tuple[Remaining, dict[str, Any]]:
    columns = {"uid": [str(n) for n in range(len(rows))], "x": [x for x, _ in rows], "y": [y for _, y in rows]}
    table = pa.table(columns, schema=SCHEMA)
    verdicts = judge(RULES, {}, {}, table)
    counted = Remaining(RULES.policies[policy])
    for start in range(0, len(rows), size):
        part = verdicts.slice(start, size)
        counted.add(Rows("00000", np.arange(part.num_rows), table.slice(start, size), part))
    return counted, {"policies": account(RULES, verdicts)}


@settings(max_examples=40)
@given(ROWS, st.integers(1, 9))
def test_steps_lead_from_asked_to_kept(rows: list[tuple[float | None, float | None]], size: int) -> None:
    counted, ledger = remaining(rows, "both", size)
    funnel = counted.funnel(RULES, ledger, {"asked": len(rows) + 3, "fetched": len(rows)})
    low = [row for row in rows if row[0] is not None and row[0] < 5]
    both = [row for row in low if row[1] is not None and row[1] >= 2]
    assert [step.left for step in funnel.steps] == [len(rows) + 3, len(rows), len(low), len(both), len(both)]
    assert funnel.steps[0].left - sum(step.lost for step in funnel.steps) == funnel.kept == len(both)
    assert funnel.kept + funnel.dropped == len(rows)


def test_losses_are_the_ledgers() -> None:
    counted, ledger = remaining([(1, 1), (9, 9), (None, 9), (9, 0)], "both", 4)
    low, high = counted.funnel(RULES, ledger, {"asked": 4, "fetched": 4}).losses
    assert (low.name, low.definition, low.false, low.null, low.dropped, low.alone) == ("low", "x < 5", 2, 1, 3, 2)
    assert (high.false, high.null, high.alone) == (2, 0, 1)


def test_a_policy_that_asks_for_nothing_keeps_what_was_fetched() -> None:
    counted, ledger = remaining([(1, 1), (9, 9)], "all", 2)
    funnel = counted.funnel(RULES, ledger, {"asked": 5, "fetched": 2})
    assert [(step.name, step.left) for step in funnel.steps] == [("asked for", 5), ("fetched", 2), ("kept", 2)]


def test_a_ledger_that_counts_otherwise_is_refused() -> None:
    counted, ledger = remaining([(1, 9)], "both", 1)
    ledger["policies"]["both"]["kept"] = 0
    with pytest.raises(FatalError, match="the verdicts keep 1 rows, the ledger 0"):
        counted.funnel(RULES, ledger, {"asked": 1, "fetched": 1})
