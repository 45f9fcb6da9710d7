"""Duplicates: which rows are copies of one another, as a table uid -> cluster.

``exact``: rows with equal values of one column (equal bytes with ``image_sha256``). Only clusters of two or more are
kept, named by their smallest uid, so the table is as small as the duplication is. Price: one out-of-core GROUP BY.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from ..corpora.computing import calculator, streamed

CLUSTERS_SCHEMA = pa.schema([("uid", pa.string()), ("cluster", pa.string()), ("distance", pa.float32())])


def equal_values(tables: Iterator[pa.Table], on: str) -> pa.Table:
    """Cluster rows by equal, non-null values of ``on``; sorted by cluster, then uid.

    ``tables`` hold ``uid`` and ``on``. The distance of an exact copy is 0.
    """
    first = next(tables, None)
    if first is None:
        return CLUSTERS_SCHEMA.empty_table()
    wanted = ["uid", on]
    batches = (batch for table in chain([first], tables) for batch in table.select(wanted).to_batches())
    column = '"' + on.replace('"', '""') + '"'
    with calculator() as connection, streamed(connection, "rows", first.select(wanted).schema, batches):
        found = connection.sql(
            f"""
            WITH copies AS (
                SELECT uid, min(uid) OVER same AS cluster, count(*) OVER same AS size
                FROM rows WHERE {column} IS NOT NULL
                WINDOW same AS (PARTITION BY {column})
            )
            SELECT uid, cluster, 0::FLOAT AS distance FROM copies WHERE size > 1 ORDER BY cluster, uid
            """
        ).to_arrow_table()
    return found.cast(CLUSTERS_SCHEMA)
