"""The report of a corpus: one HTML page that says what came in, what is kept, what is dropped and why.

Counts come from the ledgers. Histograms, samples and duplicates are gathered in two passes over the columns that they need,
a shard at a time; image bytes are read for the shown samples alone. What is not there yet (scores, a decision) is
left out, so that a page can be made at any moment of a run.

Price: two reads of the numeric columns, 10 ms a shown sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml

from ...corpora.store import Store
from ...filters.expressions import walk
from ..columns import wide_table
from ..deciding import compile_recipe, read_decision
from ..dedup import clusters, corpus_digest, parts_of
from ..job import Job
from ..run import RunResult
from ..summary import summarise
from .contents import Page
from .copies import GROUPS_SHOWN, Groups
from .failures import failures
from .gathering import gather
from .page import render
from .rows import Survey
from .throughput import throughput
from .truth import judged, surprises

UNDECIDED = "undecided"


def write_report(job: Job, result: RunResult | None, truth: Mapping[str, Any] | None = None) -> str:
    """Write the page of the recipe's corpus into its ``reports/``; where it is, as a path or URL.

    ``result``: the run that just ended, for its account and timings. ``truth``: what was planted and found, if known.
    """
    page = page_of(job, result, truth or {})
    path = f"reports/{job.recipe.name}-{page.decision_digest or UNDECIDED}.html"
    job.store.put_atomic(path, render(page).encode("utf-8", "replace"))
    return address(job.store, path)


def address(store: Store, path: str) -> str:
    """Where a file of a store can be opened: a plain path on this machine, a URL elsewhere."""
    full = store.full(path)
    return full if store.local is not None else str(store.fs.unstrip_protocol(full))


def page_of(job: Job, result: RunResult | None, truth: Mapping[str, Any]) -> Page:
    """Everything that the page says."""
    wide = wide_table(job)
    survey = Survey(wide, job.corpus().shards(), compile_recipe(job, wide), read_decision(job))
    account = result.account if result else summarise(job)
    samples = job.recipe.report.samples
    found = gather(survey, list(_groups(job, survey, GROUPS_SHOWN if samples else 0)), samples, account)
    return Page(
        name=job.recipe.name,
        corpus=address(job.store, ""),
        made=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        recipe_digest=job.recipe.digest()[:8],
        decision_digest=survey.decision.digest8 if survey.decision else None,
        account=account,
        recipe=yaml.safe_dump(job.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100),
        has_policies=bool(job.recipe.policies),
        truth=judged(truth),
        surprises=surprises(truth),
        funnels=tuple(replace(one, definition=job.recipe.policies[one.policy]) for one in found.funnels),
        histograms=found.histograms,
        others=found.others,
        galleries=found.galleries,
        duplicates=found.duplicates,
        failures=failures(job.store, survey.shards, account["failed"]),
        throughput=throughput(job.store, result.stages if result else ()),
    )


def _groups(job: Job, survey: Survey, shown: int) -> Iterator[Groups]:
    """The duplicates that the recipe names, as far as they were looked for in the corpus as it is."""
    corpus = corpus_digest(job.store, survey.shards)
    for name, block in job.recipe.duplicates.items():
        parts = parts_of(survey.wide, name, block.on, corpus)
        if parts.count() is not None:
            yield Groups(name, block.on, clusters(parts), _choosing(survey, name), shown)


def _choosing(survey: Survey, method: str) -> list[str]:
    """The verdict columns of the policies that keep the first of a group of this method."""
    policies = survey.rules.policies.values() if survey.decision else ()
    return [
        policy.column
        for policy in policies
        if any(n.op == "first_of" and n.value == method for part in policy.conjuncts for n in walk(part.expr))
    ]
