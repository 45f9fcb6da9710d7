"""``tamis status``: how far a corpus is, as a table that may stay on the screen, or as JSON, an object a look."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from ..corpora.corpus import open_corpus
from ..corpora.store import Store
from ..pipelines.status import Onlooker
from .tables import duration, printable, rounded, size

_STYLES = {"running": "green", "quiet": "yellow", "incomplete": "yellow", "stopped": "red"}


def show(path: str, as_json: bool, every: float | None) -> None:
    """Print the status of the corpus at ``path`` once, or ``every`` so many seconds until interrupted.

    Raises:
        ConfigError: there is no corpus.
    """
    onlooker = Onlooker(open_corpus(Store(path)))
    console = Console(highlight=False)
    looks = _looks(onlooker, every)
    with suppress(KeyboardInterrupt):  # it is how watching ends
        if as_json:
            for told in looks:
                print(json.dumps(told), flush=True)
        elif every is None or not console.is_terminal:
            for told in looks:
                console.print(drawn(told))
        else:
            with Live(console=console, auto_refresh=False) as live:
                for told in looks:
                    live.update(drawn(told), refresh=True)


def _looks(onlooker: Onlooker, every: float | None) -> Iterator[dict[str, Any]]:
    yield onlooker.look()
    while every is not None:
        time.sleep(every)
        yield onlooker.look()


def drawn(told: Mapping[str, Any]) -> RenderableType:
    """A status as people read it."""
    right = ("done", "failing", "rate", "left", "workers", "heard")
    table = Table("stage", "state", *(Column(name, justify="right") for name in right), box=None, pad_edge=False)
    for stage in told["stages"]:
        name, state, *cells = (printable(cell) for cell in _cells(stage))
        table.add_row(Text(name), Text(state, style=_STYLES.get(state, "")), *map(Text, cells))
    lines = [Text(printable(line)) for line in _notes(told)]
    heading = Text(printable(f"{told['corpus']} in {told['path']}"), style="bold")
    return Group(heading, *([table] if told["stages"] else [Text("nothing was begun yet")]), *lines)


def _cells(stage: Mapping[str, Any]) -> Iterator[str]:
    yield f"{stage['stage']} {stage['of']}".strip()
    yield stage["state"]
    share = f" ({stage['done'] / stage['total']:.0%})" if stage["total"] else ""
    yield f"{stage['done']:,} / {stage['total']:,}{share}"
    yield f"{stage['failing']:,}" if stage["failing"] else ""
    yield f"{rounded(stage['units_per_second'])} {stage['unit']}/s" if stage["units_per_second"] else ""
    yield duration(stage["seconds_left"]) if stage["seconds_left"] is not None else ""
    nodes = f" on {len(stage['nodes'])} nodes" if len(stage["nodes"]) > 1 else ""
    yield f"{stage['workers']} {stage['engine']}{nodes}" if stage["workers"] else stage["engine"]
    yield f"{duration(max(0.0, stage['heard_seconds_ago']))} ago"


def _notes(told: Mapping[str, Any]) -> Iterator[str]:
    for stage in told["stages"]:
        name = f"{stage['stage']} {stage['of']}".strip()
        if stage["error"]:
            yield f"{name} was stopped: {stage['error']}"
        for one in stage["failures"]:
            yield f"failing {name} {one['item']} (attempt {one['attempts']}, {one['node']}): {one['error']}"
        if stage["state"] in {"running", "quiet"} and stage["slowest"]:
            slow = (f"{one['item']} {duration(one['seconds'])} ({one['node']})" for one in stage["slowest"])
            yield f"slowest of {name}: {', '.join(slow)}"
    if held := told["held"]:
        alive = {True: "", False: ", which is gone: the next run takes it over", None: ""}[held["alive"]]
        yield f"held by `{held['command']}` (process {held['process']} on {held['host']}, since {held['since']}){alive}"
    used = {folder: one for folder, one in told["disk"].items() if one["bytes"]}
    if used:
        total = size(sum(one["bytes"] for one in used.values()))
        parts = (f"{folder} {'' if one['whole'] else 'at least '}{size(one['bytes'])}" for folder, one in used.items())
        yield f"disk: {total} ({', '.join(parts)})"
    yield f"next: {told['next']}" if told["next"] else "next: nothing, all stages are done"
