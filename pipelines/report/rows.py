"""The rows of a corpus for a report: columns and verdicts side by side, a shard at a time, and chosen rows by place.

A family that has not measured a shard yet gives no column there, so that a page can be made of a half-finished run.
Price: the columns that are asked for, read once a scan; memory is that of a shard, and of a part's verdicts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...corpora.tables import read_table
from ...filters.policies import Rules
from ..columns import WideTable
from ..deciding import Decision, parts_of


@dataclass(frozen=True, order=True)
class Place:
    """Where a row stands."""

    shard: str
    row: int


@dataclass(frozen=True)
class Rows:
    """The rows of one shard that are there (not removed): their numbers, columns, and verdicts when there are any."""

    shard: str
    numbers: NDArray[np.int64]
    table: pa.Table
    verdicts: pa.Table | None


@dataclass(frozen=True)
class Survey:
    """What a report reads: a corpus, and what was decided about it."""

    wide: WideTable
    shards: Sequence[str]
    rules: Rules
    decision: Decision | None

    def scan(self, columns: Sequence[str], judged: bool = True) -> Iterator[Rows]:
        """``uid``, those of ``columns`` that are measured, and all verdicts unless not ``judged``, shard by shard."""
        shards = self._judged(self.shards) if judged else ((shard, None) for shard in self.shards)
        for shard, verdicts in shards:
            table = self.wide.read(shard, ["removed", *self.measured(shard, columns)])[0]
            present = pc.invert(table["removed"])
            numbers = np.flatnonzero(present.to_numpy())
            yield Rows(
                shard, numbers, table.filter(present), verdicts.filter(present) if verdicts is not None else None
            )

    def take(self, places: Iterable[Place], columns: Sequence[str]) -> dict[Place, dict[str, Any]]:
        """Chosen rows: ``uid``, ``columns`` (None where they are not measured), and their verdicts under ``verdicts``."""
        wanted: dict[str, list[int]] = {}
        for place in sorted(set(places)):
            wanted.setdefault(place.shard, []).append(place.row)
        found: dict[Place, dict[str, Any]] = {}
        for shard, verdicts in self._judged(wanted):
            numbers = wanted[shard]
            rows = self.wide.read(shard, self.measured(shard, columns))[0].take(numbers).to_pylist()
            judged = verdicts.take(numbers).to_pylist() if verdicts is not None else [{}] * len(rows)
            for number, row, verdict in zip(numbers, rows, judged, strict=True):
                found[Place(shard, number)] = {**dict.fromkeys(columns), **row, "verdicts": verdict}
        return found

    def measured(self, shard: str, columns: Sequence[str]) -> list[str]:
        """Those of ``columns`` that can be read for this shard."""
        missing = {spec.name for spec in self.wide.families if not self.wide.store.exists(spec.path(shard))}
        return [name for name in columns if name.partition(".")[0] not in missing or "." not in name]

    def _judged(self, wanted: Collection[str]) -> Iterator[tuple[str, pa.Table | None]]:
        """The wanted shards, each with the verdicts on its rows if there are any."""
        for part, shards in parts_of(self.shards).items():
            chosen = [shard for shard in shards if shard in wanted]
            if not chosen or self.decision is None:
                yield from ((shard, None) for shard in chosen)
                continue
            verdicts = read_table(self.wide.store, f"verdicts/{self.decision.digest8}/{part}.parquet")[0]
            for shard in chosen:
                mine = verdicts.filter(pc.equal(verdicts["shard"], shard))
                yield shard, mine.drop_columns(["uid", "shard", "row"])
