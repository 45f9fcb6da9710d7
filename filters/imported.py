"""Scores measured elsewhere (LAION's columns, DataComp's metadata, a lab's own), brought in as a family of columns.

A table is joined on ``uid``, ``url`` or ``image_sha256``; a row that it does not list has nulls and the error
``not_listed``. Price: the table's keys are held in memory by every worker, about 150 bytes a row.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ..corpora.errors import ConfigError, DataError
from ..corpora.filesystems import files_at
from ..corpora.ranges import open_file
from .scorer import Column, Device, Needs, Sample, Scorer

_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Imported(Scorer):
    """Columns of a parquet or csv table (a file or a glob), joined on one of our names for a sample."""

    path: str
    take: tuple[str, ...]
    on: Literal["uid", "url", "image_sha256"] = "uid"
    key: str = ""
    """The table's own name of the key column; ``on`` by default."""

    places: ClassVar[frozenset[str]] = frozenset({"path"})
    setting_names: ClassVar[Mapping[str, str]] = {"columns": "take"}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The imported columns, typed as the table has them."""
        schema = _table(self.path, self._key, self.take).schema
        return tuple(Column(name, schema.field(name).type, "", f"imported, joined on {self.on}") for name in self.take)

    @property
    def needs(self) -> Needs:
        """The join key, no pixels."""
        return Needs(columns=(self.on,))

    @property
    def _key(self) -> str:
        return self.key or self.on

    def model_digest(self) -> str:
        """SHA-256 of the table's files."""
        return _digest(self.path)

    def prepare(self, sample: Sample) -> int:
        """The row of the table that lists this sample.

        Raises:
            DataError: none does.
        """
        row = _rows(self.path, self._key, self.take).get(sample.row[self.on])
        if row is None:
            raise DataError("not_listed")
        return row

    def score(self, batch: Sequence[int | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """The listed values."""
        found = _table(self.path, self._key, self.take).take(pa.array(batch, pa.int64()))
        return {name: found[name].to_pylist() for name in self.take}


def _files(path: str) -> list[str]:
    names = list(files_at(path))
    if not names:
        raise ConfigError(f"scores: no file matches {path!r}; an import names a parquet or csv file, or a glob of them")
    return names


@functools.lru_cache(maxsize=4)
def _digest(path: str) -> str:
    digest = hashlib.sha256()
    for name in _files(path):
        with open_file(name) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


@functools.lru_cache(maxsize=4)
def _table(path: str, key: str, take: tuple[str, ...]) -> pa.Table:
    tables = [_read(name, key, take) for name in _files(path)]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ConfigError(f"scores: the files of {path!r} disagree on a column's type ({error})") from error


def _read(name: str, key: str, take: tuple[str, ...]) -> pa.Table:
    wanted = list(dict.fromkeys([key, *take]))
    try:
        with open_file(name) as file:
            if name.endswith(".csv"):
                as_text = {key: pa.string()}  # a uid of digits alone is no number
                options = pa_csv.ConvertOptions(include_columns=wanted, column_types=as_text)
                return pa_csv.read_csv(file, convert_options=options)
            there = pq.read_schema(file).names
            missing = [column for column in wanted if column not in there]
            if missing:
                raise ConfigError(f"scores: {name} has no column {', '.join(missing)}; it has {', '.join(there)}")
            return pq.read_table(file, columns=wanted)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ConfigError(f"scores: {name} cannot be imported ({error})") from error


@functools.lru_cache(maxsize=4)
def _rows(path: str, key: str, take: tuple[str, ...]) -> dict[Any, int]:
    keys = _table(path, key, take)[key].to_pylist()
    rows = {value: row for row, value in reversed(list(enumerate(keys)))}  # of repeated keys the first counts
    rows.pop(None, None)
    return rows
