"""Tasks that only a worker beside a Python worker of Spark's can come to harm with."""

from __future__ import annotations

import os
import signal
from typing import Any

from tamis.corpora.errors import ShardError
from tests.jobs.engines.acting import Act


class KillParent(Act):
    """The item ``kill-parent`` kills the Python worker of Spark's beside which it runs."""

    def __call__(self, item: str) -> dict[str, Any]:
        if item == "kill-parent":
            self.marks.leave(item)
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        return super().__call__(item)


class OneIsBroken(Act):
    """Beside the first Python worker of Spark's that comes, no process can ever be set up."""

    def setup(self) -> None:
        parent = str(os.getppid())
        if self.marks.leave("first") == 1:
            self.marks.leave(f"broken-{parent}")
        if f"broken-{parent}" in self.marks.attempts():
            self.marks.leave("refused")
            raise ShardError("this worker's GPU has fallen off the bus")

    def __call__(self, item: str) -> dict[str, Any]:
        return {**super().__call__(item), "parent": os.getppid()}


class OnlyHere(Act):
    """A task that no worker can open."""

    def __init__(self) -> None: ...

    def __reduce__(self) -> Any:
        return refuse, ()


def refuse() -> None:
    raise ImportError("not on workers")
