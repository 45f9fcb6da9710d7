"""The checkout, the wheel and the declared dependencies say the same."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FRAME = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"}
"""What a build reads besides the rooms."""

IMPORT_ALONE = """
import importlib, json, sys
blocked, modules = json.load(sys.stdin)
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r} in the base install", name=name)
sys.meta_path.insert(0, Absent())
for module in modules:
    importlib.import_module(module)
"""


def test_wheel_holds_exactly_the_files_of_the_rooms(
    root: Path, files: list[str], rooms: dict[str, str], tmp_path: Path
) -> None:
    inside = [name for name in files if name.split("/")[0] in rooms]
    for name in (*inside, *FRAME.intersection(files)):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, tmp_path / "tree" / name)
    # Without --wheel the wheel is built from the sdist: one build judges both.
    build = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(tmp_path / "tree"),
    ]
    built = subprocess.run(build, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    folders = {name: name.split("/", 1) for name in inside}
    assert packed == {f"{rooms[room].replace('.', '/')}/{rest}" for room, rest in folders.values()}


def _requirements(block: str) -> set[str]:
    """The names that a block of requirement lines asks for, without this project's own extras."""
    return {str(canonicalize_name(Requirement(line).name)) for line in block.split("\n") if line} - {"tamis"}


def test_constraints_pin_every_direct_dependency_once(root: Path, setup_cfg: ConfigParser) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = [canonicalize_name(pin.split("==")[0]) for pin in pins]
    assert sorted(names) == sorted(set(names))
    blocks = [setup_cfg["options"]["install_requires"], *setup_cfg["options.extras_require"].values()]
    assert set().union(*map(_requirements, blocks)) - set(names) == set()


def test_every_third_party_import_is_declared(library: dict[str, str], setup_cfg: ConfigParser) -> None:
    extras = setup_cfg["options.extras_require"]
    blocks = [setup_cfg["options"]["install_requires"], *(extras[name] for name in extras if name != "dev")]
    declared = set().union(*map(_requirements, blocks))
    owners = packages_distributions()
    undeclared = [
        f"{path}: {name}"
        for path, source in library.items()
        for name in _outside_imports(source)
        if not declared & {canonicalize_name(owner) for owner in owners.get(name, [name])}
    ]
    assert undeclared == []


def _outside_imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found - sys.stdlib_module_names - {"tamis"}


def test_face_and_commands_import_with_the_base_install_alone(setup_cfg: ConfigParser) -> None:
    scripts = setup_cfg["options.entry_points"]["console_scripts"].split("\n")
    modules = ["tamis", *(line.split(" = ")[1].split(":")[0] for line in scripts if line)]
    base = _closure(_requirements(setup_cfg["options"]["install_requires"])) | {"tamis"}
    owners = packages_distributions().items()
    blocked = [name for name, dists in owners if not base & {canonicalize_name(dist) for dist in dists}]
    assert "torch" in blocked
    run = [sys.executable, "-c", IMPORT_ALONE]
    done = subprocess.run(run, check=False, input=json.dumps([blocked, modules]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _closure(names: set[str]) -> set[str]:
    """The distributions that come with ``names``, over all requirements that hold on this machine, extras apart."""
    found: set[str] = set()
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            wanted = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        here = [want for want in wanted if want.marker is None or want.marker.evaluate({"extra": ""})]
        waiting += [str(canonicalize_name(want.name)) for want in here]
    return found


def test_tests_mirror_the_tree(root: Path, files: list[str]) -> None:
    tests = [Path(name).relative_to("tests") for name in files if name.startswith("tests/")]
    assert [str(path) for path in tests if not (root / path).parent.is_dir()] == []
