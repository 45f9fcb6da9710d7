"""From the name of an engine to the engine."""

from __future__ import annotations

from ...corpora.engine import Engine
from ...corpora.errors import ConfigError
from .local import LocalEngine

KNOWN = ("local",)


def engine_named(kind: str, workers: int) -> Engine:
    """The engine of this name with so many workers.

    Raises:
        ConfigError: this version has no such engine.
    """
    if kind != "local":
        raise ConfigError(f"engine.kind: {kind!r} is not in this version; there is: {', '.join(KNOWN)}")
    return LocalEngine(workers)
