"""The fetch stage: a list becomes shards by HTTP, or foreign tars are adopted where they are.

Fetching: the plan fixes slots; an item is a block of consecutive shards, all open at once in one process, so a straggler
holds up its block's end and nothing else. Adopting: a first pass reads each tar into a draft index, the driver finds
uids that stand twice, a second pass writes the indexes without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, get_args

import fsspec
import pyarrow as pa

from ..corpora.errors import ConfigError, DataError, ShardError
from ..corpora.failures import RetryClass
from ..corpora.fetching import Fetched, FetchSettings, Request, fetch
from ..corpora.index import path_of
from ..corpora.metering import Meter
from ..corpora.names import sick_resolver
from ..corpora.opt_outs import OptOuts
from ..corpora.plan import make_plan, read_plan, read_slots
from ..corpora.robots import RobotsMemory
from ..corpora.rounds import plan_round, read_rounds
from ..corpora.sharding import OpenShard
from ..corpora.sources.laion import LaionList
from ..corpora.sources.shards import TarSource
from ..corpora.store import Store
from ..corpora.urls import read_url
from .adopting import adopt_tars
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
    plan = make_plan(job.store, source, job.recipe.shards.samples, job.recipe.shards.seed)
    names = [*plan.shard_names(), *(name for one in read_rounds(job.store) for name in one.shard_names())]
    finished = set(corpus.shards())
    missing = [name for name in names if name not in finished]
    workers = max(1, job.recipe.engine.workers)
    block = max(1, min(SHARDS_OPEN, -(-len(missing) // workers)))
    task = FetchTask(job.store, corpus.source_schema, fetch_settings(job, workers))
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
    told = block.model_dump(exclude={"user_agent", "opt_out"})
    told["concurrency"] = max(1, block.concurrency // processes)
    told["per_host"] = max(1, block.per_host // processes)
    if block.per_host_rate:
        told["per_host_rate"] = block.per_host_rate / processes
    if block.user_agent:
        told["user_agent"] = block.user_agent
    if block.opt_out:
        told["opt_outs"] = _read_opt_outs(block.opt_out)
    return FetchSettings(**told)


def _read_opt_outs(path: str) -> OptOuts:
    try:
        with fsspec.open(path, "rt", encoding="utf-8") as lines:
            return OptOuts.parse(lines, path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"fetch.opt_out: cannot read {path!r}: {error}; give a text file") from error


def blocks(shards: Sequence[str], size: int) -> list[str]:
    """Items of consecutive shards: ``00003-00007``, at most ``size`` shards each.

    >>> blocks(["00001", "00002", "00004"], 2)
    ['00001-00002', '00004-00004']
    """
    runs: list[list[str]] = []
    for before, shard in pairwise([None, *shards]):
        if runs and before is not None and int(shard or 0) == int(before) + 1 and len(runs[-1]) < size:
            runs[-1].append(str(shard))
        else:
            runs.append([str(shard)])
    return [f"{run[0]}-{run[-1]}" for run in runs]


def shards_of(block: str) -> list[str]:
    """The shards that an item of ``blocks`` names."""
    first, last = block.split("-")
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


@dataclass(frozen=True)
class FetchTask:
    """Fetches the shards of a block."""

    store: Store
    source_schema: pa.Schema
    settings: FetchSettings
    robots: RobotsMemory = field(default_factory=RobotsMemory, compare=False)
    """What a worker learns of hosts in one block serves it in the next."""

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Ask for every slot of the block; each shard closes when its last slot is terminal."""
        missing = [shard for shard in shards_of(item) if not self.store.exists(path_of(shard))]
        if missing and (sick := self.sick_resolver(missing[0])):
            raise ShardError(sick)
        open_shard = partial(OpenShard, source_schema=self.source_schema, opt_outs=self.settings.opt_outs)
        return _Block(self.store, open_shard, missing).run(self._responses)

    def _responses(self, requests: Iterator[Request]) -> Iterator[Fetched]:
        return fetch(requests, self.settings, self.robots)

    def sick_resolver(self, shard: str) -> str | None:
        """Say that this machine cannot look up any name of a shard's list; without it a crawl would lose every image."""
        return None if self.settings.proxy else sick_resolver(_named_hosts(read_slots(self.store, shard)))


def _named_hosts(slots: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for slot in slots:
        with suppress(DataError):
            target = read_url(slot["url"])
            if not target.literal:
                yield target.host


class _Block:
    """Shards being filled from one stream of responses; closing runs on a thread beside it."""

    def __init__(self, store: Store, open_shard: Callable[..., OpenShard], shards: list[str]) -> None:
        self._store, self._open_shard, self._shards = store, open_shard, shards
        self._open: dict[int, OpenShard] = {}
        self._place: dict[int, tuple[int, int]] = {}

    def run(self, responses: Callable[[Iterator[Request]], Iterator[Fetched]]) -> dict[str, Any]:
        closing: list[Future[dict[str, Any]]] = []
        meter = Meter()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="close") as pool:
                for fetched in responses(self._requests()):
                    meter.lap("download")
                    number, slot = self._place.pop(fetched.slot)
                    shard = self._open[number]
                    shard.take(fetched, slot)
                    if shard.complete:
                        closing.append(pool.submit(self._open.pop(number).close))
                    meter.lap("write")
                told = [future.result() for future in closing]
        finally:
            for shard in self._open.values():
                shard.discard()
        meter.lap("write")
        return {**_summed(told, meter), **meter.told()}

    def _requests(self) -> Iterator[Request]:
        serial = 0
        for number, shard in enumerate(self._shards):
            slots = read_slots(self._store, shard)
            self._open[number] = self._open_shard(self._store, shard, slots)
            for slot, row in enumerate(slots):
                self._place[serial] = (number, slot)
                yield Request(serial, row["url"])
                serial += 1


def _summed(closed: Sequence[Mapping[str, Any]], meter: Meter) -> dict[str, Any]:
    """The accounts of the shards of a block as one; their bytes go to the meter."""
    failed: Counter[str] = Counter()
    for account in closed:
        failed.update(account["failed"])
        meter.bytes_in += account["bytes"]
        meter.bytes_out += account["written"]
    totals = {name: sum(account[name] for account in closed) for name in ("asked", "fetched")}
    return {**totals, "failed": dict(failed), "shards": len(closed)}
