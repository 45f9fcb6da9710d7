"""The decide stage: criteria and policies become verdicts, a ledger and selections; no byte of an image is read.

Quantiles and keep-rules need the whole corpus and are resolved first, by the driver; then an item is a part, a run of
shards, and every part is judged alone. Everything lies in folders named by the digest of rules, families and corpus, so a
changed criterion writes beside the old verdicts and measures nothing.

    verdicts/<digest8>/<part>.parquet            uid, shard, row, a nullable boolean a criterion and policy term
    selections/<policy>-<digest8>/<part>.parquet uid, shard, row, multiplicity
    verdicts/<digest8>/ledger.json               written last: the funnel of every policy, the resolved constants
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.index import path_of
from ..corpora.metering import Meter
from ..corpora.ranges import each
from ..corpora.store import Store
from ..corpora.tables import count_rows, read_meta, write_table
from ..filters.judging import Winners, judge, resolve_firsts, resolve_quantiles
from ..filters.ledger import account, combined
from ..filters.policies import Rules, compile_rules
from ..filters.scorer import digest8
from .columns import WideTable, wide_table
from .dedup import corpus_digest, read_clusters
from .job import Job, StageResult, Work, nothing_left, run_map

STAGE = "decide"
SHARDS_A_PART = 32


@dataclass(frozen=True)
class Decision:
    """A finished decision: its digest and ledger."""

    digest8: str
    ledger: Mapping[str, Any]

    def selection(self, policy: str) -> str:
        """The folder of a policy's selection."""
        return f"selections/{policy}-{self.digest8}"


def compile_recipe(job: Job, wide: WideTable) -> Rules:
    """The recipe's criteria and policies, checked against the columns that there are."""
    return compile_rules(job.recipe.criteria, job.recipe.policies, wide.schema(), set(job.recipe.duplicates))


def decision_digest(job: Job, wide: WideTable, rules: Rules, corpus: str) -> str:
    """What names a decision's folders: the rules, the families they read, the corpus as it is."""
    compared = [block.on for block in job.recipe.duplicates.values()]
    used = {column.partition(".")[0] for column in (*rules.columns, *compared) if "." in column}
    measured = {spec.name: spec.identity8 for spec in wide.families if spec.name in used}
    methods = {name: block.on for name, block in job.recipe.duplicates.items()}
    told = {"rules": rules.canonical(), "families": measured, "duplicates": methods, "corpus": corpus}
    return digest8({**told, "unmeasured": sorted(wide.unmeasured)} if wide.unmeasured else told)


def read_decision(job: Job) -> Decision | None:
    """The decision of the recipe on the corpus as it is, or None when it was not made."""
    wide = wide_table(job)
    digest = decision_digest(job, wide, compile_recipe(job, wide), corpus_digest(job.store, job.corpus().shards()))
    path = f"verdicts/{digest}/ledger.json"
    return Decision(digest, job.store.read_json(path)) if job.store.exists(path) else None


def decide(job: Job) -> StageResult:
    """Judge every row under every policy, unless that was done."""
    started = time.perf_counter()
    if not job.recipe.criteria and not job.recipe.policies:
        return nothing_left(job, STAGE, 0, "rows")
    wide = wide_table(job)
    rules = compile_recipe(job, wide)
    shards = job.corpus().shards()
    corpus = corpus_digest(job.store, shards)
    digest = decision_digest(job, wide, rules, corpus)
    ledger_path = f"verdicts/{digest}/ledger.json"
    parts = parts_of(shards)
    if job.store.exists(ledger_path):
        return nothing_left(job, STAGE, len(parts), "rows")
    scan = wide.scan(shards)
    constants = resolve_quantiles(rules, scan)
    firsts = resolve_firsts(rules, constants, scan, read_clusters(job, wide, corpus) if rules.firsts else {})
    task = DecideTask(job.store, wide, rules, constants, firsts, digest, _placed(job.store, parts))
    result = run_map(job, STAGE, task, Work(list(parts), 0, "rows", "rows", keep=True))
    if not result.poison:
        told = {
            "policies": combined(value["funnels"] for value in result.values),
            "constants": constants,
            "rules": rules.canonical(),
            "parts": list(parts),
        }
        job.store.put_json(ledger_path, told)
    return replace(result, seconds=time.perf_counter() - started)


def parts_of(shards: Sequence[str]) -> dict[str, list[str]]:
    """Runs of shards that are judged together, by name."""
    runs = [list(shards[start : start + SHARDS_A_PART]) for start in range(0, len(shards), SHARDS_A_PART)]
    return {f"{run[0]}-{run[-1]}": run for run in runs}


@dataclass(frozen=True)
class Part:
    """Shards that are judged together, and the place of their first row in the corpus."""

    shards: Sequence[str]
    start: int


def _placed(store: Store, parts: Mapping[str, Sequence[str]]) -> dict[str, Part]:
    placed: dict[str, Part] = {}
    start = 0
    every = [shard for shards in parts.values() for shard in shards]
    rows = each(lambda shard: count_rows(store, path_of(shard)), every, store.requests_at_once)
    for name, shards in parts.items():
        placed[name] = Part(shards, start)
        start += sum(islice(rows, len(shards)))
    return placed


@dataclass(frozen=True)
class DecideTask:
    """Judges one part."""

    store: Store
    wide: WideTable
    rules: Rules
    constants: Mapping[str, Any]
    firsts: Mapping[str, Winners]
    digest: str
    parts: Mapping[str, Part]

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Any]:
        """Judge a part, or take the account of a part that was judged."""
        path = f"verdicts/{self.digest}/{item}.parquet"
        if self.store.exists(path):
            return dict(read_meta(self.store, path)["account"])
        return self._judge(item, path, self.parts[item])

    def _judge(self, name: str, path: str, part: Part) -> dict[str, Any]:
        meter = Meter()
        read = [self.wide.read(shard, ["removed", *self.rules.columns]) for shard in part.shards]
        table = pa.concat_tables([one for one, _ in read])
        meter.bytes_in += table.nbytes
        meter.lap("read")
        present = pc.invert(table["removed"])
        verdicts = judge(self.rules, self.constants, self.firsts, table, part.start)
        sizes = [one.num_rows for one, _ in read]
        place = _places(table["uid"], part.shards, sizes)
        told = {"part": name, "rows": table.num_rows, "funnels": account(self.rules, verdicts.filter(present))}
        meta = {"indexes": [digest for _, digest in read]}
        meter.lap("judge")
        for policy in self.rules.policies.values():
            kept = pc.and_(pc.fill_null(verdicts[policy.column], False), present)
            selected = place.filter(kept)
            selected = selected.append_column("multiplicity", pa.array([1] * selected.num_rows, pa.int32()))
            meter.bytes_out += write_table(
                self.store, f"selections/{policy.name}-{self.digest}/{name}.parquet", selected, meta
            )
        for column in verdicts.column_names:
            place = place.append_column(column, verdicts[column])
        meter.bytes_out += write_table(self.store, path, place, {**meta, "account": told})
        meter.lap("write")
        return {**told, **meter.told()}


def _places(uids: pa.ChunkedArray, shards: Sequence[str], sizes: Sequence[int]) -> pa.Table:
    numbers = [pa.array(range(size), pa.int32()) for size in sizes]
    names = [pa.array([shard] * size, pa.string()) for shard, size in zip(shards, sizes, strict=True)]
    return pa.table(
        {"uid": uids, "shard": pa.chunked_array(names, pa.string()), "row": pa.chunked_array(numbers, pa.int32())}
    )
