"""The two passes over a corpus that a report takes: ranges first, then everything that is counted or picked, in one scan.

Price: two reads of the numeric columns and the uids, one of the verdicts; memory is that of a shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa

from ...corpora.index import SOURCE_PREFIX
from .cards import CardMaker
from .contents import Card, Duplicates, Funnel, Gallery, Histogram, Strip, Threshold
from .copies import Groups
from .funnels import Remaining
from .histograms import Ranges, Tally, is_drawable
from .rows import Place, Rows, Survey
from .sampling import OUTCOMES, Picker, Quota, shares
from .thresholds import thresholds

INDEX_COLUMNS: Mapping[str, tuple[str, str]] = {
    "width": ("px", "width"),
    "height": ("px", "height"),
    "min_side": ("px", "the shorter side"),
    "max_side": ("px", "the longer side"),
    "aspect": ("", "width over height"),
    "bytes": ("bytes", "size of the encoded image"),
}
"""The index columns worth a histogram, with unit and meaning."""

_HIDDEN_VALUES = frozenset({"uid", "caption", "captions", "url"})
_TITLES = {
    ("dropped", "near"): "Dropped, nearest the threshold",
    ("dropped", "random"): "Dropped, at random",
    ("passed", "near"): "Passed, nearest the threshold",
    ("passed", "random"): "Passed, at random",
}


@dataclass(frozen=True)
class Findings:
    """What the passes found."""

    funnels: tuple[Funnel, ...]
    histograms: tuple[Histogram, ...]
    others: tuple[Histogram, ...]
    galleries: tuple[Gallery, ...]
    duplicates: tuple[Duplicates, ...]


class _Observer(Protocol):
    def add(self, rows: Rows) -> None: ...


def gather(survey: Survey, groups: Sequence[Groups], samples: int, account: Mapping[str, Any]) -> Findings:
    """Look through the corpus; ``samples``: how many the galleries show, ``account``: what was asked for and fetched."""
    columns = _columns(survey)
    lines = _lines(survey)
    charts, others = _charts(survey, columns, lines)
    pickers = _pickers(lines, samples)
    remaining = [Remaining(policy) for policy in survey.rules.policies.values()] if survey.decision else []
    observers: Sequence[_Observer] = [*charts, *others, *pickers, *remaining, *groups]
    for rows in survey.scan(list(columns)):
        for observer in observers:
            observer.add(rows)
    cards = CardMaker(survey, [name for name in survey.rules.columns if name not in _HIDDEN_VALUES])
    made = cards.make(chain.from_iterable([*(one.places() for one in pickers), *(one.places() for one in groups)]))
    ledger = survey.decision.ledger if survey.decision else {}
    return Findings(
        tuple(one.funnel(survey.rules, ledger, account) for one in remaining),
        tuple(chart.histogram() for chart in charts),
        tuple(chart.histogram() for chart in others),
        tuple(_gallery(survey, picker, made) for picker in pickers),
        tuple(one.told(made) for one in groups),
    )


def _columns(survey: Survey) -> dict[str, tuple[str, str]]:
    """Every column that can be drawn, with its unit and meaning; those that criteria read come first."""
    schema = survey.wide.schema()
    found = dict(INDEX_COLUMNS)
    found |= {name: ("", "a column of the source") for name in schema.names if name.startswith(SOURCE_PREFIX)}
    for spec in survey.wide.families:
        found |= {f"{spec.name}.{column.name}": (column.unit, column.meaning) for column in spec.scorer.columns}
    read = {name: found.get(name, ("", "")) for name in survey.rules.columns}
    return {name: told for name, told in {**read, **found}.items() if _is_drawn(schema, name)}


def _is_drawn(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and is_drawable(schema.field(name).type)


def _lines(survey: Survey) -> dict[str, tuple[Threshold, ...]]:
    """The thresholds of each criterion."""
    constants = survey.decision.ledger["constants"] if survey.decision else {}
    return {name: thresholds(criterion.expr, constants) for name, criterion in survey.rules.criteria.items()}


def _charts(
    survey: Survey, columns: Mapping[str, tuple[str, str]], lines: Mapping[str, Sequence[Threshold]]
) -> tuple[list[Tally], list[Tally]]:
    """A chart for each criterion and column that it reads, and one for each other column."""
    ranges = Ranges(list(columns), len(survey.shards))
    for rows in survey.scan(list(columns), judged=False):
        ranges.add(rows)
    measured = {name: told for name, told in columns.items() if name in ranges.least}
    judged = []
    for criterion in survey.rules.criteria.values():
        for name in criterion.columns:
            if name in measured:
                mine = tuple(line for line in lines[criterion.name] if line.column == name)
                judged.append(_tally(name, measured, ranges, mine, (criterion.name, criterion.sql)))
    read = {tally.column for tally in judged}
    return judged, [_tally(name, measured, ranges) for name in measured if name not in read]


def _tally(
    name: str,
    columns: Mapping[str, tuple[str, str]],
    ranges: Ranges,
    lines: tuple[Threshold, ...] = (),
    criterion: tuple[str, str] = ("", ""),
) -> Tally:
    unit, meaning = columns[name]
    scale, edges = ranges.bins(name, lines)
    return Tally(
        name,
        meaning,
        unit,
        scale,
        edges,
        (ranges.least[name], ranges.most[name]),
        criterion=criterion[0],
        definition=criterion[1],
        thresholds=lines,
    )


def _pickers(lines: Mapping[str, Sequence[Threshold]], samples: int) -> list[Picker]:
    """A picker for each criterion; without criteria, one for the whole corpus."""
    if not samples:
        return []
    if not lines:
        return [Picker("", (), {"passed": Quota(0, samples)})]
    quotas = shares(samples, lines)
    return [Picker(name, mine, quotas[name]) for name, mine in lines.items()]


def _gallery(survey: Survey, picker: Picker, cards: Mapping[Place, Card]) -> Gallery:
    criterion = survey.rules.criteria.get(picker.criterion)
    return Gallery(
        picker.criterion,
        criterion.sql if criterion else "",
        criterion.columns if criterion else (),
        picker.counts["passed"],
        picker.counts["dropped"],
        tuple(_strips(picker, cards)),
    )


def _strips(picker: Picker, cards: Mapping[Place, Card]) -> Iterator[Strip]:
    for outcome in OUTCOMES:
        if outcome not in picker.quotas:
            continue
        for way, places in picker.picked(outcome).items():
            if places:
                title = _TITLES[outcome, way] if picker.criterion else "Drawn at random"
                yield Strip(title, outcome, tuple(cards[place] for place in places))
