"""Which modules of the user's a task is made of: those that its pickle names, and that nobody installed.

What is installed is expected on the workers, too; what lies in the user's folder is not, and is sent along. A module that
such a module imports, from a folder of its own, is not seen here: the engine is told of it by name.

Price: the task is pickled once more.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

from ..shipping import PACKAGE

_INSTALLED = {"site-packages", "dist-packages"}


def own_modules(task: object) -> tuple[str, ...]:
    """The top-level names of modules and packages to send along with a task, sorted."""
    pickler = _Pickler()
    pickler.dump(task)
    outside = sorted(pickler.named - {PACKAGE, "__main__"} - sys.stdlib_module_names)
    return tuple(name for name in outside if not _is_installed(name))


class _Pickler(pickle.Pickler):
    """Notes the modules of the classes and functions that it meets."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.named: set[str] = set()

    def persistent_id(self, value: Any) -> None:
        """Note where it is from; it is pickled as usual."""
        if isinstance(value, type | FunctionType) and value.__module__:
            self.named.add(value.__module__.split(".")[0])


def _is_installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
    return any(_INSTALLED & {*Path(place).parts} for place in places)
