"""Scorers by name: settings are checked before anything runs, and one's own need no registration."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.registry import SCORERS, build_scorer
from tamis.filters.scorer import Scorer, settings

OWN = """
from dataclasses import dataclass
from typing import ClassVar, Mapping
from tamis.corpora.errors import ConfigError
from tamis.filters.scorer import Needs, Scorer

@dataclass(frozen=True)
class Blur(Scorer):
    side: int = 64
    names: tuple[str, ...] = ()
    setting_names: ClassVar[Mapping[str, str]] = {"words": "names"}
    columns = ()
    needs = Needs()

    def __post_init__(self) -> None:
        if self.side < 8:
            raise ConfigError(f"blur: side is {self.side}; it must be at least 8")

    def prepare(self, sample): ...
    def score(self, batch, device): return {}

class Plain(Scorer): ...

number = 7
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own module, importable by the name that is returned."""
    (tmp_path / "blurry.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "blurry", raising=False)
    return "blurry"


@pytest.mark.parametrize("kind", SCORERS)
def test_every_scorer_of_the_list_is_built_by_its_kind(kind: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("uid,n\na,1\n")
    (tmp_path / "bad.txt").write_text("bad\n")
    needed: Mapping[str, Any] = {
        "convert": {"script": "simplified"},
        "perplexity": {"path": "model.npz"},
        "rules": {"profile": "fineweb"},
        "words": {"path": str(tmp_path / "bad.txt")},
        "import": {"path": str(tmp_path / "t.csv"), "columns": ["n"]},
        "clip": {"weights": "embedded"},
    }
    built, scorer = build_scorer("mine", {"kind": kind, **needed.get(kind, {})})
    assert built == kind
    assert isinstance(scorer, Scorer)
    assert scorer.columns
    assert len({column.name for column in scorer.columns}) == len(scorer.columns)


def test_the_name_is_the_kind_unless_another_is_told() -> None:
    assert build_scorer("look", {})[0] == "look"
    kind, scorer = build_scorer("look_small", {"kind": "look", "side": 64})
    assert (kind, settings(scorer)["side"]) == ("look", 64)


def test_ones_own_scorer_is_found_by_its_import_path(own: str) -> None:
    kind, scorer = build_scorer("blur", {"kind": f"{own}:Blur", "side": 32, "words": ["a", "b"]})
    assert kind == "blurry:Blur"
    assert settings(scorer) == {"side": 32, "names": ("a", "b")}


def refusal(name: str, settings_given: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as raised:
        build_scorer(name, settings_given)
    return str(raised.value)


def test_an_unknown_kind_names_a_near_one_and_all_there_are() -> None:
    told = refusal("hash", {})
    assert told.startswith(
        "scores.hash: no scorer 'hash'; did you mean 'hashes'? There are alt_text, clip, convert, hashes, "
    )
    assert "as `kind: mypkg.blur:Blur`" in told
    assert refusal("zzz", {}).startswith("scores.zzz: no scorer 'zzz'. There are alt_text, clip, ")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sides": 3}, "scores.blur.sides: unknown setting; blurry:Blur has: words, side"),
        ({"names": ["a"]}, "scores.blur.names: unknown setting; blurry:Blur has: words, side"),
        ({"side": "wide"}, "scores.blur.side: Input should be a valid integer"),
        ({"side": 64.5}, "scores.blur.side: Input should be a valid integer"),
        ({"words": 3}, "scores.blur.words: Input should be a valid tuple; found 3"),
        ({"words": [1]}, "scores.blur.words.0: Input should be a valid string; found 1"),
        ({"side": 4}, "blur: side is 4; it must be at least 8"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(given: Mapping[str, Any], told: str, own: str) -> None:
    assert refusal("blur", {"kind": f"{own}:Blur", **given}).startswith(told)


def test_a_missing_setting_is_refused_by_name() -> None:
    assert refusal("old", {"kind": "import", "path": "x"}).startswith("scores.old.columns: Field required")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nosuch.module:Blur", r"scores.blur.kind: cannot import 'nosuch.module:Blur': No module named 'nosuch'"),
        ("blurry:Blurr", r"scores.blur.kind: cannot import 'blurry:Blurr': module 'blurry' has no attribute 'Blurr'"),
        ("blurry:number", r"'blurry:number' is not a dataclass derived from tamis.filters.scorer.Scorer"),
        ("blurry:Plain", r"'blurry:Plain' is not a dataclass derived from tamis.filters.scorer.Scorer"),
        ("pathlib:Path", r"'pathlib:Path' is not a dataclass derived from tamis.filters.scorer.Scorer"),
        (".blurry:Blur", r"scores.blur.kind: cannot import '.blurry:Blur'"),
        (":Blur", r"scores.blur.kind: cannot import ':Blur'"),
        ("blurry:", r"scores.blur.kind: cannot import 'blurry:'"),
    ],
)
def test_what_is_no_scorer_is_refused(kind: str, told: str, own: str) -> None:
    assert re.search(told, refusal("blur", {"kind": kind}))


def test_building_every_scorer_imports_no_model_library() -> None:
    program = (
        "import sys\n"
        "from tamis.filters.registry import SCORERS, build_scorer\n"
        "needed = {'clip': {'weights': 'embedded'}, 'convert': {'script': 'simplified'},\n"
        "          'import': {'path': '', 'columns': []}, 'perplexity': {'path': ''},\n"
        "          'rules': {'profile': 'fineweb'}, 'words': {'path': ''}}\n"
        "for kind in SCORERS:\n"
        "    build_scorer(kind, needed.get(kind, {}))\n"
        "models = {'torch', 'open_clip', 'onnxruntime', 'rapidocr', 'transformers', 'pycld2', 'opencc', 'ahocorasick_rs'}\n"
        "print(sorted(models & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
