"""What a report page says, as plain data: the gatherers make it, the template shows it, and neither knows the other.

Every string in here may come from outside and is hostile: it is escaped when it is shown and clipped when it is gathered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "dropped"]
"""A criterion's verdict on a row: true, or anything else."""

Relation = Literal["<", "<=", ">", ">=", "=", "<>"]
"""What a criterion wants of a column beside a number."""


@dataclass(frozen=True)
class Step:
    """One step of a funnel: how many are left after it, and how many it took."""

    name: str
    left: int
    lost: int
    kind: Literal["asked", "fetched", "criterion", "kept"] = "criterion"


@dataclass(frozen=True)
class Loss:
    """What one conjunct of a policy drops: rows where it is false, rows where it is null, rows that it alone drops."""

    name: str
    definition: str
    false: int
    null: int
    alone: int

    @property
    def dropped(self) -> int:
        """Rows on which it is not true."""
        return self.false + self.null


@dataclass(frozen=True)
class Funnel:
    """What a policy keeps, step by step, and why it drops the rest."""

    policy: str
    definition: str
    steps: tuple[Step, ...]
    losses: tuple[Loss, ...]
    kept: int
    dropped: int


@dataclass(frozen=True)
class Threshold:
    """A number that a criterion compares a column with, and what is wanted of the column."""

    column: str
    relation: Relation
    value: float
    resolved_from: str = ""
    """The quantile that the number was resolved from, if it was."""


@dataclass(frozen=True)
class Histogram:
    """How the values of a column spread, split by a criterion's verdict where there is one.

    ``edges`` has one number more than ``passed`` and ``dropped``. What lies outside the edges is counted in the end bins.
    """

    column: str
    meaning: str
    unit: str
    edges: tuple[float, ...]
    passed: tuple[int, ...]
    dropped: tuple[int, ...]
    least: float
    most: float
    null: int
    unmeasured: int = 0
    """Rows of shards that the column's family has not measured yet."""
    scale: Literal["linear", "logarithmic", "whole", "truth"] = "linear"
    criterion: str = ""
    definition: str = ""
    thresholds: tuple[Threshold, ...] = ()

    @property
    def measured(self) -> int:
        """Rows with a value."""
        return sum(self.passed) + sum(self.dropped)


@dataclass(frozen=True)
class Box:
    """A spotted word and where it stands: corners as ``x,y x,y ...``, in percent of the picture's width and height."""

    word: str
    corners: str


@dataclass(frozen=True)
class Thumbnail:
    """An image as shown: a small JPEG of our own as a data URI, or why there is none."""

    uri: str
    width: int
    height: int
    original: tuple[int, int]
    boxes: tuple[Box, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Judgement:
    """What some policies made of a sample: all keep it, or all drop it by these conjuncts."""

    policies: tuple[str, ...]
    kept: bool
    dropped_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """A sample as shown."""

    uid: str
    shard: str
    row: int
    caption: str
    url: str
    thumbnail: Thumbnail
    values: tuple[tuple[str, str], ...]
    judgements: tuple[Judgement, ...]

    @property
    def kept(self) -> bool:
        """Whether any policy keeps it."""
        return any(judgement.kept for judgement in self.judgements)


@dataclass(frozen=True)
class Strip:
    """Some samples with what they have in common."""

    title: str
    outcome: Outcome | None
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Gallery:
    """Samples on both sides of a criterion."""

    criterion: str
    definition: str
    columns: tuple[str, ...]
    passed: int
    dropped: int
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Copies:
    """One duplicate group: some of its members, and how many it has."""

    cluster: str
    size: int
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Duplicates:
    """What one way of finding duplicates found: groups by size, and some of them."""

    method: str
    on: str
    groups: int
    members: int
    sizes: tuple[tuple[int, int], ...]
    shown: tuple[Copies, ...]


@dataclass(frozen=True)
class Failure:
    """Why some requests brought no sample, with the first such URL."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class Pace:
    """How a stage went: all the tasks in its log, and this run's seconds if it did anything."""

    stage: str
    unit: str
    tasks: int
    units: int
    bytes: int
    active_seconds: float
    busy_seconds: float
    run_seconds: float | None
    retries: int
    failed: int
    workers: int
    where: str

    @property
    def rate(self) -> float:
        """Units a second, over the time in which any of its tasks ran."""
        return self.units / self.active_seconds if self.active_seconds else 0.0


@dataclass(frozen=True)
class SlowTask:
    """One of the tasks that took longest."""

    stage: str
    item: str
    seconds: float
    attempts: int


@dataclass(frozen=True)
class Fault:
    """A task that could not be done, with the last error."""

    stage: str
    item: str
    error: str


@dataclass(frozen=True)
class Throughput:
    """What the logs say of speed and trouble."""

    paces: tuple[Pace, ...] = ()
    slowest: tuple[SlowTask, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Truth:
    """One planted fact: how many were planted, what was found, what is asked for, and whether that holds (None: no bound)."""

    name: str
    planted: str
    found: str
    bound: str
    holds: bool | None


@dataclass(frozen=True)
class Page:
    """A whole report."""

    name: str
    corpus: str
    made: str
    recipe_digest: str
    decision_digest: str | None
    account: Mapping[str, Any]
    recipe: str
    has_policies: bool = True
    truth: tuple[Truth, ...] = ()
    surprises: tuple[Mapping[str, str], ...] = ()
    funnels: tuple[Funnel, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    others: tuple[Histogram, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    failures: tuple[Failure, ...] = ()
    throughput: Throughput = field(default_factory=Throughput)
