"""Funnels: how many rows are left after each conjunct of a policy in turn.

What each conjunct drops, alone and with others, stands in the decision's ledger and is taken from there. How the conjuncts
act one after another is counted from the verdict tables and must end at the ledger's kept rows; a page whose sums were
not checked is worth nothing. Price: one pass over boolean columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...corpora.errors import FatalError
from ...filters.policies import Conjunct, Policy, Rules
from .contents import Funnel, Loss, Step
from .rows import Rows


@dataclass
class Remaining:
    """Counts the rows on which a policy's first conjuncts are all true: for the first, the first two, and so on."""

    policy: Policy
    left: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.left = [0] * len(self.policy.conjuncts)

    def add(self, rows: Rows) -> None:
        """Count one shard."""
        if rows.verdicts is None:
            return
        standing: pa.ChunkedArray | None = None
        for place, conjunct in enumerate(self.policy.conjuncts):
            passed = pc.fill_null(rows.verdicts[conjunct.column], False)
            standing = passed if standing is None else pc.and_(standing, passed)
            self.left[place] += pc.sum(standing).as_py() or 0

    def funnel(self, rules: Rules, ledger: Mapping[str, Any], account: Mapping[str, Any]) -> Funnel:
        """The policy's funnel from what was asked for to what is kept.

        Raises:
            FatalError: the verdicts and the ledger count differently.
        """
        told = ledger["policies"][self.policy.name]
        steps = [Step("asked for", account["asked"], 0, "asked")]
        steps.append(Step("fetched", account["fetched"], account["asked"] - account["fetched"], "fetched"))
        for conjunct, left in zip(self.policy.conjuncts, self.left, strict=True):
            steps.append(Step(conjunct.name, left, steps[-1].left - left))
        if steps[-1].left != told["kept"]:
            raise FatalError(
                f"policy {self.policy.name}: the verdicts keep {steps[-1].left} rows, the ledger {told['kept']}; remove "
                "its folder under verdicts/ and run `tamis decide RECIPE` again"
            )
        steps.append(Step("kept", told["kept"], 0, "kept"))
        losses = tuple(_loss(rules, conjunct, told) for conjunct in self.policy.conjuncts)
        return Funnel(self.policy.name, self.policy.sql, tuple(steps), losses, told["kept"], told["dropped"])


def _loss(rules: Rules, conjunct: Conjunct, told: Mapping[str, Any]) -> Loss:
    counts = told["dropped_by"][conjunct.name]
    criterion = rules.criteria.get(conjunct.column)
    definition = criterion.sql if criterion else str(conjunct.expr)
    alone = told["dropped_only_by"][conjunct.name]
    return Loss(conjunct.name, definition, counts["false"], counts["null"], alone)
