"""All stages of a recipe in their order; each does what is not done, so a run is resumed by running it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..corpora.errors import ConfigError
from ..corpora.extras import BASE, EXTRAS
from .columns import WideTable
from .deciding import compile_recipe, decide
from .dedup import check_methods, dedup
from .exporting import export
from .ingest import ingest, source_of
from .job import Job, StageResult
from .scoring import FamilySpec, families, score
from .summary import summarise

STAGES: Mapping[str, Callable[[Job], StageResult | list[StageResult]]] = {
    "fetch": ingest,
    "score": score,
    "dedup": dedup,
    "decide": decide,
    "export": export,
}


@dataclass(frozen=True)
class RunResult:
    """What a run did, and the account of what is there now."""

    stages: tuple[StageResult, ...]
    account: Mapping[str, Any]

    @property
    def worked(self) -> bool:
        """Whether anything was left to do."""
        return any(stage.done or stage.poison for stage in self.stages)

    @property
    def poison(self) -> list[tuple[str, str, str]]:
        """The items that could not be done: stage, item, error."""
        return [(stage.stage, item, error) for stage in self.stages for item, error in stage.poison]


def run(job: Job, first: str = "fetch", last: str = "export") -> RunResult:
    """Run the stages from ``first`` to ``last``.

    Raises:
        ConfigError: the recipe asks for something that cannot be; found before any work where it can be.
    """
    started = time.perf_counter()
    stages = between(first, last)
    check(job, source_of(job.recipe).schema() if first == "fetch" else job.corpus().source_schema)
    results: list[StageResult] = []
    for name in stages:
        found = STAGES[name](job)
        results += found if isinstance(found, list) else [found]
        if sum(len(result.poison) for result in results) > job.recipe.tolerance.failed_shards:
            break  # later stages would read what is not there
    account = {**summarise(job), "seconds": round(time.perf_counter() - started, 3)}
    return RunResult(tuple(results), account)


def check(job: Job, source_schema: pa.Schema) -> None:
    """Refuse a recipe or workers that cannot do it, hours before the stage that would find out.

    Raises:
        ConfigError: what is wrong, and what there is.
    """
    specs = families(job)
    wide = WideTable(job.store, tuple(specs), source_schema)
    check_methods(job, wide)
    compile_recipe(job, wide)
    job.engine.check(_imports(job, specs))


def _imports(job: Job, specs: Sequence[FamilySpec]) -> list[str]:
    """What the run's tasks import: what comes with every install, the scorers' extras, and what speaks to the stores."""
    places = (job.recipe.corpus, *(export.to for export in job.recipe.exports))
    stores = {"s3" for place in places if place.startswith(("s3://", "s3a://"))}
    extras = {BASE, *stores, *(spec.scorer.needs.extra for spec in specs)}
    return [module for extra in sorted(extras) for module in EXTRAS.get(extra, ())]


def between(first: str, last: str) -> Sequence[str]:
    """The stages from ``first`` to ``last``.

    Raises:
        ConfigError: an unknown stage, or ``last`` before ``first``.
    """
    names = list(STAGES)
    for stage in (first, last):
        if stage not in names:
            raise ConfigError(f"no stage {stage!r}; there are {', '.join(names)}")
    if names.index(last) < names.index(first):
        raise ConfigError(f"--to {last} comes before --from {first}; the order is {', '.join(names)}")
    return names[names.index(first) : names.index(last) + 1]
