"""The fetch stage: a list becomes shards by HTTP, or foreign tars are adopted where they are.

Fetching: the plan fixes slots; an item is a block of consecutive shards (see ``filling``); later rounds ask again for what
failed, in shards of their own. Adopting: a first pass reads each tar into a draft index, the driver finds
uids that stand twice, a second pass writes the indexes without them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import asdict
from typing import get_args

from ..corpora.errors import ConfigError
from ..corpora.failures import RetryClass
from ..corpora.fetching import FetchSettings
from ..corpora.opt_outs import OptOuts
from ..corpora.plan import make_plan, read_plan
from ..corpora.ranges import open_file
from ..corpora.resizing import ResizeSettings
from ..corpora.rounds import plan_round, read_rounds
from ..corpora.sources.laion import LaionList
from ..corpora.sources.shards import TarSource
from .adopting import adopt_tars
from .filling import FetchTask, blocks, shards_of
from .job import Job, StageResult, Work, run_map
from .recipe import LaionBlock, Recipe

STAGE = "fetch"
SHARDS_OPEN = 16
"""The most shards that one process keeps open at a time."""


def ingest(job: Job) -> StageResult:
    """Bring the recipe's source in as shards; what is there is not asked for again."""
    job.store.check_writable()
    source = source_of(job.recipe)
    if isinstance(source, TarSource):
        return adopt_tars(job, source)
    corpus = job.create_corpus(source.schema())
    resize, cut = resize_settings(job.recipe), job.recipe.shards
    kept = json.dumps(asdict(resize), sort_keys=True) if resize else ""
    plan = make_plan(job.store, source, cut.samples, cut.seed, kept)
    names = [*plan.shard_names(), *(name for one in read_rounds(job.store) for name in one.shard_names())]
    finished = set(corpus.shards())
    missing = [name for name in names if name not in finished]
    workers = max(1, job.recipe.engine.workers)
    block = max(1, min(SHARDS_OPEN, -(-len(missing) // workers)))
    task = FetchTask(job.store, corpus.source_schema, fetch_settings(job, workers), resize, job.recipe.engine.threads)
    if missing and (sick := task.sick_resolver(missing[0])):
        raise ConfigError(sick)
    work = Work(blocks(missing, block), len(names) - len(missing), "URLs", "asked", lambda one: len(shards_of(one)))
    return run_map(job, STAGE, task, work)


def retry_failed(job: Job, classes: Collection[str] = ("later", "now")) -> list[StageResult]:
    """Ask again for what failed for reasons of these ``classes``, after what was never asked for.

    A round that was interrupted is finished first, and is then all that is done: running this again resumes it.

    Raises:
        ConfigError: an unknown class, or a source that asks for nothing.
    """
    known = get_args(RetryClass)
    for name in classes:
        if name not in known:
            raise ConfigError(f"--class {name}: the classes of failures are {', '.join(known)}")
    if not isinstance(job.recipe.source, LaionBlock):
        raise ConfigError("--retry-failed: tars that are adopted were not asked for; it goes with a list of URLs")
    rounds = read_rounds(job.store)
    finished = set(job.corpus().shards()) if rounds else set()
    interrupted = bool(rounds) and not finished.issuperset(rounds[-1].shard_names())
    first = ingest(job)
    if interrupted:
        return [first]
    plan, samples = read_plan(job.store), job.recipe.shards.samples
    planned = plan_round(job.store, plan, job.corpus().source_schema, samples, set(classes))  # type: ignore[arg-type]
    return [first, ingest(job)] if planned else [first]


def source_of(recipe: Recipe) -> LaionList | TarSource:
    """What the recipe's source block names."""
    block = recipe.source
    if isinstance(block, LaionBlock):
        return LaionList(block.path, block.columns, block.keep)
    return TarSource(block.path, block.keep)


def fetch_settings(job: Job, processes: int) -> FetchSettings:
    """The recipe's fetch block for one of ``processes``: the corpus-wide budgets are divided among them."""
    block = job.recipe.fetch
    told = block.model_dump(exclude={"user_agent", "opt_out", "resize"})
    told["concurrency"] = max(1, block.concurrency // processes)
    told["per_host"] = max(1, block.per_host // processes)
    if block.per_host_rate:
        told["per_host_rate"] = block.per_host_rate / processes
    if block.user_agent:
        told["user_agent"] = block.user_agent
    if block.opt_out:
        told["opt_outs"] = _read_opt_outs(block.opt_out)
    return FetchSettings(**told)


def resize_settings(recipe: Recipe) -> ResizeSettings | None:
    """To what size the recipe has images brought, if it has."""
    return ResizeSettings(**recipe.fetch.resize.model_dump()) if recipe.fetch.resize else None


def _read_opt_outs(path: str) -> OptOuts:
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8") as lines:
            return OptOuts.parse(lines, path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"fetch.opt_out: cannot read {path!r}: {error}; give a text file") from error
