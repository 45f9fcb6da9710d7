"""From the engine block of a recipe to the engine; what an engine needs is imported when it is asked for."""

from __future__ import annotations

from ...corpora.engine import Engine
from ...corpora.errors import ConfigError
from ...corpora.extras import EXTRAS, absent, remedy
from ...pipelines.recipe import EngineBlock
from .local import LocalEngine
from .processes import environment

KNOWN = ("local", "ray", "spark")

_QUIET_RAY = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Read when Ray is imported: it would tell of each worker's death on stdout, where results go; outcomes tell of it."""


def engine_of(block: EngineBlock) -> Engine:
    """The engine that the block describes.

    Raises:
        ConfigError: there is no such engine, or the extra that brings it is not installed.
    """
    if block.kind not in KNOWN:
        raise ConfigError(f"engine.kind: no engine {block.kind!r}; there are {', '.join(KNOWN)}")
    if missing := absent(EXTRAS.get(block.kind, ())):
        raise ConfigError(f"engine.kind: {block.kind} is not installed: {remedy(missing)}")
    if block.kind == "ray":
        with environment(_QUIET_RAY):
            from .ray import RayEngine
        most = block.max_workers
        return RayEngine(block.workers, most, block.address, threads=block.threads, memory_gib=block.memory_gib)
    if block.kind == "spark":
        from .spark import SparkEngine

        return SparkEngine(block.workers, block.address, memory_gib=block.memory_gib)
    return LocalEngine(block.workers, block.memory_gib)
