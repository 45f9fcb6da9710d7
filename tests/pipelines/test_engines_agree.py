"""One recipe, one list, the demo's scorers: the same bytes from every engine, on a disk and on an object store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ..s3_server import S3
from .agreeing import SAME, command_for, digests, on_disk, run_to_the_end, tasks_of
from .conftest import Site

KNOWN_BY = {"local": (), "ray": ("node_id",), "spark": ("executor",)}
"""What a worker's identity holds beside engine, node and process, by engine."""


def check_workers(files: Mapping[str, bytes], engine: str) -> None:
    """Every task tells engine, node, process and what this engine knows of them besides."""
    tasks = tasks_of(files)
    assert {line["stage"] for line in tasks} >= {"fetch", "score", "decide", "export"}
    for line in tasks:
        assert line["worker"]["engine"] == engine
        assert all(line["worker"][name] for name in ("node", "process", *KNOWN_BY[engine])), line


@pytest.fixture(scope="module")
def expected(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of a run in one local process."""
    folder = tmp_path_factory.mktemp("alone")
    run_to_the_end(command_for(folder, site, "--engine", "local", "--workers", "1"), site)
    files = on_disk(folder)
    check_workers(files, "local")
    found = digests(files)
    assert len(found) >= 80
    assert {path.split("/")[1] for path in found if path.startswith("corpus/")} == set(SAME)
    return found


@pytest.mark.parametrize("engine", ["local", "ray", "spark"])
def test_two_workers_of_any_engine_give_the_bytes_of_one_local_process(
    engine: str, expected: dict[str, str], site: Site, tmp_path: Path
) -> None:
    run_to_the_end(command_for(tmp_path, site, "--engine", engine, "--workers", "2"), site)
    files = on_disk(tmp_path)
    assert digests(files) == expected
    check_workers(files, engine)


@pytest.mark.parametrize("engine", ["local", "ray", "spark"])
def test_a_corpus_on_an_object_store_has_the_same_bytes(
    engine: str, expected: dict[str, str], site: Site, tmp_path: Path, s3: S3
) -> None:
    run_to_the_end(command_for(tmp_path, site, "--engine", engine, "--workers", "2", base=s3.url() + "/"), site)
    files = s3.files()
    assert digests(files) == expected
    check_workers(files, engine)
    assert s3.dangling_uploads() == []
