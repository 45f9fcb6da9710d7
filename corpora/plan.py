"""The plan: which request goes to which slot of which shard, fixed before the first byte is asked for.

The order is a seeded permutation: requests are sorted by SHA-256(seed, uid). Equal uids fall together, so the same sort
finds duplicates; the first in the list wins, later ones are recorded ``duplicate_uid``. Cut into runs of
``samples`` slots it gives the shards. Price: one out-of-core sort of 100 bytes a request, in DuckDB.

    plan/00012.parquet     slot, uid, url, captions, source.<name>...   a row a slot
    plan/refused.parquet   the requests that get no slot, with the reason
    plan/plan.json         written last: the fingerprint of list and seed, and the counts
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .computing import calculator
from .errors import ConfigError
from .index import SOURCE_PREFIX
from .records import ListSource, Record
from .store import Store
from .tables import growing_table, read_table, write_table

PLAN = "plan/plan.json"
REFUSED = "plan/refused.parquet"
REFUSED_SCHEMA = pa.schema(
    [("uid", pa.string()), ("url", pa.string()), ("caption", pa.string()), ("reason", pa.string())]
)
_SPILL_ROWS = 50_000


@dataclass(frozen=True)
class Plan:
    """The counts of a finished plan, and the digest of what it was made from."""

    fingerprint: str
    requests: int
    slots: int
    shards: int
    refused: int

    def shard_names(self) -> list[str]:
        """All shards, in order."""
        return [shard_name(number) for number in range(self.shards)]


def shard_name(number: int) -> str:
    """``00012``; more digits when there are more shards."""
    return f"{number:05d}"


def slots_schema(source: pa.Schema) -> pa.Schema:
    """The schema of a shard's slots."""
    fixed: list[Any] = [
        ("slot", pa.int32()),
        ("uid", pa.string()),
        ("url", pa.string()),
        ("captions", pa.list_(pa.string())),
    ]
    return pa.schema(fixed + [(SOURCE_PREFIX + f.name, f.type) for f in source])


def make_plan(store: Store, source: ListSource, samples: int, seed: int, kept: str = "") -> Plan:
    """Plan the list, or take the plan that is there; ``kept`` says in what form images are kept, where not as they come.

    Raises:
        ConfigError: the folder's plan was made from another list, seed or shard size, or for another form.
    """
    told = f"{source.fingerprint()}|{samples}|{seed}" + (f"|{kept}" if kept else "")
    made_from = hashlib.sha256(told.encode()).hexdigest()
    if store.exists(PLAN):
        return _check(Plan(**store.read_json(PLAN)), made_from, store)
    schema = source.schema()
    with tempfile.TemporaryDirectory(prefix="tamis-plan-") as folder:
        requests = _spill(source, schema, seed, Path(folder) / "requests.parquet")
        slots, shards = _write_plan(store, _in_plan_order(Path(folder)), schema, samples)
    plan = Plan(made_from, requests, slots, shards, requests - slots)
    store.put_json(PLAN, asdict(plan))
    return plan


def _write_plan(store: Store, ordered: Iterator[dict[str, Any]], schema: pa.Schema, samples: int) -> tuple[int, int]:
    """Write slots and refused requests; how many slots there are, in how many shards."""
    slots = shards = 0
    rows: list[dict[str, Any]] = []
    with growing_table(store, REFUSED, REFUSED_SCHEMA, {}) as refuse:
        for row in ordered:
            if reason := row.pop("reason"):
                caption = (row["captions"] or [""])[0]
                refuse({"uid": row["uid"], "url": row["url"], "caption": caption, "reason": reason})
                continue
            rows.append({"slot": len(rows), **row})
            if len(rows) == samples:
                _write_slots(store, shards, rows, schema)
                shards, slots, rows = shards + 1, slots + len(rows), []
    if rows:
        _write_slots(store, shards, rows, schema)
        shards, slots = shards + 1, slots + len(rows)
    return slots, shards


def read_plan(store: Store) -> Plan:
    """The finished plan of a corpus."""
    return Plan(**store.read_json(PLAN))


def read_slots(store: Store, shard: str) -> list[dict[str, Any]]:
    """A shard's requests in slot order."""
    rows: list[dict[str, Any]] = read_table(store, f"plan/{shard}.parquet")[0].to_pylist()
    return rows


def _check(plan: Plan, made_from: str, store: Store) -> Plan:
    if plan.fingerprint != made_from:
        raise ConfigError(
            f"{store.root!r} was planned from another list, seed or shard size, or with another `resize:` (fingerprint "
            f"{plan.fingerprint[:8]}, this recipe gives {made_from[:8]}): name another folder under `corpus:`, or restore the "
            "old ones"
        )
    return plan


def _spill(source: ListSource, schema: pa.Schema, seed: int, path: Path) -> int:
    """Write the requests with their sort keys to local disk; how many."""
    spill_schema = pa.schema([("place", pa.binary(16)), ("ordinal", pa.int64()), *list(slots_schema(schema))[1:]])
    count = 0
    with pq.ParquetWriter(path, spill_schema) as writer:
        for rows in _batches(_spill_rows(source, schema, seed)):
            count += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=spill_schema))
    return count


def _spill_rows(source: ListSource, schema: pa.Schema, seed: int) -> Iterator[dict[str, Any]]:
    prefix = seed.to_bytes(8, "big", signed=True)
    for ordinal, record in enumerate(source.records()):
        uid = record.uid
        place = hashlib.sha256(prefix + uid.encode()).digest()[:16]
        yield {"place": place, "ordinal": ordinal, **_request(record, uid, schema)}


def _request(record: Record, uid: str, schema: pa.Schema) -> dict[str, Any]:
    extra = {SOURCE_PREFIX + name: record.extra.get(name) for name in schema.names}
    return {"uid": uid, "url": record.url, "captions": list(record.captions), **extra}


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _SPILL_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _in_plan_order(folder: Path) -> Iterator[dict[str, Any]]:
    """The requests in plan order, each with the reason why it gets no slot, or None."""
    with calculator() as connection:
        query = "SELECT * EXCLUDE (ordinal) FROM read_parquet(?) ORDER BY place, ordinal"
        relation = connection.sql(query, params=[str(folder / "requests.parquet")])
        rows = (row for batch in relation.to_arrow_reader(_SPILL_ROWS) for row in batch.to_pylist())
        for _, same_uid in groupby(rows, key=itemgetter("place")):
            for copy, row in enumerate(same_uid):
                del row["place"]
                yield {**row, "reason": _refusal(row["url"], copy)}


def _refusal(url: str, copy: int) -> str | None:
    if copy:
        return "duplicate_uid"
    return None if url else "no_url"


def _write_slots(store: Store, number: int, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(rows, schema=slots_schema(schema))
    write_table(store, f"plan/{shard_name(number)}.parquet", table, {})
