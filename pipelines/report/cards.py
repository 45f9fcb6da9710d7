"""Chosen samples as cards: thumbnail, caption, values, what every policy made of them, and the words spotted in them.

Price: the shown columns of the shards that the samples are in, and the bytes of the samples alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...corpora.errors import DataError, ShardError
from ...corpora.index import read_index
from ...corpora.store import RangeReader
from ...filters.ledger import reasons
from ...filters.scorer import ERROR
from .charts import short
from .contents import Box, Card, Judgement, Thumbnail
from .hostile import CAPTION_CHARACTERS, URL_CHARACTERS, WORD_CHARACTERS, plain
from .rows import Place, Survey
from .thumbnails import thumbnail

MAX_WORDS_SHOWN = 60

_INDEX_COLUMNS = ("caption", "url", "width", "height", "format", "image_offset", "image_size")


@dataclass(frozen=True)
class CardMaker:
    """Makes cards of rows; ``values`` are the columns whose values a card shows."""

    survey: Survey
    values: Sequence[str]

    def make(self, places: Iterable[Place]) -> dict[Place, Card]:
        """A card for each place."""
        spotters = list(self._spotters())
        words = [f"{name}.{column}" for name in spotters for column in ("words", "boxes")]
        errors = [f"{spec.name}.{ERROR}" for spec in self.survey.wide.families]
        columns = list(dict.fromkeys([*_INDEX_COLUMNS, *self.values, *words, *errors]))
        rows = self.survey.take(list(places), columns)
        pictures = dict(self._pictures(rows, spotters))
        return {place: self._card(place, row, pictures[place]) for place, row in rows.items()}

    def _spotters(self) -> Iterator[str]:
        """The families whose ``words`` and ``boxes`` are shown over the pictures."""
        for spec in self.survey.wide.families:
            if {"words", "boxes"} <= {column.name for column in spec.scorer.columns}:
                yield spec.name

    def _card(self, place: Place, row: Mapping[str, Any], picture: Thumbnail) -> Card:
        return Card(
            row["uid"],
            place.shard,
            place.row,
            plain(row["caption"] or "", CAPTION_CHARACTERS),
            plain(row["url"] or "", URL_CHARACTERS),
            picture,
            tuple((name, _value(name, row)) for name in self.values),
            tuple(self._judgements(row["verdicts"])),
        )

    def _judgements(self, verdicts: Mapping[str, bool | None]) -> Iterator[Judgement]:
        rules = self.survey.rules
        alike: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
        for name, policy in rules.policies.items():
            if verdicts and policy.conjuncts:  # a policy that asks for nothing says nothing
                why = reasons(rules, name, verdicts)
                told = tuple(r.conjunct + (" (not measurable)" if r.verdict is None else "") for r in why)
                alike.setdefault((verdicts[policy.column] is True, told), []).append(name)
        yield from (Judgement(tuple(names), kept, told) for (kept, told), names in alike.items())

    def _pictures(
        self, rows: Mapping[Place, Mapping[str, Any]], spotters: Sequence[str]
    ) -> Iterator[tuple[Place, Thumbnail]]:
        store = self.survey.wide.store
        for shard in sorted({place.shard for place in rows}):
            mine = {place: row for place, row in rows.items() if place.shard == shard}
            try:
                with RangeReader(read_index(store, shard, ["uid"]).tar_url(store)) as reader:
                    for place, row in mine.items():
                        yield place, _picture(row, reader, spotters)
            except OSError as error:  # adopted tars may be gone; a page without their pictures still tells the rest
                for place, row in mine.items():
                    yield place, _blank(row, f"tar not readable ({error.strerror or type(error).__name__})")


def _picture(row: Mapping[str, Any], reader: RangeReader, spotters: Sequence[str]) -> Thumbnail:
    if row["image_size"] is None:
        return _blank(row, "no image")
    try:
        encoded = reader.read(row["image_offset"], row["image_size"])
        uri, width, height = thumbnail(encoded, row["width"], row["height"], row["format"])
    except DataError as error:
        return _blank(row, error.reason)
    except ShardError:
        return _blank(row, "tar shorter than its index")
    boxes = tuple(box for name in spotters for box in _boxes(row[f"{name}.words"] or (), row[f"{name}.boxes"] or ()))
    return Thumbnail(uri, width, height, (row["width"], row["height"]), boxes[:MAX_WORDS_SHOWN])


def _blank(row: Mapping[str, Any], fault: str) -> Thumbnail:
    return Thumbnail("", 160, 120, (row["width"] or 0, row["height"] or 0), fault=fault)


def _boxes(words: Iterable[str], boxes: Iterable[Sequence[float]]) -> Iterator[Box]:
    for word, box in zip(words, boxes, strict=True):
        numbers = [f"{100 * share:.1f}" for share in box]
        corners = " ".join(f"{x},{y}" for x, y in zip(numbers[::2], numbers[1::2], strict=True))
        yield Box(plain(word, WORD_CHARACTERS), corners)


def _value(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if value is None:
        error = row.get(f"{name.partition('.')[0]}.{ERROR}")
        return f"not measurable ({error})" if error else "not measured"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else short(value)
    return plain(value, WORD_CHARACTERS)
