"""A small corpus that was fetched over real HTTP, measured with the light scorers, decided and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.store import Store
from tamis.jobs.engines.local import LocalEngine
from tamis.pipelines.demo.planting import Planted, plant, write_list
from tamis.pipelines.demo.server import DemoServer
from tamis.pipelines.job import Job
from tamis.pipelines.logs import Entry
from tamis.pipelines.recipe import parse_recipe
from tamis.pipelines.run import run

from .running import Inline, files

SIZE = 80


class Silence:
    """A watch that shows nothing."""

    def begin(self, stage: str, total: int, done: int, unit: str) -> None: ...

    def advance(self, items: int, units: int, failures: int) -> None: ...

    def hear(self, entry: Entry) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Site:
    """A running server of a planted list."""

    folder: Path
    url: str
    planted: list[Planted]

    def recipe(self, folder: Path, **blocks: Any) -> dict[str, Any]:
        """The recipe of the tests, with whole blocks replaced."""
        told: dict[str, Any] = {
            "name": "small",
            "corpus": str(folder / "corpus"),
            "source": {"kind": "laion", "path": str(self.folder / "list.parquet"), "keep": ["site", "id"]},
            "fetch": {"timeout_seconds": 3, "retries": 0, "per_host": 64, "allow_hosts": ["127.0.0.1"]},
            "shards": {"samples": 20},
            "scores": {"look": {}, "hashes": {}},
            "duplicates": {"exact": {"on": "image_sha256"}},
            "criteria": {"big": "min_side >= 64", "lit": "look.brightness >= quantile(look.brightness, 0.2)"},
            "policies": {"everything": "true", "sifted": "big and lit and first_of(duplicates.exact)"},
            "exports": [{"policy": "sifted", "to": str(folder / "export"), "samples": 16}],
        }
        return told | blocks


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The planted list, served by a process of its own for the whole session."""
    folder = tmp_path_factory.mktemp("site")
    planted = plant(0, SIZE)
    with DemoServer(folder / "www", size=SIZE, ports=(0,)) as server:
        write_list(planted, server.base_url, folder / "list.parquet")
        yield Site(folder, server.base_url, planted)


JobOf = Callable[..., Job]


@pytest.fixture(scope="session")
def job_of(site: Site) -> JobOf:
    """A job on the site: ``job_of(folder, workers=2, criteria={...})``."""

    def make(folder: Path, workers: int = 2, **blocks: Any) -> Job:
        recipe = parse_recipe(site.recipe(folder, **blocks), folder)
        return Job(recipe, Store(recipe.corpus), LocalEngine(workers), Silence())

    return make


@dataclass(frozen=True)
class Calm:
    """An undisturbed run on this machine's disk: its account, and every file of the corpus and the export."""

    account: Mapping[str, Any]
    files: dict[str, bytes]


@pytest.fixture(scope="session")
def calm(job_of: JobOf, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """A run in peace, for disturbed and distant ones to be compared with."""
    folder = tmp_path_factory.mktemp("calm")
    result = run(replace(job_of(folder), engine=Inline()))
    return Calm(result.account, files(folder))
