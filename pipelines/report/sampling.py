"""Which samples a report shows: those nearest to a criterion's threshold, and an even draw, on both sides of it.

The order of the draw is a hash of the uid, so it is the same in every run, takes no memory and does not follow the order
of the corpus. Near a threshold is where a human eye can move it; ties there fall back to the hash.

Price: one pass over the uids and the columns that thresholds name; a partition a criterion, side and shard. The choices
kept are as many as will be shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .contents import Outcome, Threshold
from .histograms import numbers, passes
from .rows import Place, Rows

Way = Literal["near", "random"]
OUTCOMES: tuple[Outcome, ...] = ("dropped", "passed")

_UID_WORDS = 4
"""A uid of 32 characters is read as so many 64-bit words."""


@dataclass(frozen=True)
class Quota:
    """How many samples of each kind a criterion is shown by."""

    near: int
    random: int


class Picker:
    """Picks the samples of one criterion (or of the whole corpus, when it has no name)."""

    def __init__(self, criterion: str, thresholds: Sequence[Threshold], quotas: Mapping[Outcome, Quota]) -> None:
        self.criterion = criterion
        self.thresholds = thresholds
        self.quotas = quotas
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self._near = {outcome: _Least(quota.near) for outcome, quota in quotas.items()}
        # more than are shown, for some of the draw may be near already
        self._drawn = {outcome: _Least(quota.random + 2 * quota.near) for outcome, quota in quotas.items()}

    def add(self, rows: Rows) -> None:
        """Look through one shard."""
        order = hashes(rows.table["uid"], self.criterion)  # so that not all criteria show the same few samples
        distance = distances(rows, self.thresholds)
        passed = passes(rows, self.criterion)
        for outcome in OUTCOMES:
            side = passed if outcome == "passed" else ~passed
            self.counts[outcome] += int(side.sum())
            if outcome in self.quotas:
                self._near[outcome].add(rows, np.flatnonzero(side & ~np.isnan(distance)), distance, order)
                self._drawn[outcome].add(rows, np.flatnonzero(side), order)

    def places(self) -> list[Place]:
        """All places to show."""
        return [place for outcome in self.quotas for places in self.picked(outcome).values() for place in places]

    def picked(self, outcome: Outcome) -> dict[Way, list[Place]]:
        """The places to show, none twice."""
        near, quota = self._near[outcome].places(), self.quotas[outcome]
        room = quota.random + quota.near - len(near)  # what cannot be near is drawn
        drawn = [place for place in self._drawn[outcome].places() if place not in near]
        return {"near": near, "random": drawn[:room]}


class _Least:
    """Keeps the ``most`` rows with the least keys; the first key counts first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[Any, ...]] = []

    def add(self, rows: Rows, chosen: NDArray[np.int64], *keys: NDArray[Any]) -> None:
        """Look through the chosen rows of one shard; ``keys`` have a value for every row."""
        if self._most == 0:
            return
        if len(chosen) > self._most:
            bound = np.partition(keys[0][chosen], self._most - 1)[self._most - 1]
            chosen = chosen[keys[0][chosen] <= bound]
        chosen = chosen[np.lexsort([key[chosen] for key in reversed(keys)])][: self._most]
        found = [(*(key[i].item() for key in keys), Place(rows.shard, int(rows.numbers[i]))) for i in chosen]
        self._kept = sorted([*self._kept, *found])[: self._most]

    def places(self) -> list[Place]:
        return [kept[-1] for kept in self._kept]


def shares(total: int, thresholds: Mapping[str, Sequence[Threshold]]) -> dict[str, dict[Outcome, Quota]]:
    """Divide ``total`` samples among criteria, sides and ways, as evenly as whole numbers allow.

    >>> shares(5, {"big": [], "quiet": []})["big"]
    {'dropped': Quota(near=0, random=2), 'passed': Quota(near=0, random=1)}
    """
    places: list[tuple[str, Outcome]] = [(name, outcome) for outcome in OUTCOMES for name in thresholds]
    found: dict[str, dict[Outcome, Quota]] = {name: {} for name in thresholds}
    for number, (name, outcome) in enumerate(places):
        mine = total // len(places) + (number < total % len(places))
        near = mine - mine // 2 if thresholds[name] else 0
        found[name][outcome] = Quota(near, mine - near)
    return found


def hashes(uids: pa.ChunkedArray, seed: str = "") -> NDArray[np.uint64]:
    """A 64-bit hash a uid (32 characters); another ``seed`` gives another order."""
    joined = uids.combine_chunks().cast(pa.binary()).cast(pa.binary(8 * _UID_WORDS))
    words = np.frombuffer(joined.buffers()[1] or b"", np.uint64).reshape(-1, _UID_WORDS)
    words = words[joined.offset : joined.offset + len(joined)]
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    mixed = np.full(len(words), start, np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def distances(rows: Rows, thresholds: Iterable[Threshold]) -> NDArray[np.float64]:
    """How far each row is from the nearest threshold, in units of that threshold; NaN where no value is measured."""
    nearest = np.full(rows.table.num_rows, np.nan)
    for threshold in thresholds:
        if threshold.column in rows.table.column_names:
            unit = abs(threshold.value) or 1.0  # so that 0.01 of a cosine and 10 px of a side can be compared
            away = np.abs(numbers(rows.table[threshold.column]) - threshold.value) / unit
            nearest = np.fmin(nearest, away)
    return nearest
