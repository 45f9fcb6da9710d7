"""The command line with a trap: the process that commits a path of one kind is killed, before or after, once.

    python kill_at.py KIND before|after driver|worker FLAG -- run recipe.yaml

The trap is set in every process of the run (spawned workers import this file too) and springs once: FLAG is made first.
``driver`` kills the driver, whoever commits; ``worker`` kills whoever commits.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamis.corpora.store import Store
from tamis.jobs.cli import main


def set_trap(kind: str, moment: str, victim: str, flag: str, driver: int) -> None:
    """Make ``Store`` kill when a path that matches ``kind`` is published."""
    publish: Callable[..., None] = Store._publish

    def spring(path: str) -> None:
        if re.fullmatch(kind, path) and not Path(flag).exists():
            Path(flag).touch()
            os.kill(driver if victim == "driver" else os.getpid(), signal.SIGKILL)
            signal.pause()  # a worker whose driver is gone ends itself

    def trapped(store: Store, spool: Path, path: str) -> None:
        if moment == "before":
            spring(path)
        publish(store, spool, path)
        if moment == "after":
            spring(path)

    patched: Any = Store
    patched._publish = trapped


if __name__ == "__main__":
    split = sys.argv.index("--")
    os.environ["KILL_AT"] = json.dumps([*sys.argv[1:split], os.getpid()])
    sys.argv = ["tamis", *sys.argv[split + 1 :]]

set_trap(*json.loads(os.environ["KILL_AT"]))  # in spawned workers too, which import this file under another name

if __name__ == "__main__":
    main()
