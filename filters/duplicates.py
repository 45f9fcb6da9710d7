"""Duplicates: which rows are copies of one another, as parts of a table uid -> cluster.

``exact``: rows with equal values of one column (equal bytes with ``image_sha256``); a row without a value is a copy of
nothing. Only clusters of two and more are kept, named by their smallest uid, so the table is as small as the duplication
is. Price: one grouping by the value, in which rows that are alone are dropped before anything looks at them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..corpora.grouping import Grouping
from ..corpora.groups import group_starts
from ..corpora.tables import finite

CLUSTERS_SCHEMA = pa.schema([("uid", pa.string()), ("cluster", pa.string()), ("distance", pa.float32())])

MAX_COPIES = 10_000_000
"""Of one value; they are in a worker's memory together, with their uids and the cluster's: 3 GiB of 64 hex digits."""

_VALUE = "value"


def equal_values(type_: pa.DataType, partitions: int) -> Grouping:
    """Clusters of rows with equal values of a column of ``type_``, from what ``compared`` gives; a copy's distance is 0."""
    in_schema = pa.schema({_VALUE: _key_type(type_) or pa.string(), "uid": pa.string()})
    return Grouping(
        _VALUE,
        in_schema,
        CLUSTERS_SCHEMA,
        _clusters,
        order=("uid",),
        partitions=partitions,
        min_rows=2,
        max_rows=MAX_COPIES,
    )


def compared(uids: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.Table:
    """The rows that have a value, as ``equal_values`` groups them."""
    key = _key_type(values.type)
    if key is None:  # lists, times: equal values are told in equal words
        values = pa.chunked_array(
            [[None if value is None else repr(value) for value in values.to_pylist()]], pa.string()
        )
    table = pa.table({_VALUE: finite(values.cast(key or pa.string())), "uid": uids})
    return table.filter(table[_VALUE].is_valid())


def _key_type(type_: pa.DataType) -> pa.DataType | None:
    """The type of a key that tells all values of a type apart, if there is one."""
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_boolean(plain):
        return plain
    if pa.types.is_integer(plain) and not pa.types.is_uint64(plain):
        return pa.int64()
    if pa.types.is_floating(plain):
        return pa.float64()
    if pa.types.is_string(plain) or pa.types.is_large_string(plain):
        return pa.string()
    return pa.binary() if pa.types.is_binary(plain) or pa.types.is_large_binary(plain) else None


def _clusters(table: pa.Table) -> pa.Table:
    starts = group_starts(table[_VALUE])
    sizes = np.diff(starts, append=table.num_rows)
    clusters = table["uid"].take(pa.array(np.repeat(starts, sizes)))
    distances = pa.array(np.zeros(table.num_rows, np.float32))
    return pa.table([table["uid"], clusters, distances], CLUSTERS_SCHEMA.names)
