"""A small finished corpus, made once."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tamis.pipelines.job import Job
from tamis.pipelines.run import RunResult, run

from .generated import RECIPE, SCORER, Made, write_tars


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Generated tars and a scorer that can be imported; nothing is run yet."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "spotting_by_caption.py").write_text(SCORER)
    sys.path.insert(0, str(folder))
    (folder / "tars").mkdir()
    write_tars(folder / "tars")
    yield Made(folder, RECIPE)
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def finished(made: Made) -> tuple[Job, RunResult]:
    """A job whose stages are all done, and how they ended. Tests read its corpus and leave it as it is."""
    job = made.job()
    result = run(job)
    assert result.poison == []
    return job, result
