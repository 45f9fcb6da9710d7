"""How outcomes and errors come from tasks that an engine's own data plane runs back to the driver, as what they were.

Ray Data and Spark tell the driver the text of what a task raised, wrapped in text of their own. So a task's iterator is
stepped through the task boundary, and what it raises is raised again as one line that can be found in any text.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from ...corpora.engine import Json, Outcome, attempt
from ...corpora.errors import ConfigError, FatalError, TamisError

_LINE = re.compile(r"<tamis:([A-Za-z0-9+/=]*)>")
T = TypeVar("T")


class WorkerError(Exception):
    """What a task raised, readable by machines."""


def guarded(work: Iterator[T]) -> Iterator[T]:
    """The same steps; what one raises is told so that ``heard`` understands it.

    Raises:
        WorkerError: a step raised something.
    """
    step = _Step(work)
    while True:
        outcome = attempt(step, "", {})
        if not outcome.ok:
            about = {"error": outcome.error, "config": outcome.fatal is ConfigError}
            raise WorkerError(f"<tamis:{base64.b64encode(json.dumps(about).encode()).decode()}> {outcome.error}")
        if step.over:
            return
        yield from step.value


def heard(text: str) -> TamisError | None:
    """What a task raised, from what the driver was told; None when it was something else that went wrong."""
    found = _LINE.search(text)
    if found is None:
        return None
    about = json.loads(base64.b64decode(found[1]))
    kind = ConfigError if about["config"] else FatalError
    return kind(about["error"])


def told(outcome: Outcome) -> str:
    """An outcome that is well, as a line of JSON."""
    return json.dumps([outcome.item, outcome.value, outcome.seconds, dict(outcome.worker)])


def outcome_of(line: str) -> Outcome:
    """The outcome that ``told`` made a line of."""
    item, value, seconds, worker = json.loads(line)
    return Outcome(item, value, seconds=seconds, worker=worker)


class _Step(Generic[T]):
    """The next step of an iterator, as a task."""

    def __init__(self, work: Iterator[T]) -> None:
        self._work = work
        self.value: list[T] = []
        self.over = False

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, item: str) -> dict[str, Json]:
        self.value = []
        for value in self._work:
            self.value = [value]
            return {}
        self.over = True
        return {}
