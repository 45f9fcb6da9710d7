"""What was planted against what was found: the facts of a generated corpus, each with its bound, judged in words.

What a fact's bound is, is promised here and nowhere else. A fact that could not be measured (None) does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .contents import Truth
from .hostile import URL_CHARACTERS, plain


@dataclass(frozen=True)
class Fact:
    """One thing that a run should find: its name among the truths, and how many were planted."""

    name: str
    says: str
    planted: tuple[str, ...]
    """The truths that count what was planted."""
    asked: str
    holds: Callable[[float], bool] | None
    is_share: bool = True


FACTS = (
    Fact("parrot_recall", "posters that parrot their caption, caught", ("parrots",), "≥ 95 %", lambda f: f >= 0.95),
    Fact("honest_called_parrot", "honest images called parrots", ("honest",), "≤ 2 %", lambda f: f <= 0.02),
    Fact("copies_grouped", "groups of byte-identical copies, found", ("copy_groups",), "100 %", lambda f: f == 1),
    Fact("strangers_grouped", "groups that mix different images", (), "0", lambda f: f == 0, is_share=False),
    Fact(
        "clip_auc",
        "fitting captions scored above foreign ones (AUC)",
        ("matching", "mismatched"),
        "≥ 0.95",
        lambda f: f >= 0.95,
        is_share=False,
    ),
    Fact("broken_exported", "broken images exported", ("broken",), "0", lambda f: f == 0, is_share=False),
    Fact("link_local_refused", "redirects to link-local addresses refused", (), "all", lambda f: f == 1),
    Fact("outcomes_as_planted", "requests that ended as planned", ("asked",), "", None),
)
"""In the order of the page. True counts as 1."""


def judged(truth: Mapping[str, Any]) -> tuple[Truth, ...]:
    """The facts that ``truth`` has, then what else it counts, without a verdict."""
    known = {name for fact in FACTS for name in (fact.name, *fact.planted)} | {"surprises"}
    facts = [_judged(fact, truth) for fact in FACTS if fact.name in truth]
    others = [
        Truth(plain(name), "", _said(found, False), "", None) for name, found in truth.items() if name not in known
    ]
    return (*facts, *others)


def surprises(truth: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """The requests that did not end as planned, as far as they are told."""
    return tuple(
        {name: plain(value, URL_CHARACTERS) for name, value in surprise.items()}
        for surprise in truth.get("surprises", ())
    )


def _judged(fact: Fact, truth: Mapping[str, Any]) -> Truth:
    found = truth[fact.name]
    planted = " + ".join(f"{truth[name]:,}" for name in fact.planted if name in truth)
    holds = None if fact.holds is None else found is not None and fact.holds(found)
    return Truth(fact.says, planted, _said(found, fact.is_share), fact.asked, holds)


def _said(found: Any, is_share: bool) -> str:
    if found is None:
        return "not measured"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int | float) and is_share:
        return f"{100 * found:.1f} %"
    return f"{found:.4f}" if isinstance(found, float) else plain(found)
