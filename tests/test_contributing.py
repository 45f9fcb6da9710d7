"""What CONTRIBUTING.md tells a newcomer to do, done."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from tamis.filters.scorer import Scorer


def _module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module made of a code block, importable until the test ends."""
    module = ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"CONTRIBUTING.md: {name}", "exec"), module.__dict__)
    return module


def test_the_example_scorer_passes_its_example_test(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    scorer, test = (dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    module = _module("tamis.filters.colour", scorer, monkeypatch)
    assert issubclass(module.Colour, Scorer)
    assert not inspect.isabstract(module.Colour)
    check = _module("test_colour", test, monkeypatch).test_flat_colours_measure_what_the_formula_says
    [cases] = check.pytestmark
    assert len(cases.args[1]) == 2
    for case in cases.args[1]:
        check(*case)


def test_the_table_names_files_that_exist(root: Path) -> None:
    rows = [
        line for line in (root / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    named = [path for row in rows for path in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 10
    assert [path for path in named if not (root / path).exists()] == []
