"""Several watchers are told the same, in order."""

from __future__ import annotations

from typing import Any

from tamis.jobs.metrics import Metrics
from tamis.jobs.watching import Watchers
from tamis.pipelines.logs import Entry


class Notes:
    def __init__(self, name: str, notes: list[tuple[Any, ...]]) -> None:
        self._name, self._notes = name, notes

    def begin(self, *told: Any) -> None:
        self._notes.append((self._name, "begin", *told))

    def advance(self, *told: Any) -> None:
        self._notes.append((self._name, "advance", *told))

    def hear(self, entry: Entry) -> None:
        self._notes.append((self._name, "hear", entry))

    def end(self) -> None:
        self._notes.append((self._name, "end"))


def test_each_watcher_is_told_everything_in_order() -> None:
    notes: list[tuple[Any, ...]] = []
    watchers = Watchers((Notes("bars", notes), Notes("other", notes), metrics := Metrics()))
    entry = Entry(0.0, "00000", bytes_in=7)
    watchers.begin("score", 5, 2, "images")
    watchers.hear(entry)
    watchers.advance(1, 100, 0)
    watchers.end()
    told = [("begin", "score", 5, 2, "images"), ("hear", entry), ("advance", 1, 100, 0), ("end",)]
    assert notes == [(name, *one) for one in told for name in ("bars", "other")]
    assert 'tamis_bytes_total{stage="score",direction="in"} 7\n' in metrics.text()
