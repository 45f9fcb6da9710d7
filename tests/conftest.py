"""What all tests share: the project's sources, one thread a process, and programs that a machine may lack."""

from __future__ import annotations

import os
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from hypothesis import settings

from .s3_server import s3, s3_endpoint  # noqa: F401 - fixtures

# Tests run in several processes; libraries that each take every core would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Examples are searched for anew on every run here; a gate must give the same answer for the same tree.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

PROGRAMS = ("chromium", "nginx")
"""What a test may ask for beyond Python, make and the package index, with ``@pytest.mark.needs_<program>``."""


def _missing() -> list[str]:
    """The programs that are not here; under ``CI`` none counts as missing, so that absence passes nothing there."""
    return [] if os.environ.get("CI") else [name for name in PROGRAMS if shutil.which(name) is None]


def pytest_configure(config: pytest.Config) -> None:
    for name in PROGRAMS:
        config.addinivalue_line("markers", f"needs_{name}: left out where {name} is missing, unless CI is set")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if any(item.get_closest_marker(f"needs_{name}") for name in _missing())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in _missing():
        terminalreporter.write_line(f"{name} is not installed: the tests that need it were left out", yellow=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def files(root: Path) -> list[str]:
    """Every file of the project: what git tracks, and what is new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({name for name in listed if (root / name).is_file()})


@pytest.fixture(scope="session")
def setup_cfg(root: Path) -> ConfigParser:
    """The packaging declarations."""
    declared = ConfigParser()
    declared.read(root / "setup.cfg", encoding="utf-8")
    return declared


@pytest.fixture(scope="session")
def rooms(setup_cfg: ConfigParser) -> dict[str, str]:
    """Top-level folder to the import package that it is."""
    pairs = (line.split(" = ") for line in setup_cfg["options"]["package_dir"].split("\n") if line)
    return {folder: package for package, folder in pairs}


@pytest.fixture(scope="session")
def library(root: Path, files: list[str], rooms: dict[str, str]) -> dict[str, str]:
    """The modules of the library: path to source."""
    paths = [name for name in files if name.split("/")[0] in rooms and name.endswith(".py")]
    return {path: (root / path).read_text(encoding="utf-8") for path in paths}
