"""``group`` by two maps over files of this machine: the local engine's way.

First runs of items are read, and the rows of each are written to one file, cut by part; then each part takes its share of every
file, sorts it (on disk, when it is larger than memory), reduces and commits it. Where one part is to be made nothing
needs to be moved: the worker that makes it reads the items.

A file is an Arrow file with ``partitions`` batches for each piece of rows that fitted in memory: batch
``g * partitions + p`` has the rows of part p in piece g, so a part finds its share without an index.

Price: rows are written to disk and read once; two rounds of workers, or one for one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...corpora.engine import Json, Outcome, Task
from ...corpora.errors import FatalError
from ...corpora.grouping import PART, Dataset, Grouping, Parts, part_name
from ...corpora.groups import moved_rows, sorted_rows, write_parts

Map = Callable[[Task, Sequence[str]], Iterator[Outcome]]
"""An engine's ``map`` with its resources."""

MAX_RUNS = 128
"""Items are read in at most so many runs: each part opens a file of each."""

_PIECES_IN_MEMORY = 8
"""A piece of rows is held, cleaned, cut and compressed; the rest is for the reader."""


def made_by_maps(
    run: Map, dataset: Dataset, grouping: Grouping, parts: Parts, todo: Sequence[int], memory_gib: float
) -> Iterator[Outcome]:
    """Make parts by an engine's ``map``; an outcome for each into which rows fall.

    Raises:
        FatalError, ConfigError: an item could not be read, or a part not made.
    """
    with parts.store.scratch() as folder:
        moving = _Moving(dataset, grouping, folder, memory_gib, tuple(todo))
        count = min(MAX_RUNS, len(dataset.items)) if len(todo) > 1 else 0
        runs = {f"run-{number:03d}": tuple(dataset.items[number::count]) for number in range(count)}
        for outcome in run(_Cut(moving, runs), list(runs)) if runs else ():
            _check(outcome, f"reading {', '.join(runs[outcome.item][:3])}, ...")
        for outcome in run(_Make(moving, parts, tuple(runs)), [part_name(number) for number in todo]):
            if _check(outcome, f"part {outcome.item}").value:
                yield outcome


def _check(outcome: Outcome, what: str) -> Outcome:
    if outcome.fatal:
        raise outcome.fatal(outcome.error)
    if not outcome.ok:
        raise FatalError(f"group: {what}: {outcome.error}")
    return outcome


@dataclass(frozen=True)
class _Moving:
    """What both maps know; ``todo`` are the parts to make."""

    dataset: Dataset
    grouping: Grouping
    folder: str
    memory_gib: float
    todo: Sequence[int]

    def rows(self, items: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of some items that belong to the parts to make."""
        limit = int(self.memory_gib * (1 << 30) / _PIECES_IN_MEMORY)
        return moved_rows(self.grouping, self.dataset, items, self.todo, limit)


@dataclass(frozen=True)
class _Cut:
    """Reads a run of items and writes a file of their rows, cut by part."""

    moving: _Moving
    runs: dict[str, tuple[str, ...]]

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Json]:
        grouping, rows = self.moving.grouping, 0
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(f"{self.moving.folder}/{item}", grouping.moved_schema, options=options) as file:
            for table in self.moving.rows(self.runs[item]):
                rows += table.num_rows
                numbers = table[PART].to_numpy()
                [cut] = table.take(pa.array(np.argsort(numbers, kind="stable"))).combine_chunks().to_batches()
                ends = np.cumsum(np.bincount(numbers, minlength=grouping.partitions))
                for start, end in zip([0, *ends[:-1]], ends, strict=True):
                    file.write_batch(cut.slice(start, end - start))
        return {"rows": rows}


@dataclass(frozen=True)
class _Make:
    """Makes one part."""

    moving: _Moving
    parts: Parts
    runs: tuple[str, ...]

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Json]:
        grouping, number = self.moving.grouping, int(item)
        with sorted_rows(grouping, self._rows(number), self.moving.memory_gib, self.moving.folder) as rows:
            [*made] = write_parts(grouping, self.parts, rows, {})
        return dict(made[0].value or {}) if made else {}

    def _rows(self, number: int) -> Iterator[pa.RecordBatch]:
        if not self.runs:
            for table in self.moving.rows(self.moving.dataset.items):
                yield from table.to_batches()
        for run in self.runs:
            with pa.OSFile(f"{self.moving.folder}/{run}") as source, pa.ipc.open_file(source) as file:
                for place in range(number, file.num_record_batches, self.moving.grouping.partitions):
                    batch = file.get_batch(place)
                    if batch.num_rows:
                        yield batch
