"""What a Ray worker runs: a task that is set up, and its items.

It is a module of its own, so that workers import what they need and no more: each is a new process.
"""

from __future__ import annotations

from collections.abc import Mapping

import ray

from ...corpora.engine import Json, Outcome, Task, attempt, here, set_up

NAME = "ray"


class Hands:
    """A task and the worker that does its items."""

    def who(self) -> Mapping[str, Json]:
        """Who this worker is; that it answers says that it has found a place."""
        context = ray.get_runtime_context()
        self._worker = here(NAME, node_id=context.get_node_id(), actor_id=context.get_actor_id())
        return self._worker

    def set_up(self, task: Task) -> Outcome:
        """Prepare the task; one that cannot be unpickled here never gets so far, and is Ray's to tell."""
        self._task = task
        return set_up(task, self._worker)

    def run(self, item: str) -> Outcome:
        """Do an item."""
        return attempt(self._task, item, self._worker)
