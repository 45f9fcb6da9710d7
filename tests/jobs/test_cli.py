"""The command line as a user meets it: one clear message and exit code 2 for what cannot be, --json for machines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml


def tamis(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "tamis.jobs.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def recipe(folder: Path, **blocks: Any) -> str:
    """A recipe over a list of one row; nothing answers its URL."""
    (folder / "list.csv").write_text("URL,TEXT\nhttp://127.0.0.1:1/a.jpg,a caption\n", encoding="utf-8")
    told: dict[str, Any] = {
        "name": "one",
        "corpus": "corpus",
        "source": {"kind": "laion", "path": "list.csv"},
        "fetch": {"allow_hosts": ["127.0.0.1"], "retries": 0},
        "scores": {"look": {}},
        "criteria": {"big": "min_side >= 200"},
        "policies": {"kept": "big"},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(told | blocks), encoding="utf-8")
    return str(path)


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown key": ({"fetch": {"time_out": 5}}, ["fetch.time_out", "unknown key", "timeout_seconds"]),
    "an unknown top-level key": ({"filters": {}}, ["filters", "unknown key", "criteria"]),
    "a wrong type": ({"shards": {"samples": "many"}}, ["shards.samples", "'many'"]),
    "an unknown scorer": ({"scores": {"blur": {}}}, ["no scorer 'blur'", "look"]),
    "an unknown setting": ({"scores": {"look": {"sise": 3}}}, ["scores.look.sise", "side"]),
    "an unknown column": ({"criteria": {"big": "min_sid >= 200"}}, ["min_sid", "min_side"]),
    "a sub-query": ({"criteria": {"big": "(select 1) = 1"}}, ["big", "select"]),
    "a file function": ({"criteria": {"big": "read_text('/etc/passwd') is null"}}, ["big", "read_text"]),
    "an unknown criterion": ({"policies": {"kept": "bigg"}}, ["bigg", "big"]),
    "an export of no policy": ({"exports": [{"policy": "sifted", "to": "x"}]}, ["sifted", "kept"]),
    "a missing list": ({"source": {"kind": "laion", "path": "absent.parquet"}}, ["absent.parquet"]),
    "a missing column of the list": (
        {"source": {"kind": "laion", "path": "list.csv", "columns": {"url": "LINK"}}},
        ["LINK", "URL"],
    ),
    "an unwritable folder": ({"corpus": "/proc/tamis"}, ["/proc/tamis", "cannot write"]),
    "an engine that is not there": ({"engine": {"kind": "dask"}}, ["engine.kind", "dask", "local", "ray", "spark"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_one_clear_message_and_exit_2(tmp_path: Path, name: str) -> None:
    blocks, words = BAD[name]
    done = tamis("run", recipe(tmp_path, **blocks))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr.replace("\n", " ")
    assert done.stdout == ""
    assert not (tmp_path / "corpus").exists(), "refused before anything was done"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--engine", "dask"), "engine.kind: no engine 'dask'; there are local, ray, spark"),
        (("--address", "head:6379"), "--address: the engine is local, which has none"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_on_the_command_line_too(
    tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    done = tamis("run", recipe(tmp_path), *options)
    assert done.returncode == 2
    assert told in done.stderr.replace("\n", " ")
    assert not (tmp_path / "corpus").exists()


def test_a_missing_recipe_and_a_list_instead_of_a_mapping_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n- b\n", encoding="utf-8")
    for path in (tmp_path / "absent.yaml", tmp_path / "list.yaml"):
        done = tamis("run", str(path))
        assert done.returncode == 2
        assert path.name in done.stderr.replace("\n", "")


def test_a_list_of_which_nothing_can_be_had_ends_in_an_account(tmp_path: Path) -> None:
    done = tamis("run", recipe(tmp_path, exports=[{"policy": "kept", "to": "out"}]), "--json", "--metrics", "0")
    assert done.returncode == 0, done.stderr
    assert re.search(r"metrics: http://127\.0\.0\.1:\d+/metrics\n", done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["asked"], told["fetched"], told["failed"]) == (1, 0, {"connection_refused": 1})
    assert told["policies"]["kept"]["kept"] == 0
    assert Path(told["report"]).is_file()
    again = json.loads(tamis("run", str(tmp_path / "recipe.yaml"), "--json").stdout.splitlines()[-1])
    assert again["worked"] is False
    stages = {stage["stage"]: stage for stage in told["stages"]}
    assert list(stages) == ["fetch", "score", "dedup", "decide", "export"]
    assert (stages["fetch"]["done"], stages["fetch"]["units"], stages["fetch"]["failed"]) == (1, 1, 0)
    assert set(stages["fetch"]["shares"]) == {"download", "write"}
    seen = json.loads(tamis("status", str(tmp_path / "corpus"), "--json").stdout)
    assert [(stage["stage"], stage["state"]) for stage in seen["stages"]] == [(name, "done") for name in stages]
    assert seen["next"] is None


def test_failures_are_asked_for_again_by_class(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    done = tamis("fetch", path, "--retry-failed", "--class", "never", "--json")
    assert [stage["done"] for stage in json.loads(done.stdout)["stages"]] == [1], "it is trouble that may pass"
    again = tamis("fetch", path, "--retry-failed", "--json")
    assert [stage["done"] for stage in json.loads(again.stdout)["stages"]] == [0, 1]
    assert (tmp_path / "corpus" / "shards" / "00001.parquet").exists()
    for wrong, told in ((("--class", "now"), "--retry-failed"), (("--retry-failed", "--class", "soon"), "never")):
        refused = tamis("fetch", path, *wrong)
        assert refused.returncode == 2
        assert told in refused.stderr


def test_help_shows_every_verb_with_an_example() -> None:
    listed = tamis("--help")
    assert listed.returncode == 0
    for verb in ("demo", "run", "fetch", "score", "dedup", "decide", "export", "report", "explain", "status", "schema"):
        assert verb in listed.stdout
        assert "Example:" in tamis(verb, "--help").stdout


def test_the_schema_knows_the_blocks_of_a_recipe() -> None:
    schema = json.loads(tamis("schema").stdout)
    assert {"corpus", "source", "scores", "criteria", "policies", "exports"} <= schema["properties"].keys()


def test_a_dry_run_checks_and_writes_nothing(tmp_path: Path) -> None:
    done = tamis("run", recipe(tmp_path), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "corpus").exists()


def test_metrics_at_no_address_are_refused(tmp_path: Path) -> None:
    refused = tamis("run", recipe(tmp_path), "--metrics", "everywhere")
    assert refused.returncode == 2
    assert "expected PORT or HOST:PORT" in refused.stderr
    assert not (tmp_path / "corpus").exists()


def test_the_status_of_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    done = tamis("status", str(tmp_path))
    assert done.returncode == 2
    assert "no corpus" in done.stderr
    assert done.stdout == ""
