"""The demo: plant a corpus, serve it over HTTP on this machine, run the whole loop on it, and compare with what was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ...corpora.engine import Engine
from ...corpora.errors import ConfigError
from ...corpora.store import Store
from ..job import Job, Watch
from ..recipe import EngineBlock, Recipe, parse_recipe
from ..report.report import write_report
from ..run import RunResult, run
from .planting import plant, write_list
from .server import DemoServer
from .truth import measure_truth

PORT_PLACE = "{port}"


@dataclass(frozen=True)
class DemoResult:
    """What the demo did, what it found of what was planted, and where the page is."""

    run: RunResult
    truth: Mapping[str, Any]
    report: str
    recipe: Recipe


def run_demo(workdir: Path, seed: int, engine: Callable[[EngineBlock], Engine], watch: Watch) -> DemoResult:
    """Plant, serve, run, compare, report.

    Raises:
        ConfigError: an extra is missing, or the folder cannot be written.
    """
    workdir = workdir.resolve()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {str(workdir)!r}: {error.strerror}; choose another --workdir") from error
    planted = plant(seed)
    with DemoServer(planted, workdir / "www") as server:
        write_list(planted, server.base_url, workdir / "list.parquet")
        recipe = demo_recipe(workdir, server.port)
        job = Job(recipe, Store(recipe.corpus), engine(recipe.engine), watch)
        result = run(job)
    truth = measure_truth(job, planted, server.base_url)
    return DemoResult(result, truth, write_report(job, result, truth), recipe)


def demo_recipe(workdir: Path, port: int) -> Recipe:
    """The demo's recipe for a server on ``port``; also written to ``workdir/recipe.yaml`` for people to change and run."""
    text = (resources.files(__package__) / "recipe.yaml").read_text(encoding="utf-8").replace(PORT_PLACE, str(port))
    (workdir / "recipe.yaml").write_text(text, encoding="utf-8")
    return parse_recipe(yaml.safe_load(text), workdir)
