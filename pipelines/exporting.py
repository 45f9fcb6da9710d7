"""The export stage: the rows of a selection become new shards, by copying ranges of bytes.

The driver sorts the selected index rows into export order, out of core, and writes them as one list a new shard; an item
is then a new shard, which needs its list and nothing else. A sample of our own tars is copied whole, header to padding,
and neighbours in one read; of adopted tars the image's bytes are copied under our names. No image is decoded.

    <corpus>/exports/<policy>-<digest8>/00003.parquet   the rows of a new shard, in order, with where they come from
    <to>/00003.tar, 00003.parquet                       the shard and its index
    <to>/sizes.json, manifest.json                      samples a tar; hashes of everything; written last

Price: one read and one write of the bytes, one BLAKE3 digest; the sort of the index rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.computing import calculator, streamed
from ..corpora.errors import ConfigError, FatalError
from ..corpora.index import path_of, read_index, schema_with
from ..corpora.plan import shard_name
from ..corpora.ranges import each
from ..corpora.store import Store
from ..corpora.tables import read_meta, read_table, write_table
from ..filters.scorer import digest8
from .copying import ExportTask
from .deciding import Decision, read_decision
from .job import Job, StageResult, Work, nothing_left, run_map
from .recipe import ExportBlock

STAGE = "export"
MANIFEST = "manifest.json"
_BEGUN = ".tamis"
_SHARD_FILE = re.compile(r"\d{5,}\.(tar|parquet)")
ORIGIN_FIELDS = (("shard", pa.string()), ("tar", pa.string()), ("ours", pa.bool_()))

_ORDER = {
    "none": "shard_number, row",
    "block": "md5($seed || ':' || shard), shard_number, row",
    "full": "md5($seed || ':' || uid), uid",
}
"""The ORDER BY of each shuffle; md5 is the same function on every machine and version."""


def export(job: Job) -> list[StageResult]:
    """Write every export of the recipe that is not there as it should be."""
    if not job.recipe.exports:
        return [nothing_left(job, STAGE, 0, "samples")]
    decision = read_decision(job)
    if decision is None:
        raise ConfigError("nothing is decided for this corpus and recipe: run `tamis decide RECIPE` first")
    return [_export(job, decision, block) for block in job.recipe.exports]


def export_digest(decision: Decision, block: ExportBlock) -> str:
    """What names an export: the selection, the shuffle and the cut."""
    return digest8({"decision": decision.digest8, **block.model_dump(exclude={"to"})})


def _export(job: Job, decision: Decision, block: ExportBlock) -> StageResult:
    started = time.perf_counter()
    digest = export_digest(decision, block)
    target = Store(block.to)
    target.sweep()
    before = _manifest(target)
    if before is not None and before["digest"] == digest and _all_there(target, before):
        target.remove(_BEGUN)  # it is there when the run was killed between the manifest and this
        return nothing_left(job, STAGE, len(before["shards"]), "samples", _called(block))
    _take_over(target, before)
    folder = f"exports/{block.policy}-{digest}"
    shards = _lists(job, decision, block, folder)
    written = _written(target, shards, digest)
    todo = [shard for shard in shards if shard not in written]
    work = Work(todo, len(shards) - len(todo), "samples", "samples", of=_called(block))
    result = run_map(job, STAGE, ExportTask(job.store, target, folder, digest, job.corpus().source_schema), work)
    if not result.poison:
        _finish(job, target, block, digest, shards)
    return replace(result, seconds=time.perf_counter() - started)


def _called(block: ExportBlock) -> str:
    """What logs call an export: the last part of its place, for a policy may have several."""
    return block.to.rstrip("/").rsplit("/", 1)[-1]


def _manifest(target: Store) -> dict[str, Any] | None:
    """The manifest of a finished export of ours; other programs have files of that name, too."""
    if not target.exists(MANIFEST):
        return None
    try:
        found = target.read_json(MANIFEST)
    except ValueError:
        return None
    ours = isinstance(found, dict) and {"digest", "policy", "shards"} <= found.keys()
    return dict(found) if ours else None


def _all_there(target: Store, manifest: dict[str, Any]) -> bool:
    tars = {str(entry["tar"]) for entry in manifest["shards"]}
    return tars | {tar.removesuffix(".tar") + ".parquet" for tar in tars} <= set(target.names(""))


def _take_over(target: Store, before: dict[str, Any] | None) -> None:
    """Make the target ours: an older export of tamis is replaced, a folder with other things in it is refused."""
    target.check_writable()
    names = target.names("")
    begun = target.exists(_BEGUN)
    if names and before is None and not begun and _manifest(target) is None:  # another run may have just finished it
        raise ConfigError(
            f"exports.to: {target.root!r} holds {len(names)} files that no export of tamis wrote (such as {names[0]!r}): "
            "name an empty or a new folder"
        )
    target.put_atomic(_BEGUN, b"An export of tamis is being written here.\n")
    if before is not None:
        target.remove(MANIFEST)  # from here on the folder is an unfinished export


def _lists(job: Job, decision: Decision, block: ExportBlock, folder: str) -> list[str]:
    """The rows of each new shard, sorted and written unless they are; the shards' names."""
    done = f"{folder}/plan.json"
    if job.store.exists(done):
        return [shard_name(n) for n in range(job.store.read_json(done)["shards"])]
    schema = pa.schema(list(schema_with(job.corpus().source_schema)) + [pa.field(*f) for f in ORIGIN_FIELDS])
    number = rows = 0
    for table in _cut(_sorted_rows(job, decision, block, schema), block.samples):
        write_table(job.store, f"{folder}/{shard_name(number)}.parquet", table.cast(schema), {})
        number, rows = number + 1, rows + table.num_rows
    job.store.put_json(done, {"shards": number, "rows": rows, "policy": block.policy, "to": block.to})
    return [shard_name(n) for n in range(number)]


