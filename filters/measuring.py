"""One pass over a shard for several scorers: read, decode once a scale, prepare on threads, score in fixed batches.

While a batch is on the device the threads prepare the next ones, so a pass costs the slower of the two. A batch is
always the same consecutive rows, and each scorer sees pixels decoded at the scale of its own need: a column is
byte-equal whether its scorer runs alone or in company. Memory: ``AHEAD + 1`` batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..corpora.decoding import decode, scale_for
from ..corpora.errors import DataError
from ..corpora.metering import Meter
from ..corpora.store import RangeReader
from ..corpora.tables import finite
from .scorer import ERROR, Column, Device, Pixels, Sample, Scorer

AHEAD = 2
"""Batches that are prepared while one is scored."""

SLICE_ROWS = 8
"""Rows that a thread prepares at a time: handing over a row alone costs a tenth of preparing it."""

_Batch = list[Future[tuple[list[dict[str, Any]], Meter]]]
"""A batch in the making: slices of prepared rows, with what preparing them took."""

NOT_FINITE = "not_finite"
"""The error of a row for which a scorer gave NaN or infinity: the value is null, a vector zeros."""


@dataclass(frozen=True)
class Family:
    """What one scorer measured on one shard: a table row-aligned with the index, and float16 vectors beside it."""

    table: pa.Table
    vectors: Mapping[str, NDArray[np.float16]]


@dataclass(frozen=True)
class Pace:
    """How work is cut and spread; provenance, never part of a column's value."""

    batch_size: int = 64
    threads: int = 1


@dataclass(frozen=True)
class _Source:
    """What the threads prepare from, and for whom."""

    reader: RangeReader
    scorers: Mapping[str, Scorer]

    def slice(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Meter]:
        """What each scorer made of each row; runs on a thread."""
        meter = Meter()
        return [_prepare(row, self.reader, self.scorers, meter) for row in rows], meter


def measure(
    rows: Sequence[Mapping[str, Any]],
    reader: RangeReader,
    scorers: Mapping[str, Scorer],
    device: Device,
    pace: Pace,
    meter: Meter | None = None,
) -> dict[str, Family]:
    """Run ``scorers`` over a shard's index rows; a family each, with a row for every index row."""
    meter = meter or Meter()
    gathered: dict[str, _Gathered] = {name: _Gathered(scorer) for name, scorer in scorers.items()}
    with ThreadPoolExecutor(pace.threads, thread_name_prefix="prepare") as pool:
        for batch in _prepared(rows, _Source(reader, scorers), pace.batch_size, pool, meter):
            meter.lap("wait")
            for name, scorer in scorers.items():
                gathered[name].add(scorer, [prepared[name] for prepared in batch], device)
            meter.lap("model")
    uids = pa.array([row["uid"] for row in rows], pa.string())
    return {name: one.family(uids) for name, one in gathered.items()}


def _prepared(
    rows: Sequence[Mapping[str, Any]],
    source: _Source,
    batch_size: int,
    pool: ThreadPoolExecutor,
    meter: Meter,
) -> Iterator[list[dict[str, Any]]]:
    """Prepared batches in order, ``AHEAD`` of them in the making; ``meter`` is told what the threads spent."""
    making: deque[_Batch] = deque()
    for start in range(0, len(rows), batch_size):
        slices = _sliced(rows[start : start + batch_size], SLICE_ROWS)
        making.append([pool.submit(source.slice, rows_of) for rows_of in slices])
        if len(making) > AHEAD:
            yield _awaited(making.popleft(), meter)
    while making:
        yield _awaited(making.popleft(), meter)


