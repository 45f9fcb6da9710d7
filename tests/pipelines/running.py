"""What tests of stages run on: an engine in this process that can be told to fail, and corpora of foreign tars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tamis.corpora.corpus import create
from tamis.corpora.engine import Outcome, Resources, Task, attempt, here
from tamis.corpora.errors import ConfigError, FatalError
from tamis.corpora.fetching import Fetched
from tamis.corpora.grouping import Dataset, Grouping, Parts
from tamis.corpora.groups import completed
from tamis.corpora.plan import make_plan, read_slots
from tamis.corpora.records import Record
from tamis.corpora.sharding import OpenShard
from tamis.corpora.store import Store
from tamis.jobs.engines.local_grouping import made_by_maps
from tamis.pipelines.job import Job
from tamis.pipelines.logs import Entry
from tamis.pipelines.recipe import parse_recipe

from ..corpora.foreign_tars import picture


class GroupsByMaps:
    """``Engine.group`` for an engine of tests that has a ``map``."""

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        raise NotImplementedError

    def group(self, dataset: Dataset, grouping: Grouping, parts: Parts, resources: Resources) -> Iterator[Outcome]:
        run = partial(self.map, resources=resources)
        return completed(grouping, parts, lambda todo: made_by_maps(run, dataset, grouping, parts, todo, 0.25))


@dataclass
class Inline(GroupsByMaps):
    """Runs tasks in this process; ``stop_after`` items the run is stopped, and ``poison`` items fail; lacks ``lacks``."""

    stop_after: int | None = None
    poison: frozenset[str] = frozenset()
    ran: list[str] = field(default_factory=list)
    lacks: str = ""
    name: str = "inline"

    def check(self, modules: Sequence[str]) -> None:
        if self.lacks in modules:
            raise ConfigError(f"a worker lacks {self.lacks}")

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        task.setup()
        for item in items:
            if len(self.ran) == self.stop_after:
                raise FatalError("stopped")
            self.ran.append(item)
            yield Outcome(item, None, "poisoned") if item in self.poison else attempt(task, item, here(self.name))


class Unwatched:
    """Shows nobody anything."""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None: ...

    def advance(self, items: int, units: int, failures: int) -> None: ...

    def hear(self, entry: Entry) -> None: ...

    def end(self) -> None: ...


def job_for(folder: Path, recipe: Mapping[str, Any], engine: Inline | None = None) -> Job:
    """A job over the tars in ``folder / "tars"``, its corpus in ``folder / "corpus"``."""
    whole = {"corpus": "corpus", "source": {"kind": "shards", "path": "tars"}, **recipe}
    parsed = parse_recipe(whole, folder)
    return Job(parsed, Store(parsed.corpus), engine or Inline(), Unwatched())


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Listed:
    """A list of ``count`` pictures, each with a width that is its number."""

    count: int

    def schema(self) -> pa.Schema:
        return pa.schema([("WIDTH", pa.int64())])

    def fingerprint(self) -> str:
        return str(self.count)

    def records(self) -> Iterator[Record]:
        for number in range(self.count):
            yield Record(f"http://a.example/{number}", (f"caption {number}", "图"), {"WIDTH": 24 * number})


def fetch_corpus(store: Store, count: int, samples: int) -> None:
    """Fill a corpus as if ``Listed(count)`` had been fetched; every fifth picture is missing."""
    source = Listed(count)
    create(store, "corpus", source.schema())
    for shard in make_plan(store, source, samples, seed=0).shard_names():
        slots = read_slots(store, shard)
        open_shard = OpenShard(store, shard, slots, source.schema())
        for slot, row in reversed(list(enumerate(slots))):
            number = int(row["url"].rsplit("/", 1)[1])
            body = picture(number) if number % 5 else None
            reason = None if body else "not_found"
            open_shard.take(Fetched(slot, row["url"], body, reason, 200, 1, 0.1, len(body or b""), row["url"]), slot)
        open_shard.close()
