"""The rules of CONTRIBUTING.md that a machine can read off the library's sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
TASK_BOUNDARY = "corpora/engine.py"
NAMES_WITHOUT_AN_IDEA = {"utils", "util", "helpers", "helper", "common", "misc"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SEEDED = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}


@pytest.fixture(scope="session")
def trees(library: dict[str, str]) -> dict[str, ast.Module]:
    """The library's modules, parsed."""
    return {path: ast.parse(source) for path, source in library.items()}


def _places(trees: dict[str, ast.Module]) -> Iterator[tuple[str, ast.AST]]:
    return ((path, node) for path, tree in trees.items() for node in ast.walk(tree))


def test_modules_are_short(library: dict[str, str]) -> None:
    lengths = {path: len(source.splitlines()) for path, source in library.items()}
    assert {path: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_functions_are_short(trees: dict[str, ast.Module]) -> None:
    functions = [(p, n) for p, n in _places(trees) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f"{p}:{n.lineno} {n.name}": (n.end_lineno or n.lineno) - n.lineno + 1 for p, n in functions}
    assert {where: length for where, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def test_every_module_says_its_idea(trees: dict[str, ast.Module]) -> None:
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_every_module_is_named_after_an_idea(library: dict[str, str]) -> None:
    parts = {path: {*PurePosixPath(path).parent.parts, PurePosixPath(path).stem} for path in library}
    assert [path for path, names in parts.items() if names & NAMES_WITHOUT_AN_IDEA] == []


def test_only_the_task_boundary_catches_everything(trees: dict[str, ast.Module]) -> None:
    broad = [path for path, node in _places(trees) if _catches_everything(node)]
    assert broad == [TASK_BOUNDARY]


def _catches_everything(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        caught = [node.type] if node.type else [ast.Name("BaseException")]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = node.args
    else:
        return False
    names = {inner.id for kind in caught for inner in ast.walk(kind) if isinstance(inner, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def test_nothing_from_outside_is_unpickled(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{path}:{getattr(node, 'lineno', 0)}"
        for path, node in _places(trees)
        if _unpickles(node) and not path.startswith("jobs/engines/")  # an engine sends our own tasks to our own workers
    ]
    assert found == []


def _unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in PICKLES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and (node.module or "").split(".")[0] in PICKLES
    if not isinstance(node, ast.Call):
        return False
    said = {word.arg: ast.unparse(word.value) for word in node.keywords}
    bare_torch_load = ast.unparse(node.func) == "torch.load" and said.get("weights_only") != "True"
    return bare_torch_load or said.get("allow_pickle", "False") != "False"


def test_nothing_depends_on_a_hidden_seed(trees: dict[str, ast.Module]) -> None:
    found = [f"{path}:{getattr(node, 'lineno', 0)}" for path, node in _places(trees) if _hidden_seed(node)]
    assert found == []


def _hidden_seed(node: ast.AST) -> bool:
    """Whether a node uses ``random``, NumPy's global generator, or ``hash``, which differs in every process."""
    if isinstance(node, ast.Import):
        return any(alias.name == "random" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and node.module == "random"
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"np.random", "numpy.random"}:
        return node.attr not in SEEDED
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "hash"
