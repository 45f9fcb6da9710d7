"""All that is known of one sample: where it stands, what was measured, every verdict, its copies, its exports.

Read from the corpus alone, without a recipe, so that it answers for runs of long ago. Price: one pass over the uid
columns, for a corpus keeps no index by uid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..corpora.corpus import Corpus
from ..corpora.errors import ConfigError
from ..corpora.grouping import finished_parts
from ..corpora.index import path_of
from ..corpora.plan import REFUSED
from ..corpora.ranges import each
from ..corpora.tables import read_table


def explain(corpus: Corpus, name: str) -> dict[str, Any]:
    """What is known of the sample with this uid, or with this URL.

    Raises:
        ConfigError: the corpus has never heard of it.
    """
    found = _in_index(corpus, name)
    if found is None:
        return {"fetch": _in_ledgers(corpus, name)}
    shard, row, sample = found
    ledger = _matching(read_table(corpus.store, f"fetch/{shard}.parquet")[0], "uid", sample["uid"])
    return {
        "sample": {"shard": shard, "row": row, **sample},
        "fetch": ledger[0] if ledger else None,  # its later copies are told there, too
        "scores": dict(_scores(corpus, shard, row)),
        "duplicates": dict(_duplicates(corpus, sample["uid"])),
        "verdicts": dict(_verdicts(corpus, shard, row)),
        "exports": list(_exports(corpus, sample["uid"])),
    }


def _in_index(corpus: Corpus, name: str) -> tuple[str, int, dict[str, Any]] | None:
    column = "url" if "/" in name else "uid"
    shards = corpus.shards()
    columns = each(lambda shard: _column(corpus, shard, column), shards, corpus.store.requests_at_once)
    for shard, names in zip(shards, columns, strict=True):
        row = pc.index(names, pa.scalar(name, pa.string())).as_py()
        if row >= 0:
            sample = read_table(corpus.store, path_of(shard))[0].slice(row, 1).to_pylist()[0]
            return shard, row, sample
    return None


def _column(corpus: Corpus, shard: str, column: str) -> pa.ChunkedArray:
    return read_table(corpus.store, path_of(shard), [column])[0][column]


def _in_ledgers(corpus: Corpus, name: str) -> dict[str, Any]:
    column = "url" if "/" in name else "uid"
    files = sorted(
        corpus.store.names("fetch"), key=lambda name: (len(name), name), reverse=True
    )  # the last state first
    paths = [f"fetch/{file}" for file in files] + [REFUSED] * corpus.store.exists(REFUSED)
    for path in paths:
        rows = _matching(read_table(corpus.store, path)[0], column, name)
        if rows:
            return rows[0]
    raise ConfigError(f"{name!r} is no uid or URL of the corpus {corpus.name!r}; uids have 32 hex digits")


def _matching(table: pa.Table, column: str, value: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.filter(pc.equal(table[column], value)).to_pylist()
    return rows


def _scores(corpus: Corpus, shard: str, row: int) -> Iterator[tuple[str, Any]]:
    for name in corpus.store.folders("scores"):
        for identity in corpus.store.folders(f"scores/{name}"):
            path = f"scores/{name}/{identity}/{shard}.parquet"
            if corpus.store.exists(path):
                values = read_table(corpus.store, path)[0].slice(row, 1).to_pylist()[0]
                del values["uid"]
                yield f"{name}/{identity}", values


def _duplicates(corpus: Corpus, uid: str) -> Iterator[tuple[str, Any]]:
    for method in corpus.store.folders("duplicates"):
        for identity in corpus.store.folders(f"duplicates/{method}"):
            for table in _clusters(corpus, f"duplicates/{method}/{identity}"):
                mine = _matching(table, "uid", uid)
                if mine:
                    copies = _matching(table, "cluster", mine[0]["cluster"])
                    yield f"{method}/{identity}", [copy["uid"] for copy in copies if copy["uid"] != uid]


def _clusters(corpus: Corpus, folder: str) -> Iterator[pa.Table]:
    """The clusters that one method found, a part at a time; a cluster lies in one part."""
    parts = finished_parts(corpus.store, folder)
    if parts is not None:
        for number in range(parts.count() or 0):
            yield read_table(corpus.store, parts.path(number))[0]


def _verdicts(corpus: Corpus, shard: str, row: int) -> Iterator[tuple[str, Any]]:
    for digest in corpus.store.folders("verdicts"):
        for part in corpus.store.names(f"verdicts/{digest}"):
            first, _, last = part.removesuffix(".parquet").partition("-")
            if not last or not int(first) <= int(shard) <= int(last):
                continue
            table = read_table(corpus.store, f"verdicts/{digest}/{part}")[0]
            mine = table.filter(pc.and_(pc.equal(table["shard"], shard), pc.equal(table["row"], row)))
            if not mine.num_rows:
                continue  # the shard came after this decision
            verdicts = mine.drop_columns(["uid", "shard", "row"]).to_pylist()[0]
            policies = {n.removeprefix("policy."): v is True for n, v in verdicts.items() if n.startswith("policy.")}
            criteria = {n: v for n, v in verdicts.items() if not n.startswith("policy.")}
            yield digest, {"kept_by": policies, "criteria": criteria}


def _exports(corpus: Corpus, uid: str) -> Iterator[dict[str, Any]]:
    for name in corpus.store.folders("exports"):
        if not corpus.store.exists(f"exports/{name}/plan.json"):
            continue  # its lists are being written, or were left half-written
        plan = corpus.store.read_json(f"exports/{name}/plan.json")
        for part in corpus.store.names(f"exports/{name}"):
            if part.endswith(".parquet"):
                uids = read_table(corpus.store, f"exports/{name}/{part}", ["uid"])[0]["uid"]
                row = pc.index(uids, pa.scalar(uid, pa.string())).as_py()
                if row >= 0:
                    yield {"to": plan["to"], "shard": part.removesuffix(".parquet"), "row": row}
