"""From the engine block to the engine, and what is said when it is not there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from tamis.corpora.errors import ConfigError
from tamis.jobs.engines.choosing import engine_of
from tamis.jobs.engines.local import LocalEngine
from tamis.pipelines.recipe import EngineBlock


def block(**told: Any) -> EngineBlock:
    return EngineBlock.model_validate(told)


def test_the_local_engine_has_the_workers_of_the_block() -> None:
    assert engine_of(block(workers=3)) == LocalEngine(3)


@pytest.mark.parametrize("kind", ["ray", "spark"])
def test_a_cluster_s_engine_has_the_workers_and_the_address_of_the_block(kind: str) -> None:
    engine: Any = engine_of(block(kind=kind, workers=3, address="head:6379"))
    assert (engine.name, engine.workers, engine.address) == (kind, 3, "head:6379")


def test_ray_may_grow_to_the_most_workers_of_the_block_and_knows_their_threads() -> None:
    engine: Any = engine_of(block(kind="ray", workers=3, max_workers=9, threads=4))
    assert (engine.workers, engine.max_workers, engine.threads) == (3, 9, 4)


@pytest.mark.parametrize(("kind", "module"), [("ray", "ray"), ("spark", "pyspark")])
def test_an_engine_whose_extra_is_missing_says_how_to_install_it(
    kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else real(name))
    with pytest.raises(ConfigError, match=rf"{kind} is not installed: pip install 'tamis\[{kind}\]'$"):
        engine_of(block(kind=kind))


def test_an_unknown_engine_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="no engine 'dask'; there are local, ray, spark"):
        engine_of(block().model_copy(update={"kind": "dask"}))


def test_choosing_the_local_engine_imports_no_other() -> None:
    code = """
import sys
from tamis.jobs.engines.choosing import engine_of
from tamis.pipelines.recipe import EngineBlock
engine_of(EngineBlock())
assert not {"ray", "pyspark"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
