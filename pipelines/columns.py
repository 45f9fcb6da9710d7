"""All columns of a corpus as one wide table: index columns by name, family columns as ``<family>.<column>``.

Families are row-aligned with the index, so a shard's wide table is its index and its families side by side; nothing is
joined. A family that was made for another index is refused. Only the columns that are asked for are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ..corpora.errors import ConfigError
from ..corpora.index import FIELDS, SOURCE_PREFIX, check_digest, path_of
from ..corpora.ranges import each
from ..corpora.store import Store
from ..corpora.tables import read_table
from ..filters.measuring import is_vector
from ..filters.scorer import ERROR
from .job import Job
from .scoring import FamilySpec, families, measured_shards

Scan = Callable[[Sequence[str]], Iterator[pa.Table]]


@dataclass(frozen=True)
class WideTable:
    """The columns of a corpus, and where each is read from; picklable."""

    store: Store
    families: tuple[FamilySpec, ...]
    source_schema: pa.Schema
    unmeasured: frozenset[str] = frozenset()
    """Paths of columns that could not be measured, within the recipe's tolerance; their values are null."""

    def schema(self) -> pa.Schema:
        """Every column by its wide name."""
        fields: list[tuple[str, pa.DataType]] = list(FIELDS)
        fields += [(SOURCE_PREFIX + field.name, field.type) for field in self.source_schema]
        for spec in self.families:
            fields += [(f"{spec.name}.{c.name}", c.type) for c in spec.scorer.columns if not is_vector(c)]
            fields.append((f"{spec.name}.{ERROR}", pa.string()))
        return pa.schema(fields)

    def read(self, shard: str, columns: Sequence[str]) -> tuple[pa.Table, str]:
        """One shard's ``columns`` in index order, and the digest of its index.

        Raises:
            ConfigError: a family has not been measured on this shard.
            FatalError: a family was made for another index.
        """
        names = {spec.name: spec for spec in self.families}
        wanted: dict[str, list[str]] = {}
        for column in columns:
            family, dot, name = column.partition(".")
            if dot and family in names:
                wanted.setdefault(family, []).append(name)
        from_index = [c for c in columns if c.partition(".")[0] not in wanted or "." not in c]
        table, meta = read_table(self.store, path_of(shard), list(dict.fromkeys(["uid", *from_index])))
        for family, inner in wanted.items():
            measured = self._family(names[family].path(shard), family, inner, table.num_rows, meta["digest"])
            for name in inner:
                table = table.append_column(f"{family}.{name}", measured[name])
        return table, meta["digest"]

    def _family(self, path: str, family: str, columns: list[str], rows: int, index: str) -> pa.Table:
        if path in self.unmeasured:
            schema = self.schema()
            return pa.table({name: pa.nulls(rows, schema.field(f"{family}.{name}").type) for name in columns})
        try:
            measured, about = read_table(self.store, path, columns)
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is missing: measure first, with `tamis score RECIPE`") from error
        check_digest(about.get("index"), index, path)
        return measured

    def scan(self, shards: Sequence[str]) -> Scan:
        """A reader of any columns over these shards, a table a shard, in order."""

        def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
            yield from each(lambda shard: self.read(shard, columns)[0], shards, self.store.requests_at_once)

        return tables


def wide_table(job: Job) -> WideTable:
    """The columns that the recipe's scores give."""
    corpus, specs = job.corpus(), tuple(families(job))
    missing: frozenset[str] = frozenset()
    if job.recipe.tolerance.failed_shards:
        shards = set(corpus.shards())
        missing = frozenset(spec.path(shard) for spec in specs for shard in shards - measured_shards(job.store, spec))
    return WideTable(job.store, specs, corpus.source_schema, missing)
