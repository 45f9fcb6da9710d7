"""What is sent along with a task: the user's own modules that it is made of, and nothing that workers have."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.errors import DataError
from tamis.jobs.engines.own_modules import own_modules
from tests.jobs.engines.acting import Act, Marks

SOURCES = {
    "mine_alone.py": "def blur(): ...",
    "mine_packed/__init__.py": "",
    "mine_packed/deep/look.py": "class Look:\n    def setup(self): ...\n    def __call__(self, item): return {}",
    "site-packages/mine_installed.py": "class Measure: ...",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Modules of a user's on Python's path, imported."""
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    names = ("mine_alone", "mine_packed.deep.look", "mine_installed")
    yield {name: importlib.import_module(name) for name in names}
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]


def test_modules_of_classes_functions_and_instances_are_found_at_any_depth(own: dict[str, Any]) -> None:
    task: Any = {"deep": [own["mine_packed.deep.look"].Look()], "function": (own["mine_alone"].blur,)}
    assert own_modules(task) == ("mine_alone", "mine_packed")
    assert own_modules(own["mine_packed.deep.look"].Look) == ("mine_packed",)


def test_what_workers_have_is_left_out(own: dict[str, Any]) -> None:
    task: Any = [Path("/"), Marks.leave, own["mine_installed"].Measure(), DataError, "mine_alone"]
    assert own_modules(task) == ("tests",)


def test_a_task_of_a_checkout_is_found_though_its_package_has_no_init(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(root))
    assert own_modules(Act(Marks("/somewhere"))) == ("tests",)
