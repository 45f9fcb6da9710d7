"""Who may import whom: the arrows of docs/architecture.md, section 3, and how imports are spelled."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ARROWS = {
    "corpora": {"corpora"},
    "models": {"models", "corpora"},
    "filters": {"filters", "models", "corpora"},
    "train": {"train", "models", "corpora"},
    "evals": {"evals", "filters", "models", "corpora"},
    "pipelines": {"pipelines", "filters", "train", "evals", "models", "corpora"},
    "jobs": {"jobs", "pipelines", "filters", "train", "evals", "models", "corpora"},
    "api": {"api", "pipelines", "filters", "train", "evals", "models", "corpora"},
}
"""Room to the rooms that it may import. Nothing but tests and benchmarks imports ``api`` or ``jobs``."""

NAMED_MODULE = re.compile(rf"tamis\.({'|'.join(ARROWS)})\b[\w.:]*")


def _room(name: str) -> str:
    """The room of a dotted name below ``tamis``: what is not in a room is the public face."""
    second = name.split(".")[1] if "." in name else ""
    return second if second in ARROWS else "api"


def _imported(path: str, node: ast.AST) -> Iterator[tuple[str, bool]]:
    """The absolute dotted names that a node imports (or names in a string), and whether they were spelled relatively."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, False) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        folders = PurePosixPath(path).parent.parts
        package = ("tamis", *(folders if folders[:1] != ("api",) else ()))
        base = package[: len(package) - node.level + 1] if node.level else ()
        yield from ((".".join((*base, *filter(None, [node.module]), a.name)), node.level > 0) for a in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED_MODULE.fullmatch(node.value):
        yield node.value, True


def faults(path: str, source: str) -> list[str]:
    """What is wrong with the imports of one module of any room, wherever in the module they stand."""
    own, found = path.split("/")[0], []
    for node in ast.walk(ast.parse(source)):
        for name, relative in _imported(path, node):
            top = name.split(".")[0]
            if top in ARROWS:
                found.append(f"{path}: {name} names the folder; the package is tamis.{name}")
            elif top != "tamis":
                continue
            elif own in ARROWS and _room(name) not in ARROWS[own]:
                found.append(f"{path}: {name}: {own} may not import {_room(name)}")
            elif own in ARROWS and relative == (own == "api") and not isinstance(node, ast.Constant):
                found.append(f"{path}: {name}: imports are relative in the library, and tamis.… in api")
    return found


def test_every_import_of_the_library_follows_the_arrows(library: dict[str, str]) -> None:
    assert {path.split("/")[0] for path in library} == set(ARROWS)
    assert [fault for path, source in library.items() for fault in faults(path, source)] == []


def test_tests_and_benchmarks_import_the_package_and_not_its_folders(root: Path, files: list[str]) -> None:
    outside = [name for name in files if name.startswith(("tests/", "benchmarks/")) and name.endswith(".py")]
    assert [fault for path in outside for fault in faults(path, (root / path).read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("path", "source", "told"),
    [
        ("corpora/a.py", "from ..models import clip", "corpora may not import models"),
        ("corpora/sources/a.py", "from ...filters.look import Look", "corpora may not import filters"),
        ("corpora/a.py", "from .. import models", "corpora may not import models"),
        ("corpora/a.py", "from .. import open", "corpora may not import api"),
        ("corpora/__init__.py", "from ..jobs import cli", "corpora may not import jobs"),
        ("models/a.py", "def f():\n    from ..train import loop", "models may not import train"),
        ("train/a.py", "if TYPE_CHECKING:\n    from ..evals import pope", "train may not import evals"),
        ("pipelines/a.py", "KIND = 'tamis.jobs.cli:main'", "pipelines may not import jobs"),
        ("jobs/a.py", "from ..api import open", "jobs may not import api"),
        ("api/a.py", "from tamis.jobs import cli", "api may not import jobs"),
        ("filters/a.py", "import tamis.corpora.errors", "imports are relative"),
        ("filters/a.py", "from tamis import corpora", "imports are relative"),
        ("api/__init__.py", "from .corpora import errors", "tamis.… in api"),
        ("filters/a.py", "import corpora", "the package is tamis.corpora"),
        ("tests/a.py", "from filters import look", "the package is tamis.filters"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, told: str) -> None:
    assert told in "".join(faults(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("corpora/sources/a.py", "from ..errors import DataError"),
        ("corpora/sources/__init__.py", "from .laion import Laion"),
        ("models/a.py", "import torch\nfrom torch import nn"),
        ("filters/a.py", "from . import scorer\nfrom .scorer import Scorer\nfrom ..models.clip import Clip"),
        ("filters/a.py", "KIND = 'tamis.filters.look:Look'\nTABLE = 'tamis.parquet'"),
        ("jobs/engines/a.py", "from ...pipelines.recipe import Recipe"),
        ("api/__init__.py", "from tamis.pipelines.handle import open"),
        ("tests/jobs/a.py", "import tamis\nfrom tamis.jobs.cli import main"),
    ],
)
def test_a_right_import_is_left_alone(path: str, source: str) -> None:
    assert faults(path, source) == []
