"""Why requests brought no sample: the reasons by count, each with the first URL that met it.

Price: the reason column of the fetch ledgers, and the URLs of those ledgers that show a reason for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow.compute as pc

from ...corpora.plan import REFUSED
from ...corpora.rounds import read_rounds
from ...corpora.store import Store
from ...corpora.tables import read_table
from .contents import Failure
from .hostile import URL_CHARACTERS, plain


def failures(store: Store, shards: Sequence[str], counts: Mapping[str, int]) -> tuple[Failure, ...]:
    """The reasons that ``counts`` has, the most frequent first."""
    examples = _examples(store, shards, set(counts))
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Failure(reason, count, examples.get(reason, "")) for reason, count in ordered)


def _examples(store: Store, shards: Sequence[str], missing: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _ledgers(store, shards):
        if not missing - found.keys():
            break
        reasons = read_table(store, path, ["reason"])[0]["reason"]
        new = set(reasons.unique().to_pylist()) & (missing - found.keys())
        if new:
            urls = read_table(store, path, ["url"])[0]["url"]
            for reason in new:
                found[reason] = plain(urls[pc.index(reasons, reason).as_py()].as_py() or "", URL_CHARACTERS)
    return found


def _ledgers(store: Store, shards: Sequence[str]) -> Iterator[str]:
    rounds = read_rounds(store)
    first = rounds[0].first if rounds else len(shards)
    again = [shard for shard in shards if int(shard) >= first]  # what was asked for again is told as it stands now
    yield from (f"fetch/{shard}.parquet" for shard in (*reversed(again), *shards[: len(shards) - len(again)]))
    if store.exists(REFUSED):
        yield REFUSED
