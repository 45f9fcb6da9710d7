"""Duplicate groups for a report: how many there are of each size, and some of the largest with their members.

A group may hold a million copies of one placeholder image, so members are looked up by 64-bit hashes in a sorted array, and a
group keeps no more places than it shows; what a policy keeps comes first. Price: the table of clusters, and one pass over
the uids of the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .contents import Card, Copies, Duplicates
from .histograms import passes
from .rows import Place, Rows
from .sampling import hashes

GROUPS_SHOWN = 6
MEMBERS_SHOWN = 6
SIZES_TOLD = 10

_Candidate = tuple[bool, int, Place]
"""Whether it is dropped, its hash, its place: the order of showing."""


@dataclass
class Groups:
    """The clusters that one method found, and the members to show of the largest."""

    method: str
    on: str
    clusters: pa.Table
    policies: Sequence[str]
    """The verdict columns of the policies that choose among copies."""
    groups_shown: int = GROUPS_SHOWN
    _counts: pa.Table = field(init=False)
    _keys: NDArray[np.uint64] = field(init=False)
    _groups: NDArray[np.int64] = field(init=False)
    _members: list[list[_Candidate]] = field(init=False)

    def __post_init__(self) -> None:
        counts = self.clusters.group_by("cluster").aggregate([("uid", "count")])
        self._counts = counts.sort_by([("uid_count", "descending"), ("cluster", "ascending")])
        group = pc.index_in(self.clusters["cluster"], value_set=self._largest()["cluster"].combine_chunks())
        members = self.clusters.append_column("group", group).filter(group.is_valid())
        keys = hashes(members["uid"])
        order = np.argsort(keys)
        self._keys, self._groups = keys[order], members["group"].to_numpy()[order]
        self._members = [[] for _ in range(self._largest().num_rows)]

    def add(self, rows: Rows) -> None:
        """Look for members in one shard."""
        if not len(self._keys):
            return
        order = hashes(rows.table["uid"])
        at = np.minimum(np.searchsorted(self._keys, order), len(self._keys) - 1)
        dropped = np.ones(len(order), np.bool_)
        for policy in self.policies:
            dropped &= ~passes(rows, policy)
        found = self._keys[at] == order
        for group, members in enumerate(self._members):
            mine = np.flatnonzero(found & (self._groups[at] == group))
            mine = mine[np.lexsort((order[mine], dropped[mine]))][:MEMBERS_SHOWN]
            members += [(bool(dropped[i]), int(order[i]), Place(rows.shard, int(rows.numbers[i]))) for i in mine]
            members.sort()
            del members[MEMBERS_SHOWN:]

    def places(self) -> list[Place]:
        """Where the members to show stand."""
        return [place for members in self._members for *_, place in members]

    def told(self, cards: Mapping[Place, Card]) -> Duplicates:
        """What the page says, given the cards of ``places``."""
        sizes = self._counts["uid_count"].value_counts().to_pylist()
        by_size = sorted((int(entry["values"]), int(entry["counts"])) for entry in sizes)
        shown = tuple(
            Copies(row["cluster"], row["uid_count"], tuple(cards[place] for *_, place in members))
            for row, members in zip(self._largest().to_pylist(), self._members, strict=True)
        )
        return Duplicates(self.method, self.on, self._counts.num_rows, self.clusters.num_rows, tuple(by_size), shown)

    def _largest(self) -> pa.Table:
        return self._counts.slice(0, self.groups_shown)
