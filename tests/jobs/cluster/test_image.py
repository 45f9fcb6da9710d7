"""The image: a Dockerfile that a reader of Dockerfiles understands, whose sources are there, with what the recipe needs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cluster.image import extras, hub_models
from tamis.jobs.cluster.rendering import Options, render

from .clusters import call, recipe

KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT", "USER"}


def instructions(kind: str, **blocks: Any) -> list[tuple[str, str]]:
    """What a builder reads: instructions and their arguments, lines joined, comments left out."""
    text = render("dockerfile", recipe(kind, **blocks), Options())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined.splitlines()]


def arguments(found: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in found if instruction == name]


@pytest.mark.parametrize("kind", ["local", "ray", "spark"])
def test_every_instruction_is_known_and_every_command_is_sound(kind: str) -> None:
    found = instructions(kind, scores={"clip": {}})
    assert {name for name, _ in found} <= KNOWN
    assert found[0] == ("FROM", "python:3.11-slim-bookworm AS build")
    for command in arguments(found, "RUN"):
        if command.startswith("["):
            assert all(isinstance(word, str) for word in json.loads(command))
        else:
            subprocess.run(["sh", "-n", "-c", command], check=True)
    for pair in arguments(found, "ENV"):
        assert all(re.fullmatch(r"[A-Z_]+=\S+", word) for word in shlex.split(pair))


@pytest.mark.parametrize("kind", ["ray", "spark"])
def test_what_is_copied_is_there_and_is_all_that_a_build_needs(kind: str, root: Path, setup_cfg: ConfigParser) -> None:
    copies = [line.split() for line in arguments(instructions(kind), "COPY")]
    here = {source for words in copies if not words[0].startswith("--from=build") for source in words[:-1]}
    assert [source for source in here if not (root / source).exists()] == []
    folders = (line.split(" = ")[1] for line in setup_cfg["options"]["package_dir"].split("\n") if line)
    assert set(folders) <= here
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= here


def test_pip_installs_the_wheel_with_its_extras_under_the_constraints() -> None:
    found = instructions("ray", scores={"clip": {}, "text": {}}, corpus="s3://bucket/corpus")
    [install] = [line for line in arguments(found, "RUN") if line.startswith("pip install")]
    words = shlex.split(install)
    assert words[words.index("-c") + 1] == "/tmp/constraints.txt"
    assert words[-1].endswith("/wheels/tamis-*.whl)[clip,ocr,ray,s3]")
    assert "COPY constraints.txt /tmp/constraints.txt" in (f"{name} {rest}" for name, rest in found)


def test_java_comes_with_spark_alone_and_nobody_is_root() -> None:
    for kind, expected in (("local", False), ("ray", False), ("spark", True)):
        found = instructions(kind)
        told = " ".join(rest for _, rest in found)
        assert ("openjdk" in told) is expected
        assert (("ENTRYPOINT", '["bash", "/opt/spark-entrypoint.sh"]') in found) is expected
        assert arguments(found, "USER") == ["1000"]
        assert found.index(("USER", "1000")) > max(at for at, (name, _) in enumerate(found) if name == "RUN")
        assert "useradd --create-home --uid 1000 tamis" in arguments(found, "RUN")


def test_models_are_fetched_while_it_is_built_and_never_when_it_runs() -> None:
    found = instructions("ray", scores={"clip": {"model": "ViT-L-14", "weights": "datacomp_xl_s13b_b90k"}})
    [load] = [json.loads(line) for line in arguments(found, "RUN") if line.startswith("[")]
    assert load[:2] == ["python", "-c"]
    assert load[3:] == ["ViT-L-14", "datacomp_xl_s13b_b90k"]
    names = [name for name, _ in found]
    offline = found.index(("ENV", "HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1"))
    assert found.index(("ENV", "HF_HOME=/opt/models")) < names.index("RUN", found.index(("ENV", "HF_HOME=/opt/models")))
    assert offline > max(at for at, name in enumerate(names) if name == "RUN")


@pytest.mark.parametrize("weights", ["embedded", "random:3", "models/mine.safetensors"])
def test_weights_that_need_no_hub_are_not_fetched(weights: str) -> None:
    assert hub_models(recipe("ray", scores={"clip": {"weights": weights}})) == []


def test_a_clip_under_another_name_is_a_clip() -> None:
    [command] = hub_models(recipe("ray", scores={"a": {"kind": "clip"}, "clip": {"kind": "look"}}))
    assert command[3:] == ["ViT-B-32", "laion2b_s34b_b79k"]


def test_extras_are_what_the_recipe_uses(setup_cfg: ConfigParser) -> None:
    assert extras(recipe("local")) == ""
    assert extras(recipe("spark", scores={"spotted": {"kind": "text"}})) == "ocr,spark"
    assert extras(recipe("ray", exports=[{"policy": "p", "to": "s3://b/e"}], policies={"p": "true"})) == "ray,s3"
    everything = extras(recipe("ray", corpus="s3://b/c", scores={"clip": {}, "text": {}})).split(",")
    assert set(everything) <= set(setup_cfg["options.extras_require"])


ENTRYPOINT = "jobs/cluster/templates/spark-entrypoint.sh"
EXECUTOR = {
    "SPARK_HOME": "/spark",
    "SPARK_CONF_DIR": "/conf",
    "SPARK_JAVA_OPT_0": "-Da=b c",
    "SPARK_JAVA_OPT_10": "-Dlast=1",
    "SPARK_JAVA_OPT_2": "-Dx='$(touch canary)'",
    "SPARK_EXECUTOR_MEMORY": "1g",
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@driver:7078",
    "SPARK_EXECUTOR_ID": "4",
    "SPARK_EXECUTOR_CORES": "2",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.4",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "exec-4",
}


def test_the_entrypoint_starts_an_executor_as_spark_wants_it(root: Path, tmp_path: Path) -> None:
    script = f"set -- executor\n{(root / ENTRYPOINT).read_text(encoding='utf-8')}"
    done, [started] = call(script, tmp_path, "tini", **EXECUTOR)
    assert done.returncode == 0, done.stderr
    assert started.words == [
        *("-s", "--", "java", "-Da=b c", "-Dx='$(touch canary)'", "-Dlast=1", "-Xms1g", "-Xmx1g"),
        *("-cp", "/conf:/spark/jars/*:", "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"),
        *("--driver-url", "spark://CoarseGrainedScheduler@driver:7078", "--executor-id", "4", "--cores", "2"),
        *("--app-id", "spark-1", "--hostname", "10.0.0.4", "--resourceProfileId", "0", "--podName", "exec-4"),
    ]


def test_the_entrypoint_starts_a_driver_and_hands_on_anything_else(root: Path, tmp_path: Path) -> None:
    told = {"SPARK_HOME": "/spark", "SPARK_DRIVER_BIND_ADDRESS": "10.0.0.3"}
    script = (root / ENTRYPOINT).read_text(encoding="utf-8")
    (tmp_path / "entry.sh").write_text(script, encoding="utf-8")
    both = (
        "bash entry.sh driver --properties-file /p local:///m.py run 'a b'\nbash entry.sh tamis --help\nbash entry.sh"
    )
    done, calls = call(both, tmp_path, "tini", **told)
    assert done.returncode == 0, done.stderr
    assert [made.words for made in calls] == [
        [
            *("-s", "--", "/spark/bin/spark-submit", "--deploy-mode", "client"),
            *("--conf", "spark.driver.bindAddress=10.0.0.3", "--properties-file", "/p", "local:///m.py", "run", "a b"),
        ],
        ["-s", "--", "tamis", "--help"],
        ["-s", "--"],
    ]
