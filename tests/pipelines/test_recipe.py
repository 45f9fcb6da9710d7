"""A recipe is checked before anything runs: each mistake is one line with the field, what was found, what is allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.pipelines.recipe import LaionBlock, Recipe, ShardsBlock, parse_recipe, read_recipe, resolve

SMALL = "corpus: work\nsource: {kind: laion, path: list.csv}\n"
WHOLE = """
name: laion-mini
corpus: work/laion-mini
source:
  kind: laion
  path: lists/*.parquet
  columns: {url: URL, caption: TEXT}
  keep: [similarity]
fetch: {concurrency: 8, timeout_seconds: 5, max_bytes: 25_000_000, allow_hosts: ["127.0.0.1:80"]}
shards: {samples: 1000, seed: 7}
scores:
  look:
  clip: {model: ViT-B-32, weights: laion2b_s34b_b79k}
  old: {kind: import, path: metadata/*.parquet, on: url, columns: [n]}
duplicates:
  exact: {on: image_sha256}
criteria:
  big: min_side >= 200
  on: clip.similarity >= 0.28
policies:
  everything: "true"
  sifted: big and first_of(duplicates.exact, order := 'clip.similarity desc')
exports:
  - {policy: sifted, to: out/sifted, samples: 100, shuffle: block, seed: 3}
  - {policy: everything, to: "s3://bucket/all"}
report: {samples: 10}
engine: {kind: local, workers: 4, batch_size: 8}
tolerance: {failed_shards: 1}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read_recipe(written(folder, text))
    return str(raised.value).replace(str(folder), "")


def test_a_whole_recipe_is_read(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, WHOLE))
    assert isinstance(recipe.source, LaionBlock)
    assert (recipe.name, recipe.shards.seed, recipe.fetch.max_bytes) == ("laion-mini", 7, 25_000_000)
    assert recipe.scores["look"] == {}
    assert recipe.scores["old"]["on"] == "url"
    assert recipe.duplicates["exact"].on == "image_sha256"
    assert recipe.criteria["on"] == "clip.similarity >= 0.28"
    assert recipe.exports[0].model_dump(exclude={"to"}) == {
        "policy": "sifted",
        "samples": 100,
        "shuffle": "block",
        "seed": 3,
        "materialise_repeats": False,
    }


def test_all_but_corpus_and_source_may_be_left_out(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, SMALL))
    assert (recipe.name, recipe.exports, recipe.scores, recipe.policies) == ("corpus", (), {}, {})
    assert isinstance(recipe.source, LaionBlock)
    assert recipe.source.columns == {"url": "URL", "caption": "TEXT"}
    assert recipe.engine.kind == "local"


def test_relative_paths_are_seen_from_the_recipes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    written(tmp_path, WHOLE)
    recipe = read_recipe("../recipe.yaml")
    assert recipe.corpus == f"{tmp_path}/work/laion-mini"
    assert recipe.source.path == f"{tmp_path}/lists/*.parquet"
    assert [export.to for export in recipe.exports] == [f"{tmp_path}/out/sifted", "s3://bucket/all"]
    assert recipe.scores["old"]["path"] == f"{tmp_path}/metadata/*.parquet"


@pytest.mark.parametrize("path", ["/data/x", "s3://bucket/x", "memory://x", "~/x"])
def test_paths_that_are_not_relative_stay(path: str, tmp_path: Path) -> None:
    assert resolve(path, tmp_path) == path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "corpora: x\n",
            "corpora: unknown key (found 'x'); allowed here: name, corpus, source, fetch, shards, scores, ",
        ),
        ("fetch: {retry: 3}\n", "fetch.retry: unknown key (found 3); allowed here: concurrency, per_host, "),
        ("shards: {size: 3}\n", "shards.size: unknown key (found 3); allowed here: samples, seed"),
        ("duplicates: {x: {on: y, by: z}}\n", "duplicates.x.by: unknown key (found 'z'); allowed here: on"),
        (
            "policies: {p: x}\nexports: [{policy: p, to: x, into: y}]\n",
            "exports.0.into: unknown key (found 'y'); allowed here: policy, to, ",
        ),
        ("engine: {gpus: 1}\n", "engine.gpus: unknown key (found 1); allowed here: kind, workers, "),
        ("report: {images: 1}\n", "report.images: unknown key (found 1); allowed here: samples"),
        ("tolerance: {shards: 1}\n", "tolerance.shards: unknown key (found 1); allowed here: failed_shards"),
        ("fetch: {concurrency: many}\n", "fetch.concurrency: Input should be a valid integer"),
        ("fetch: {concurrency: 0}\n", "fetch.concurrency: Input should be greater than or equal to 1; found 0"),
        ("fetch: {timeout_seconds: .inf}\n", "fetch.timeout_seconds: Input should be a finite number; found inf"),
        ("fetch: {timeout_seconds: .nan}\n", "fetch.timeout_seconds: Input should be a finite number; found nan"),
        ("fetch: 3\n", "fetch: Input should be a mapping; found 3"),
        ("shards: {seed: 9223372036854775808}\n", "shards.seed: Input should be less than 9223372036854775808"),
        ("scores: [look]\n", "scores: Input should be a mapping; found ['look']"),
        ("scores: {look: 3}\n", "scores.look: Input should be a mapping; found 3"),
        ("scores: {Look: {}}\n", "scores.Look: String should match pattern '^[a-z][a-z0-9_]*$'; found 'Look'"),
        ("criteria: {big: 3}\n", "criteria.big: Input should be a valid string; found 3"),
        ("policies: {all: true}\n", "policies.all: Input should be a valid string; found True"),
        ("exports: {policy: all}\n", "exports: Input should be a list; found {'policy': 'all'}"),
        ("exports: [{to: x}]\n", "exports.0.policy: missing; it must be given"),
        ("engine: {kind: slurm}\n", "engine.kind: Input should be 'local', 'ray' or 'spark'; found 'slurm'"),
        ("name: a b\n", "name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$'; found 'a b'"),
        ("name: 7\n", "name: Input should be a valid string; found 7"),
        ("7: x\n", "7: Keys should be strings; found 7"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_field(text: str, told: str, tmp_path: Path) -> None:
    found = refusal(tmp_path, SMALL + text)
    assert found.startswith(f"/recipe.yaml: {told}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{path: x}", "source.kind: missing; it must be given; there are: laion, shards"),
        ("{kind: lion, path: x}", "source.kind: no source 'lion'; there are: laion, shards"),
        ("{kind: laion}", "source.path: missing; it must be given"),
        (
            "{kind: laion, path: x, kept: []}",
            "source.kept: unknown key (found []); allowed here: kind, path, columns, keep",
        ),
        (
            "{kind: shards, path: x, columns: {}}",
            "source.columns: unknown key (found {}); allowed here: kind, path, keep",
        ),
        ("{kind: laion, path: x, keep: WIDTH}", "source.keep: Input should be a list; found 'WIDTH'"),
        ("{kind: laion, path: x, columns: {caption: TEXT}}", "source.columns: it maps url, and caption where"),
        ("{kind: laion, path: x, columns: {url: U, alt: T}}", "source.columns: it maps url, and caption where"),
        ("list.csv", "source: Input should be a mapping; found 'list.csv'"),
    ],
)
def test_each_mistake_in_the_source_is_one_line(source: str, told: str, tmp_path: Path) -> None:
    found = refusal(tmp_path, f"corpus: work\nsource: {source}\n")
    assert found.startswith(f"/recipe.yaml: {told}")
    assert "\n" not in found


def test_the_mistakes_of_a_recipe_are_told_together(tmp_path: Path) -> None:
    found = refusal(tmp_path, "source: {kind: shards, path: x}\nfetch: {retries: -1}\nreports: {}\n")
    assert [line.split(": ")[1] for line in found.split("\n")] == ["corpus", "fetch.retries", "reports"]


def test_an_export_names_a_policy_that_there_is(tmp_path: Path) -> None:
    text = SMALL + "policies: {some: x, more: y}\nexports: [{policy: all, to: out}]\n"
    assert refusal(tmp_path, text) == "/recipe.yaml: exports.0.policy: no policy 'all'; this recipe has: some, more"


def test_two_exports_into_one_folder_are_refused(tmp_path: Path) -> None:
    text = SMALL + 'policies: {p: "true"}\nexports: [{policy: p, to: out}, {policy: p, to: out, seed: 1}]\n'
    assert refusal(tmp_path, text) == "/recipe.yaml: exports.1.to: '/out' is given twice; every export needs a folder"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("corpus: a\ncorpus: b\n", "the key 'corpus' is given twice"),
        ("criteria: {big: x, big: y}\n", "the key 'big' is given twice"),
        ("corpus: [\n", "is not YAML: while parsing"),
        ("? [a]\n: b\n", "found unhashable key"),
        ("corpus: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("corpus: 2026-13-40\n", "is not YAML: month must be in 1..12"),
        ("corpus: \x01\n", "is not YAML: "),
        ("corpus: " + "[" * 1500, "is not YAML: "),
        ("", "found NoneType, expected a mapping with at least `corpus` and `source`"),
        ("- corpus\n", "found list, expected a mapping with at least `corpus` and `source`"),
    ],
)
def test_what_is_no_recipe_at_all_is_refused(text: str, told: str, tmp_path: Path) -> None:
    assert told in refusal(tmp_path, text)


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(ConfigError, match=rf"cannot read the recipe '{path}': .+; give the path of a YAML file"):
            read_recipe(path)


def test_words_that_old_yaml_takes_for_truth_are_words(tmp_path: Path) -> None:
    text = SMALL + "scores: {a: {on: off, yes: no, y: n, t: true, f: False}}\n"
    assert read_recipe(written(tmp_path, text)).scores["a"] == {
        "on": "off",
        "yes": "no",
        "y": "n",
        "t": True,
        "f": False,
    }


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    text = SMALL + "scores:\n  a: &base {side: 3, kind: look}\n  b: {<<: *base, side: 4}\n"
    scores = read_recipe(written(tmp_path, text)).scores
    assert scores["b"] == {"side": 4, "kind": "look"}


def test_a_recipe_may_be_given_as_a_mapping(tmp_path: Path) -> None:
    recipe = parse_recipe({"corpus": "c", "source": {"kind": "shards", "path": "*.tar"}}, tmp_path)
    assert isinstance(recipe.source, ShardsBlock)
    assert recipe.source.path == f"{tmp_path}/*.tar"


def test_the_digest_follows_what_is_made_not_where_it_runs(tmp_path: Path) -> None:
    digest = read_recipe(written(tmp_path, WHOLE)).digest()
    for change in ("workers: 4", "report: {samples: 10}"):
        other = read_recipe(written(tmp_path, WHOLE.replace(change, change.replace("4", "5").replace("10", "11"))))
        assert other.digest() == digest
    assert read_recipe(written(tmp_path, WHOLE.replace(">= 200", ">= 201"))).digest() != digest


def test_the_json_schema_accepts_what_the_reader_accepts() -> None:
    schema = Recipe.model_json_schema()
    assert set(schema["required"]) == {"corpus", "source"}
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_reading_a_recipe_imports_no_model_library(tmp_path: Path) -> None:
    program = "import sys\nfrom tamis.pipelines.recipe import read_recipe\nread_recipe(sys.argv[1])\n"
    program += "print(sorted({'torch', 'pyarrow', 'duckdb'} & set(sys.modules)))"
    command = [sys.executable, "-c", program, str(written(tmp_path, SMALL))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


yaml_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_a_message_keeps_to_its_line_whatever_the_key() -> None:
    whole = {"corpus": "c", "source": {"kind": "laion", "path": "x"}, "criteria": {"\n": "true"}}
    with pytest.raises(ConfigError) as refused:
        parse_recipe(whole, Path("/recipes"))
    assert str(refused.value) == r"recipe: criteria.'\n': String should match pattern '^[a-z][a-z0-9_]*$'; found '\n'"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(Recipe.model_fields)), yaml_values)
def test_any_value_anywhere_is_taken_or_refused_by_name(field: str, value: Any) -> None:
    whole = {"corpus": "c", "source": {"kind": "laion", "path": "x"}, field: value}
    try:
        parse_recipe(whole, Path("/recipes"))
    except ConfigError as error:
        told = str(error)
        assert told
        for line in told.split("\n"):
            assert line.startswith(f"recipe: {field}")
