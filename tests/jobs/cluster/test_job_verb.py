"""``tamis job``: a manifest on stdout or in a file, or one clear message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tamis.jobs.cluster.rendering import TEMPLATES

RECIPE = """
name: small
corpus: corpus
source: {kind: shards, path: tars}
engine: {kind: ray, workers: 2}
"""


def tamis(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    command = [sys.executable, "-m", "tamis.jobs.cli", "job", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_manifest_is_all_that_stdout_gets_and_what_a_file_gets(tmp_path: Path) -> None:
    arguments = ("kuberay", "recipe.yaml", "--image", "reg.example/tamis:1")
    printed = tamis(tmp_path, *arguments)
    assert (printed.returncode, printed.stderr) == (0, "")
    config, job = yaml.safe_load_all(printed.stdout)
    assert (config["kind"], job["kind"]) == ("ConfigMap", "RayJob")
    assert yaml.safe_load(config["data"]["recipe.yaml"])["corpus"] == str(tmp_path / "corpus")
    written = tamis(tmp_path, *arguments, "--out", "job.yaml")
    assert (written.returncode, written.stdout) == (0, "")
    assert (tmp_path / "job.yaml").read_text(encoding="utf-8") == printed.stdout


def test_the_list_names_every_template_with_a_line(tmp_path: Path) -> None:
    listed = tamis(tmp_path, "--list")
    assert listed.returncode == 0
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    assert lines == [[name, template.about] for name, template in TEMPLATES.items()]


def test_help_shows_examples(tmp_path: Path) -> None:
    told = tamis(tmp_path, "--help")
    assert told.returncode == 0
    assert "Example:" in told.stdout
    assert "tamis job ray-submit recipe.yaml" in " ".join(told.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("helm", "recipe.yaml"), "no template 'helm'"),
        (("spark-yarn", "recipe.yaml"), "`kind: ray`"),
        (("kuberay", "recipe.yaml"), "needs --image"),
        (("slurm",), "wants a TEMPLATE and a RECIPE"),
        ((), "wants a TEMPLATE and a RECIPE"),
        (("slurm", "absent.yaml"), "absent.yaml"),
        (("slurm", "recipe.yaml", "--out", "absent/job.sh"), "cannot write 'absent/job.sh'"),
    ],
)
def test_what_cannot_be_is_one_message_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = tamis(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