def _sorted_rows(job: Job, decision: Decision, block: ExportBlock, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    placed = pa.schema([*schema, pa.field("row", pa.int32()), pa.field("shard_number", pa.int64())])
    selected = _selected(job.store, decision, block.policy, placed)
    with calculator() as connection, streamed(connection, "selected", placed, selected):
        names = ", ".join(f'"{name}"' for name in schema.names)
        query = f"SELECT {names} FROM selected ORDER BY {_ORDER[block.shuffle]}"
        params = {"seed": str(block.seed)} if block.shuffle != "none" else None
        yield from connection.sql(query, params=params).to_arrow_reader(10_000)


def _selected(store: Store, decision: Decision, policy: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The index rows of a selection, shard by shard, with where they come from."""
    folder = decision.selection(policy)
    for part in decision.ledger["parts"]:
        places = read_table(store, f"{folder}/{part}.parquet", ["uid", "shard", "row"])[0]
        for shard in places["shard"].unique().to_pylist():
            rows = places.filter(pc.equal(places["shard"], shard))
            index = read_index(store, shard)
            table = index.table.take(rows["row"])
            if table["uid"] != rows["uid"]:
                raise FatalError(
                    f"{folder}/{part}.parquet names other rows than {path_of(shard)}: run `tamis decide` again"
                )
            origin: dict[str, Any] = {"shard": shard, "tar": index.tar.url, "ours": index.tar.ours}
            for name, value in {**origin, "shard_number": int(shard)}.items():
                table = table.append_column(name, pa.array([value] * table.num_rows))
            table = table.append_column("row", rows["row"])
            yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()


def _cut(batches: Iterator[pa.RecordBatch], samples: int) -> Iterator[pa.Table]:
    """Tables of exactly ``samples`` rows, the last one shorter."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while rows + batch.num_rows >= samples:
            head = samples - rows
            yield pa.Table.from_batches([*held, batch.slice(0, head)])
            batch, held, rows = batch.slice(head), [], 0
        if batch.num_rows:
            held.append(batch)
            rows += batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def _written(target: Store, shards: Sequence[str], digest: str) -> set[str]:
    """The shards that this export has written, before it was stopped."""
    names = set(target.names(""))
    there = [shard for shard in shards if {f"{shard}.tar", f"{shard}.parquet"} <= names]
    exports = each(lambda shard: read_meta(target, f"{shard}.parquet").get("export"), there, target.requests_at_once)
    return {shard for shard, export in zip(there, exports, strict=True) if export == digest}


def _finish(job: Job, target: Store, block: ExportBlock, digest: str, shards: Sequence[str]) -> None:
    """Remove what an older export left, then write sizes and the manifest."""
    wanted = {f"{shard}{ending}" for shard in shards for ending in (".tar", ".parquet")}
    for name in target.names(""):
        if _SHARD_FILE.fullmatch(name) and name not in wanted:
            target.remove(name)
    metas = list(each(lambda shard: read_meta(target, f"{shard}.parquet"), shards, target.requests_at_once))
    told = [{"shard": shard, **meta["tar"]} for shard, meta in zip(shards, metas, strict=True)]
    samples = {shard: meta["samples"] for shard, meta in zip(shards, metas, strict=True)}
    target.put_json("sizes.json", {f"{shard}.tar": count for shard, count in samples.items()})
    manifest = {
        "corpus": job.recipe.name,
        "policy": block.policy,
        "digest": digest,
        "shuffle": block.shuffle,
        "seed": block.seed,
        "samples": sum(samples.values()),
        "bytes": sum(entry["size"] for entry in told),
        "shards": [
            {"tar": entry["url"], "size": entry["size"], "blake3": entry["blake3"], "samples": samples[entry["shard"]]}
            for entry in told
        ],
    }
    target.put_json(MANIFEST, manifest)
    target.remove(_BEGUN)
    target.sweep()
