"""Grouping: the same bytes on every engine and any number of workers, and errors that say what was wrong."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tamis.corpora.engine import Outcome, Resources
from tamis.corpora.errors import FatalError, ShardError
from tamis.corpora.grouping import DONE, Dataset, Grouping, Parts
from tamis.corpora.store import Store
from tamis.jobs.engines.local import LocalEngine

from ...corpora.grouped import Given, Lists, in_lists, plainly_grouped, sums
from ...pipelines.running import Inline
from .acting import Marks
from .spark_sessions import ended_after

Group = Callable[[Dataset, Grouping, Parts, Resources], Iterator[Outcome]]

TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
}
SCHEMA = pa.schema([*TYPES.items(), *((f"{name}s", pa.list_(type_)) for name, type_ in TYPES.items())])
COUNTS = pa.schema({"key": pa.int64(), "count": pa.int64()})
WORDS = ["", "a", "a\0", "ü", "\uffff", "\U0001f600", "x" * 300]


@dataclass(frozen=True)
class Mix:
    """Rows of every type, of which two in three have a key of few; the others' are hardly ever met twice."""

    rows: int

    def __call__(self, item: str) -> Iterator[pa.Table]:
        for table in range(2):
            yield self._table(np.random.default_rng((int(item), table)))

    def _table(self, rng: np.random.Generator) -> pa.Table:
        numbers = np.where(
            rng.random(self.rows) < 0.67, rng.integers(0, 7, self.rows), rng.integers(0, 1 << 31, self.rows)
        )
        floats = np.where(numbers < 6, np.array([np.nan, np.inf, -0.0, 0.0, -1.5, 2.0])[numbers % 6], numbers)
        values: dict[str, Any] = {
            "bool": numbers % 2 == 0,
            "int32": numbers,
            "int64": numbers - (1 << 40),
            "float32": floats,
            "float64": floats,
            "string": [WORDS[number] if number < 7 else f"word {number}" for number in numbers],
            "binary": [number.tobytes() for number in numbers],
        }
        nulls = rng.random(self.rows) < 0.05
        columns = {name: pa.array(values[name], mask=nulls).cast(type_) for name, type_ in TYPES.items()}
        offsets = np.sort(rng.integers(0, self.rows, self.rows + 1)).astype(np.int32)
        lists = {f"{name}s": pa.ListArray.from_arrays(pa.array(offsets), columns[name]) for name in TYPES}
        return pa.table({**columns, **lists})


