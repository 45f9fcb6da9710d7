"""A corpus: a folder of shards with everything measured and decided about them.

``corpus.json`` says what it is: its name, the format version and the source's columns. Shards are found by listing
``shards/*.parquet``, since an index is written last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .errors import ConfigError
from .store import Store

FORMAT_VERSION = 1
MANIFEST = "corpus.json"

_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
}


@dataclass(frozen=True)
class Corpus:
    """A corpus that exists: its store, its name and the schema of its source columns."""

    store: Store
    name: str
    source_schema: pa.Schema

    def shards(self) -> list[str]:
        """The names of the finished shards, in order."""
        names = [name.removesuffix(".parquet") for name in self.store.names("shards") if name.endswith(".parquet")]
        return sorted(names, key=lambda name: (len(name), name))  # 99999 comes before 100000


def create(store: Store, name: str, source_schema: pa.Schema) -> Corpus:
    """Make a corpus, or open the one that is there.

    Raises:
        ConfigError: the folder holds a corpus of another name, or one that keeps other source columns.
    """
    manifest = {
        "name": name,
        "format_version": FORMAT_VERSION,
        "source_columns": [[field.name, _type_name(field.type)] for field in source_schema],
    }
    described = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    store.put_if_absent(MANIFEST, described.encode())
    corpus = open_corpus(store)
    if corpus.name != name:
        raise ConfigError(
            f"{store.root!r} holds the corpus {corpus.name!r}, the recipe's name is {name!r}: "
            "name another folder under `corpus:`, or use that name"
        )
    if corpus.source_schema != source_schema:
        raise ConfigError(
            f"{store.root!r} keeps the source columns {_told(corpus.source_schema)}, this recipe gives "
            f"{_told(source_schema)}: name another folder under `corpus:`, or restore `keep:`"
        )
    return corpus


def open_corpus(store: Store) -> Corpus:
    """Open a corpus.

    Raises:
        ConfigError: there is none, or a newer version of tamis wrote it.
    """
    if not store.exists(MANIFEST):
        raise ConfigError(f"no corpus in {store.root!r} (no {MANIFEST}); make one with `tamis fetch RECIPE`")
    try:
        manifest: dict[str, Any] = store.read_json(MANIFEST)
        name, version, columns = (manifest[key] for key in ("name", "format_version", "source_columns"))
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{MANIFEST} in {store.root!r} was not written by tamis; name another folder") from error
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"{store.root!r} has format {version}, this tamis reads up to {FORMAT_VERSION}: upgrade tamis"
        )
    schema = pa.schema([(column, _TYPES[type_name]) for column, type_name in columns])
    return Corpus(store, name, schema)


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "(none)"


def _type_name(data_type: pa.DataType) -> str:
    for name, known in _TYPES.items():
        if known == data_type:
            return name
    raise ConfigError(f"source columns are bool, int64, double or string; found {data_type}")


def storable(data_type: pa.DataType) -> pa.DataType:
    """The type in which a source column is kept: bool, int64, double or string."""
    if pa.types.is_boolean(data_type):
        return pa.bool_()
    if pa.types.is_integer(data_type) and data_type != pa.uint64():  # hashes: neither int64 nor double holds them
        return pa.int64()
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return pa.float64()
    return pa.string()
