"""Grouping by two maps over files of a machine: rows find their part in whatever pieces and runs they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tamis.corpora.engine import Outcome, Resources, Task
from tamis.corpora.errors import FatalError
from tamis.corpora.grouping import Dataset, Parts
from tamis.corpora.store import SPOOL, Store
from tamis.jobs.engines import local_grouping
from tamis.jobs.engines.local_grouping import made_by_maps

from ...corpora.grouped import dataset, in_lists
from ...pipelines.running import Inline

COUNTS = pa.schema({"key": pa.int64(), "count": pa.int64()})
ITEMS = [[pa.table({"key": range(50), "count": [item] * 50}, COUNTS)] * 3 for item in range(7)]


class Looking(Inline):
    """Looks at the files between the rounds."""

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        yield from super().map(task, items, resources)
        if items[0].startswith("run-"):
            folder = Path(task.moving.folder)  # type: ignore[attr-defined]
            self.batches = {path.name: pa.ipc.open_file(str(path)).num_record_batches for path in folder.iterdir()}


def grouped(folder: Path, partitions: int = 3, **engine: Any) -> tuple[list[dict[str, Any]], Looking]:
    looking = Looking(**engine)
    parts = Parts(Store(str(folder)), "grouped")
    list(looking.group(dataset(*ITEMS), in_lists(COUNTS, "key", partitions=partitions), parts, Resources()))
    assert [path.name for path in folder.iterdir() if path.name not in {"grouped", SPOOL}] == []
    assert list((folder / SPOOL).iterdir()) == []
    return [row for table in parts.tables() for row in table.to_pylist()], looking


def test_rows_find_their_part_in_any_pieces_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, looking = grouped(tmp_path / "one")
    assert looking.ran == [*(f"run-{number:03d}" for number in range(7)), "00000", "00001", "00002"]
    assert set(looking.batches.values()) == {3}
    assert {row["key"]: sorted(row["count"]) for row in expected} == {key: sorted([*range(7)] * 3) for key in range(50)}
    monkeypatch.setattr(local_grouping, "_PIECES_IN_MEMORY", 1 << 30)
    monkeypatch.setattr(local_grouping, "MAX_RUNS", 2)
    found, looking = grouped(tmp_path / "other")
    assert found == expected
    assert looking.ran[:2] == ["run-000", "run-001"]
    assert looking.batches == {"run-000": 4 * 3 * 3, "run-001": 3 * 3 * 3}, "a piece a table, three parts a piece"


def test_one_part_is_made_without_moving_rows(tmp_path: Path) -> None:
    found, looking = grouped(tmp_path, partitions=1)
    assert looking.ran == ["00000"]
    assert len(found) == 50


def test_what_cannot_be_read_or_made_is_named(tmp_path: Path) -> None:
    items = Dataset(["a", "b", "c"], dataset(*ITEMS).read)
    grouping = in_lists(COUNTS, "key", partitions=2)
    parts = Parts(Store(str(tmp_path)), "grouped")
    poisoned = Inline(poison=frozenset(["run-001"]))
    with pytest.raises(FatalError, match=r"^group: reading b, \.\.\.: poisoned$"):
        list(poisoned.group(replace(items, read=lambda item: iter(())), grouping, parts, Resources()))
    with pytest.raises(FatalError, match=r"^group: part 00001: poisoned$"):
        list(Inline(poison=frozenset(["00001"])).group(dataset(*ITEMS), grouping, parts, Resources()))
    assert parts.store.names("grouped") == ["00000.parquet"]


def test_parts_into_which_no_row_falls_have_no_outcome(tmp_path: Path) -> None:
    def run(task: Task, items: Sequence[str]) -> Iterator[Outcome]:
        return Inline().map(task, items, Resources())

    one_row = [pa.table({"key": [7], "count": [1]}, COUNTS)]
    parts = Parts(Store(str(tmp_path)), "grouped")
    made = made_by_maps(run, dataset(one_row), in_lists(COUNTS, "key", partitions=9), parts, range(9), 0.25)
    assert len(list(made)) == 1
