"""Every command that a page of the documentation shows is run, in order, on a small demo."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.corpora.metering import PHASES
from tamis.filters.registry import build_scorer
from tamis.jobs.metrics import FAMILIES
from tamis.pipelines.recipe import FetchBlock, load_yaml, parse_recipe

PAGES = ("recipes", "deciding", "adopting", "scorers", "watching", "fetching", "clusters")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``work/demo`` as ``make demo`` leaves it, made of fewer requests."""
    folder = tmp_path_factory.mktemp("docs")
    demo = [sys.executable, "-m", "tamis.jobs.cli", "demo", "--workdir", "work/demo", "--size", "60"]
    subprocess.run(demo, cwd=folder, check=True, capture_output=True)
    return folder


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_runs(name: str, workspace: Path, root: Path) -> None:
    page = root / "docs" / f"{name}.md"
    for block in _blocks(page, "yaml"):
        if "source:" in block and "kind: shards" in block:
            _prepare_adoption(workspace, block)
    for block in _blocks(page, "sh"):
        done = subprocess.run(
            ["bash", "-euc", f'export PATH="{Path(sys.executable).parent}:$PATH"\n{block}'],
            cwd=workspace,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def _prepare_adoption(workspace: Path, recipe: str) -> None:
    """The recipe of the page, and the scores that it imports."""
    demo = workspace / "work" / "demo"
    (demo / "adopt.yaml").write_text(recipe.replace("corpus: corpus", "corpus: adopted"), encoding="utf-8")
    uids = pa.concat_tables(
        [pq.read_table(path, columns=["uid"]) for path in sorted((demo / "export").glob("*.parquet"))]
    )
    quality = pa.array([(row % 10) / 10 for row in range(uids.num_rows)])
    pq.write_table(uids.append_column("quality", quality), demo / "scores.parquet")


def test_the_readme_shows_a_sound_recipe(root: Path, tmp_path: Path) -> None:
    blocks = _blocks(root / "README.md", "yaml")
    assert [parse_recipe(load_yaml(block), tmp_path).name for block in blocks] == ["laion-mini"]


def test_the_architecture_shows_a_recipe_whose_keys_are_known_or_announced(root: Path, tmp_path: Path) -> None:
    block = next(b for b in _blocks(root / "docs" / "architecture.md", "yaml") if "criteria:" in b)
    assert parse_recipe(load_yaml(block), tmp_path).name == "laion-mini"


def test_the_page_on_fetching_has_every_key_with_its_default(root: Path, tmp_path: Path) -> None:
    [block] = _blocks(root / "docs" / "fetching.md", "yaml")
    told = load_yaml(block)["fetch"]
    assert set(told) == set(FetchBlock.model_fields)
    recipe = {"corpus": "c", "source": {"kind": "laion", "path": "list.csv"}, "fetch": told}
    own = {name: told.pop(name) for name in ("user_agent", "opt_out", "resize")}
    assert parse_recipe({**recipe, "fetch": {**told, **own}}, tmp_path).fetch.opt_out == str(tmp_path / "no.txt")
    assert FetchBlock.model_validate(told) == FetchBlock.model_validate({})


def test_pages_link_to_files_that_are_there(root: Path, files: list[str]) -> None:
    for page in (name for name in files if name.endswith(".md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (root / page).read_text(encoding="utf-8")):
            assert ((root / page).parent / target).exists(), f"{page} links to {target}"


def test_the_page_on_watching_lists_every_metric_and_phase(root: Path) -> None:
    page = (root / "docs" / "watching.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(tamis_\w+)`", page)) == set(FAMILIES)
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) - set(FAMILIES) == set(PHASES)
    [scraping] = [load_yaml(block) for block in _blocks(root / "docs" / "watching.md", "yaml")]
    assert scraping["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:9100"]}]


SCORED: tuple[tuple[str, dict[str, str]], ...] = (
    ("look", {}),
    ("clip", {"weights": "embedded"}),
    ("text", {}),
    ("hashes", {}),
    ("language", {}),
    ("rules", {"profile": "fineweb"}),
    ("rules", {"profile": "chinese"}),
    ("rules", {"profile": "news"}),
    ("alt_text", {}),
    ("words", {"path": "toxic.txt"}),
    ("pii", {}),
    ("perplexity", {"path": "zh.npz"}),
    ("convert", {"script": "simplified"}),
)
"""The scorers of the page, with settings."""


def test_the_page_on_scorers_lists_every_column(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (root / "docs" / "scorers.md").read_text(encoding="utf-8")
    (tmp_path / "toxic.txt").write_text("bad\n")
    monkeypatch.chdir(tmp_path)
    told: dict[str, dict[str, str]] = {}
    for name, settings in SCORED:
        for column in build_scorer(name, settings)[1].columns:
            told.setdefault(name, {})[column.name] = column.unit
    for name, columns in told.items():
        listed = dict(re.findall(rf"`{name}\.(\w+)` \|[^|]*\|([^|]*)\|", page))
        assert {column: unit.strip() for column, unit in listed.items()} == columns


def test_the_page_on_scorers_shows_a_sound_profile(root: Path, tmp_path: Path) -> None:
    [block] = [b for b in _blocks(root / "docs" / "scorers.md", "yaml") if "measure:" in b]
    (tmp_path / "own.yaml").write_text(block, encoding="utf-8")
    _, scorer = build_scorer("rules", {"path": str(tmp_path / "own.yaml")})
    assert [c.name for c in scorer.columns] == ["words", "pairs", "thanks", "failed", "good"]
