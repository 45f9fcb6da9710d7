"""The demo: plant a corpus, serve it over HTTP on this machine, run the whole loop on it, and compare with what was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...corpora.errors import ConfigError
from ..job import Job, Watch
from ..recipe import Recipe, read_recipe
from ..report.report import write_report
from ..run import RunResult, run
from .planting import FEWEST, plant, write_list
from .server import DemoServer
from .truth import measure_truth


@dataclass(frozen=True)
class DemoResult:
    """What the demo did, what it found of what was planted, and where the page is."""

    run: RunResult
    truth: Mapping[str, Any]
    report: str
    recipe: Recipe


def run_demo(workdir: Path, seed: int, size: int, job_of: Callable[[Recipe], Job]) -> DemoResult:
    """Plant, serve, run, compare, report.

    Raises:
        ConfigError: an extra is missing, the list is too short, or the folder cannot be written.
    """
    if size < FEWEST:
        raise ConfigError(
            f"--size {size}: a list so short has no room for every kind of request; give {FEWEST} or more"
        )
    workdir = workdir.resolve()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {str(workdir)!r}: {error.strerror}; choose another --workdir") from error
    planted = plant(seed, size)
    job = job_of(demo_recipe(workdir))
    job.watch.begin("draw", len(planted), 0, "pictures")
    drawn = _Drawn(job.watch)
    with DemoServer(workdir / "www", seed, size, progress=drawn.tell) as server:
        job.watch.end()
        write_list(planted, server.base_url, workdir / "list.parquet")
        result = run(job)
    truth = measure_truth(job, planted, server.base_url)
    return DemoResult(result, truth, write_report(job, result, truth), job.recipe)


class _Drawn:
    """Turns the server's running count into steps."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._made = watch, 0

    def tell(self, made: int, total: int) -> None:
        self._watch.advance(made - self._made, made - self._made, 0)
        self._made = made


def demo_recipe(workdir: Path) -> Recipe:
    """The demo's recipe; put into ``workdir/recipe.yaml``, unless it is there, for people to change and run."""
    path = workdir / "recipe.yaml"
    if not path.exists():
        path.write_text((resources.files(__package__) / "recipe.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return read_recipe(path)
