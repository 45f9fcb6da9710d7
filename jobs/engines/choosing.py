"""From the engine block of a recipe to the engine; what an engine needs is imported when it is asked for."""

from __future__ import annotations

from ...corpora.engine import Engine
from ...corpora.errors import ConfigError
from ...pipelines.recipe import EngineBlock
from .local import LocalEngine

KNOWN = ("local",)


def engine_of(block: EngineBlock) -> Engine:
    """The engine that the block describes.

    Raises:
        ConfigError: this version has no such engine, or the extra that brings it is not installed.
    """
    if block.kind != "local":
        raise ConfigError(f"engine.kind: {block.kind!r} is not in this version; there is: {', '.join(KNOWN)}")
    return LocalEngine(block.workers)