@dataclass(frozen=True)
class Heavy:
    """One key that half of the rows have, and others that few have."""

    rows: int

    def __call__(self, item: str) -> Iterator[pa.Table]:
        keys = np.random.default_rng(int(item)).integers(1, self.rows, self.rows)
        keys[: self.rows // 2] = 7
        yield pa.table({"key": keys, "count": np.ones(self.rows, np.int64)})


def items(count: int, read: Callable[[str], Iterator[pa.Table]]) -> Dataset:
    return Dataset([str(number) for number in range(count)], read)


@pytest.fixture(scope="module")
def ray_session() -> Iterator[Group]:
    import ray

    from tamis.jobs.engines.ray import RayEngine

    small = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_num_workers_soft_limit", "16")  # a worker of another stage need not go before one comes
        ray.init(**small, log_to_driver=False, logging_level=logging.ERROR)
    yield RayEngine(2, memory_gib=0.5).group
    ray.shutdown()


@pytest.fixture(scope="module")
def spark_session() -> Iterator[Group]:
    from tamis.jobs.engines.spark import SparkEngine

    with ended_after():
        yield SparkEngine(2, memory_gib=0.5).group


def group_of(engine: str, request: pytest.FixtureRequest) -> Group:
    """``Engine.group`` of an engine."""
    match engine:
        case "ray":
            return request.getfixturevalue("ray_session")  # type: ignore[no-any-return]
        case "spark":
            return request.getfixturevalue("spark_session")  # type: ignore[no-any-return]
        case "in process":
            return Inline().group
    return LocalEngine(1 if engine == "one process" else 2, memory_gib=0.5).group


@pytest.fixture(params=["in process", "ray", "spark"])
def group(request: pytest.FixtureRequest) -> Group:
    """``Engine.group`` of engines that differ in it: processes do what one process does."""
    return group_of(request.param, request)


def files(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def done(group: Group, dataset: Dataset, grouping: Grouping, parts: Parts) -> dict[str, int]:
    """Group; the rows of each part that was made."""
    return {
        outcome.item: outcome.value["rows"] for outcome in group(dataset, grouping, parts, Resources()) if outcome.value
    }


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(Store(str(tmp_path / "store")), "grouped", {"of": "a test"})


@pytest.mark.parametrize("engine", ["one process", "two processes", "ray", "spark"])
@pytest.mark.parametrize(
    ("key", "others"), [("string", ["bool", "float64", "int32"]), ("float32", ["binary", "int64"])]
)
def test_every_engine_writes_the_same_bytes(
    engine: str, key: str, others: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dataset = items(5, Mix(600))
    grouping = in_lists(SCHEMA, key, order=tuple(others), partitions=3)
    expected = Parts(Store(str(tmp_path / "in process")), "grouped")
    here = Parts(Store(str(tmp_path / "here")), "grouped")
    counts = done(Inline().group, dataset, grouping, expected)
    assert done(group_of(engine, request), dataset, grouping, here) == counts
    assert files(tmp_path / "here" / "grouped") == files(tmp_path / "in process" / "grouped")
    rows = [row for item in dataset.items for table in dataset.read(item) for row in table.to_pylist()]
    plain = plainly_grouped(rows, key, others)
    assert sum(counts.values()) == len(plain) > 2
    groups = [row for table in here.tables() for row in table.to_pylist()]
    assert all(one[name] == [row[name] for row in plain[one[key]]] for one in groups for name in others)


def test_a_heavy_key_shrinks_on_its_way_and_the_sums_are_those_of_a_plain_program(group: Group, parts: Parts) -> None:
    dataset = items(4, Heavy(3000))
    grouping = in_lists(COUNTS, "key", partitions=4, combine=sums, max_rows=100)
    done(group, dataset, grouping, parts)
    rows = [key for item in dataset.items for table in dataset.read(item) for key in table["key"].to_pylist()]
    found = {row["key"]: row["count"] for table in parts.tables() for row in table.to_pylist()}
    assert found == {key: [count] for key, count in Counter(rows).items()}


def test_a_heavy_key_without_a_combine_is_named_with_its_count(group: Group, parts: Parts) -> None:
    grouping = in_lists(COUNTS, "key", partitions=2, max_rows=100)
    told = r"^group by key: the key 7 has 6,00\d rows, more than max_rows \(100\); give the grouping a combine"
    with pytest.raises(FatalError, match=told):
        done(group, items(4, Heavy(3000)), grouping, parts)
    assert parts.count() is None


@dataclass(frozen=True)
class Fails:
    """A reducer that meets what it did not expect."""

    error: Exception

    def __call__(self, table: pa.Table) -> pa.Table:
        raise self.error


def test_what_a_reducer_raises_is_told_and_no_part_is_there(group: Group, parts: Parts) -> None:
    grouping = replace(in_lists(COUNTS, "key", partitions=3), reducer=Fails(ValueError("seven is too many")))
    with pytest.raises(FatalError, match=r"ValueError: seven is too many \(test_grouping\.py:\d+\)"):
        done(group, items(2, Heavy(100)), grouping, parts)
    assert parts.store.names("grouped") == []


def unreadable() -> None:
    raise ValueError("not on this machine")


class Unsendable(Lists):
    """A reducer that no other process can read."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return unreadable, ()


@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_what_workers_cannot_even_read_is_told_in_a_line(
    engine: str, parts: Parts, request: pytest.FixtureRequest
) -> None:
    grouping = replace(in_lists(COUNTS, "key"), reducer=Unsendable("key"))
    with pytest.raises(FatalError, match=r"^group: [^\n]*not on this machine[^\n]*$"):
        done(group_of(engine, request), items(2, Heavy(100)), grouping, parts)


@dataclass(frozen=True)
class Mending:
    """Reads that fail twice after the first table, or always."""

    marks: Marks
    fails: int

    def __call__(self, item: str) -> Iterator[pa.Table]:
        yield pa.table({"key": [1, 2], "count": [int(item), 1]})
        if self.marks.leave(item) <= self.fails:
            raise ShardError("half of it is missing; restore it")
        yield pa.table({"key": [2, 3], "count": [int(item), 1]})


def test_a_read_that_mends_gives_every_row_once(group: Group, parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    dataset = items(3, Mending(Marks(str(tmp_path / "marks")), 2))
    done(group, dataset, in_lists(COUNTS, "key", partitions=2, combine=sums), parts)
    found = {row["key"]: row["count"] for table in parts.tables() for row in table.to_pylist()}
    assert found == {1: [3], 2: [6], 3: [3]}


def test_only_parts_that_are_not_there_are_made(group: Group, parts: Parts, tmp_path: Path) -> None:
    dataset, grouping = items(3, Heavy(200)), in_lists(COUNTS, "key", partitions=4)
    folder = tmp_path / "store" / "grouped"
    counts = done(group, dataset, grouping, parts)
    expected, times = files(folder), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert done(group, dataset, grouping, parts) == {}
    for name in (DONE, "00001.parquet", "00003.parquet"):
        parts.store.remove(f"grouped/{name}")
    made = done(group, dataset, grouping, parts)
    assert made == {name: counts[name] for name in ("00001", "00003")}
    assert files(folder) == expected
    assert (folder / "00002.parquet").stat().st_mtime_ns == times["00002.parquet"]


def test_parts_that_no_row_falls_into_are_there_and_empty(group: Group, parts: Parts) -> None:
    one_row = pa.table({"key": [7], "count": [1]}, COUNTS)
    for folder, dataset, rows in (("none", items(0, Heavy(0)), 0), ("one", items(2, Given([[], [one_row]])), 1)):
        made = replace(parts, folder=folder)
        counts = done(group, dataset, in_lists(COUNTS, "key", partitions=3), made)
        assert sorted(counts) == ["00000", "00001", "00002"]
        assert sum(counts.values()) == rows
        assert made.count() == 3
        assert parts.store.names(folder) == ["00000.parquet", "00001.parquet", "00002.parquet", DONE]