def _awaited(batch: _Batch, meter: Meter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for future in batch:
        prepared, spent = future.result()
        rows += prepared
        meter.add(spent)
    return rows


def _sliced(batch: Sequence[Mapping[str, Any]], size: int) -> list[Sequence[Mapping[str, Any]]]:
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def _prepare(
    row: Mapping[str, Any], reader: RangeReader, scorers: Mapping[str, Scorer], meter: Meter
) -> dict[str, Any]:
    """What each scorer made of one row, or the DataError that kept it from it."""
    if row["removed"]:
        return dict.fromkeys(scorers, DataError("removed"))
    needs = {name: scorer.needs for name, scorer in scorers.items()}
    encoded = b""
    if any(need.encoded or need.pixels is not None for need in needs.values()) and row["image_size"] is not None:
        encoded = reader.read(row["image_offset"], row["image_size"])
        meter.bytes_in += len(encoded)
        meter.lap("read")
    scales: dict[int, Pixels | DataError] = {}
    prepared: dict[str, Any] = {}
    for name, scorer in scorers.items():
        try:
            pixels = _pixels(row, encoded, needs[name].pixels, scales)
            prepared[name] = scorer.prepare(Sample(row, encoded, pixels))
        except DataError as error:
            prepared[name] = error
    meter.lap("decode")
    return prepared


def _pixels(
    row: Mapping[str, Any], encoded: bytes, need: int | None, scales: dict[int, Pixels | DataError]
) -> Pixels | None:
    """The image at the scale of one need, decoded at most once a scale."""
    if need is None:
        return None
    scale = scale_for(row["width"], row["height"], row["format"], need)
    if scale not in scales:
        try:
            scales[scale] = decode(encoded, scale)
        except DataError as error:
            scales[scale] = error
    found = scales[scale]
    if isinstance(found, DataError):
        raise found
    return found


class _Gathered:
    """The columns of one scorer as they grow."""

    def __init__(self, scorer: Scorer) -> None:
        self._columns = {c.name: c for c in scorer.columns}
        self._values: dict[str, list[Any]] = {name: [] for name, c in self._columns.items() if not is_vector(c)}
        self._vectors: dict[str, list[NDArray[np.float16]]] = {n: [] for n, c in self._columns.items() if is_vector(c)}
        self._errors: list[str | None] = []

    def add(self, scorer: Scorer, batch: list[Any], device: Device) -> None:
        failed = [error.reason if isinstance(error, DataError) else None for error in batch]
        self._errors.extend(failed)
        scored = scorer.score([None if reason else one for one, reason in zip(batch, failed, strict=True)], device)
        for name, values in self._values.items():
            values.extend(None if reason else value for value, reason in zip(scored[name], failed, strict=True))
        for name, vectors in self._vectors.items():
            with np.errstate(over="ignore"):  # what float16 cannot hold is told as an error of the row
                block = np.array(scored[name], dtype=np.float16)
            bad = ~np.isfinite(block).all(axis=1)
            self._blame(np.flatnonzero(bad) + len(self._errors) - len(batch))
            block[np.logical_or(bad, [reason is not None for reason in failed])] = 0
            vectors.append(block)

    def _blame(self, rows: Iterable[int]) -> None:
        for row in rows:
            self._errors[row] = self._errors[row] or NOT_FINITE

    def family(self, uids: pa.Array) -> Family:
        columns: dict[str, pa.Array] = {"uid": uids}
        for name, values in self._values.items():
            found = pa.array(_plain(values), self._columns[name].type)
            columns[name] = finite(found)
            self._blame(np.flatnonzero(pc.and_(found.is_valid(), columns[name].is_null())))
        columns[ERROR] = pa.array(self._errors, pa.string())
        empty = {n: np.zeros((0, self._columns[n].type.list_size), np.float16) for n in self._vectors}
        vectors = {n: np.concatenate([empty[n], *blocks]) for n, blocks in self._vectors.items()}
        return Family(pa.table(columns), vectors)


def is_vector(column: Column) -> bool:
    """Whether a column is kept as a row-aligned ``.npy`` beside the parquet."""
    return bool(pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float16())


def _plain(values: list[Any]) -> list[Any]:
    return [value.item() if isinstance(value, np.generic) else value for value in values]
