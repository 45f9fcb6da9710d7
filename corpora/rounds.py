"""Rounds of asking again: requests that failed get new slots in new shards after the last one.

A closed shard never gains samples, so what a second asking brings stands in shards of its own. A round is planned from
the ledgers alone: the requests whose last state is a failure of the chosen classes, in the order of their slots. The
same ledgers give the same round.

    plan/00104.parquet       the slots of its shards, as the plan has them, and `supersedes`: the reason of the failure
    plan/retry-0001.json     written last: its first shard, shards, slots and classes

The ledger of such a shard repeats `supersedes`: each of its rows takes the place of one failure that was counted before,
so a URL is counted once, as it stands now.

Price: the ledgers are read once; one out-of-core sort of 60 bytes a failure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .computing import calculator, streamed
from .failures import RetryClass, retry_class
from .plan import Plan, read_slots, shard_name, slots_schema
from .store import Store
from .tables import read_table, write_table

SUPERSEDES = "supersedes"
_FAILURES = pa.schema(
    [
        ("shard", pa.string()),
        ("ordinal", pa.int32()),
        ("slot", pa.int32()),
        ("uid", pa.string()),
        ("reason", pa.string()),
    ]
)
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Round:
    """A planned round: the number of its first shard, how many there are, its slots, and the classes it asks for."""

    first: int
    shards: int
    slots: int
    classes: tuple[RetryClass, ...]

    def shard_names(self) -> list[str]:
        """All its shards, in order."""
        return [shard_name(number) for number in range(self.first, self.first + self.shards)]


def read_rounds(store: Store) -> list[Round]:
    """The rounds that were planned, in order."""
    names = [name for name in store.names("plan") if name.startswith("retry-")]
    told = [store.read_json(f"plan/{name}") for name in sorted(names)]
    return [Round(**{**one, "classes": tuple(one["classes"])}) for one in told]


def plan_round(
    store: Store, plan: Plan, source_schema: pa.Schema, samples: int, classes: Collection[RetryClass]
) -> Round | None:
    """Plan to ask again for what failed for reasons of these ``classes``; None when there is nothing of the kind.

    ``samples`` is the number of slots of a shard. Shards without a ledger are left alone.
    """
    rounds = read_rounds(store)
    first = plan.shards + sum(one.shards for one in rounds)
    schema = slots_schema(source_schema).append(pa.field(SUPERSEDES, pa.string()))
    shards = slots = 0
    rows: list[dict[str, Any]] = []
    for row in _failed_slots(store, [shard_name(number) for number in range(first)], classes):
        rows.append({**row, "slot": len(rows)})
        slots += 1
        if len(rows) == samples:
            _write_slots(store, first + shards, rows, schema)
            shards, rows = shards + 1, []
    if rows:
        _write_slots(store, first + shards, rows, schema)
        shards += 1
    if not slots:
        return None
    planned = Round(first, shards, slots, tuple(sorted(classes)))
    store.put_json(f"plan/retry-{len(rounds) + 1:04d}.json", asdict(planned))
    return planned


def _write_slots(store: Store, number: int, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    write_table(store, f"plan/{shard_name(number)}.parquet", pa.Table.from_pylist(list(rows), schema=schema), {})


def _failed_slots(store: Store, shards: Sequence[str], classes: Collection[RetryClass]) -> Iterator[dict[str, Any]]:
    """The slots whose requests' last state is a failure of these classes, with its reason, in order."""
    asked_for = (row for row in _last_failures(store, shards) if retry_class(row["reason"]) in classes)
    for shard, failures in groupby(asked_for, key=itemgetter("shard")):
        slots = read_slots(store, shard)
        for failure in failures:
            yield {**slots[failure["slot"]], SUPERSEDES: failure["reason"]}


def _last_failures(store: Store, shards: Sequence[str]) -> Iterator[dict[str, Any]]:
    with calculator() as connection, streamed(connection, "states", _FAILURES, _states(store, shards)):
        last = connection.sql(
            "SELECT shard, slot, reason FROM states QUALIFY row_number() OVER (PARTITION BY uid ORDER BY ordinal DESC) = 1 "
            "AND reason IS NOT NULL ORDER BY ordinal, slot"
        )
        for batch in last.to_arrow_reader(_BATCH_ROWS):
            yield from batch.to_pylist()


def _states(store: Store, shards: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """What ledgers say of requests that failed once: a row a state, its ``reason`` null when the image came."""
    for ordinal, shard in enumerate(shards):
        path = f"fetch/{shard}.parquet"
        if not store.exists(f"shards/{shard}.parquet"):
            continue
        ledger = read_table(store, path, ["slot", "uid", "reason", SUPERSEDES])[0]
        told = ledger.filter(pc.or_(pc.is_valid(ledger["reason"]), pc.is_valid(ledger[SUPERSEDES])))
        table = pa.table(
            [
                pa.array([shard] * told.num_rows, pa.string()),
                pa.array([ordinal] * told.num_rows, pa.int32()),
                *(told[name] for name in ("slot", "uid", "reason")),
            ],
            schema=_FAILURES,
        )
        yield from table.to_batches()
