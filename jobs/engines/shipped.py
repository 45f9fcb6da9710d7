"""A task as a process on a cluster gets it: a pickle that is opened inside the task boundary, when all is settled for it.

What a worker lacks is then told as a set-up that failed, and CUDA counts GPUs only when it is settled which. Little is
imported here, so that a process begins with what its task needs.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ...corpora.engine import Json, Task
from ...corpora.extras import absent
from .leases import Slots


class Shipped:
    """A task in a pickle."""

    def __init__(self, task: bytes, code: str, slots: Slots | None = None) -> None:
        """``code`` is the path of the zip to import from; with ``slots``, the process takes GPUs of its own."""
        self._pickle, self._code, self._slots = task, code, slots

    def setup(self) -> None:
        """Take the GPUs, import what the task is made of, and set it up."""
        if self._slots is not None:
            self._lease = self._slots.claim()
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self._lease.addresses)
        sys.path.insert(
            0, self._code
        )  # Spark's workers have all that a session was ever sent, and the last of it first
        self._task: Task = pickle.loads(self._pickle)  # noqa: S301 - our own task, from our own driver
        self._task.setup()

    def __call__(self, item: str) -> Mapping[str, Json]:
        """Do an item."""
        return self._task(item)


@dataclass(frozen=True)
class Lacking:
    """The task that asks a worker which of the modules it lacks."""

    modules: tuple[str, ...]

    def setup(self) -> None:
        """Nothing to prepare."""

    def __call__(self, item: str) -> Mapping[str, Json]:
        """Look, and import nothing."""
        return {"absent": absent(self.modules)}
