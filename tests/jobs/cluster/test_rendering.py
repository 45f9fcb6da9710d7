"""Manifests: they say what the recipe asked for, and nothing in a recipe becomes a command."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tamis.corpora.errors import ConfigError
from tamis.jobs.cluster.rendering import (
    RAY_VERSION,
    TEMPLATES,
    Options,
    own_modules,
    recipe_text,
    render,
    spark_settings,
)
from tamis.jobs.engines.spark_session import gpu_share
from tamis.pipelines.recipe import Recipe, load_yaml, parse_recipe

from .clusters import HOSTILE, call, recipe

SCRIPTS = [name for name, template in TEMPLATES.items() if template.file.endswith(".sh")]
GPUS = {"workers": 9, "max_workers": 17, "threads": 2, "gpus_per_worker": 0.25, "memory_gib": 2}


def options(template: str, **told: str) -> Options:
    return Options(**({"image": "reg.example/tamis:1"} if "image" in TEMPLATES[template].needs else {}), **told)


def manifest(template: str, **told: Any) -> str:
    return render(template, recipe(TEMPLATES[template].engines[0], **told), options(template))


def engine(template: str, **told: Any) -> dict[str, Any]:
    return {"kind": TEMPLATES[template].engines[0], **told}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_recipe_gives_the_same_manifest_in_ascii(template: str) -> None:
    text = manifest(template)
    assert text == manifest(template)
    assert text.isascii()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_recipe_comes_back_as_it_was_with_its_paths_absolute() -> None:
    for kind, address in (("ray", "auto"), ("spark", None)):
        told = recipe(kind, engine={"kind": kind, "address": "10.0.0.1:6379", "workers": 3})
        again = parse_recipe(load_yaml(recipe_text(told)), Path("/elsewhere"))
        assert again == told.model_copy(update={"engine": told.engine.model_copy(update={"address": address})})
        assert again.digest() == told.digest()
        assert again.corpus == f"/folder of/recipes/corpus {HOSTILE}"


@pytest.mark.parametrize("template", SCRIPTS)
@pytest.mark.parametrize("block", [{}, GPUS], ids=["cpus", "gpus"])
def test_scripts_are_sound(template: str, block: dict[str, Any]) -> None:
    text = manifest(template, engine=engine(template, **block))
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nset -euo pipefail\n" in text


def recipe_of(text: str) -> Recipe:
    return parse_recipe(load_yaml(text), Path("/elsewhere"))


def test_ray_submit_sends_recipe_and_code_and_nothing_of_it_is_run_here(tmp_path: Path) -> None:
    done, calls = call(manifest("ray-submit"), tmp_path, "ray", RAY_ADDRESS="http://head:8265")
    assert done.returncode == 0, done.stderr
    [submitted] = calls
    folder = submitted.after("--working-dir")
    assert submitted.words == [
        *("job", "submit", "--address", "http://head:8265", "--working-dir", folder),
        *("--", "python", "-m", "tamis.jobs.cli", "run", "recipe.yaml"),
    ]
    assert recipe_of(submitted.files["recipe.yaml"]).corpus == f"/folder of/recipes/corpus {HOSTILE}"
    assert {"tamis/__init__.py", "tamis/jobs/cli.py", "tamis/pipelines/demo/recipe.yaml"} <= submitted.files.keys()
    assert not Path(folder).exists(), "it cleans up"
    assert not (tmp_path / "canary").exists()


def test_ray_submit_hands_on_a_runtime_env(tmp_path: Path) -> None:
    script = manifest("ray-submit").replace("${1:", "${RUNTIME:").replace('"$1"', '"$RUNTIME"')
    done, [submitted] = call(script, tmp_path, "ray", RUNTIME="my env.yaml")
    assert done.returncode == 0, done.stderr
    assert submitted.after("--runtime-env") == "my env.yaml"


@pytest.mark.parametrize("template", ["ray-submit", "spark-yarn"])
def test_a_module_that_cannot_be_shipped_stops_the_script(template: str, tmp_path: Path) -> None:
    done, calls = call(manifest(template, scores={"a": {"kind": f"{HOSTILE}:Blur"}}), tmp_path, "ray", "spark-submit")
    assert done.returncode != 0
    assert "cannot ship" in done.stderr
    assert calls == []
    assert not (tmp_path / "canary").exists()


def test_modules_that_travel_are_the_users_own_by_their_top_level_name() -> None:
    kinds = ["mine.deep.blur:Blur", "other:X", "tamis.filters.look:Look", "look", "mine:Y"]
    scores = {f"s{number}": {"kind": kind} for number, kind in enumerate(kinds)}
    assert own_modules(recipe("ray", scores=scores)) == ("mine", "other")


def test_spark_yarn_asks_for_what_the_recipe_says(tmp_path: Path) -> None:
    told = recipe("spark", engine={"kind": "spark", **GPUS})
    script = render("spark-yarn", told, Options(queue="root.team-a", archive=f"/env's {'$(touch canary)'}.tar.gz"))
    done, [submitted] = call(script, tmp_path, "spark-submit")
    assert done.returncode == 0, done.stderr
    assert submitted.after("--master") == "yarn"
    assert submitted.after("--deploy-mode") == "cluster"
    assert submitted.after("--name") == "LAION_2B.en"
    assert submitted.after("--queue") == "root.team-a"
    assert submitted.after("--archives") == "/env's $(touch canary).tar.gz#environment"
    sent, wheel, discovery = map(Path, submitted.after("--files").split(","))
    assert (sent.name, wheel.suffix, discovery.name) == ("recipe.yaml", ".whl", "discover_gpus.sh")
    assert {wheel.parent} == {Path(submitted.words[-3]).parent}, "beside main.py, which looks for it there"
    assert submitted.words[-3:] == [submitted.words[-3], "run", "recipe.yaml"]
    assert "    from tamis.jobs.cli import main\n" in submitted.files["main.py"]
    assert submitted.confs() == {
        "spark.task.maxFailures": "4",
        "spark.driver.cores": "4",
        "spark.driver.memory": "2g",
        "spark.driver.memoryOverhead": "14g",
        "spark.executor.instances": "3",
        "spark.executor.cores": "8",
        "spark.cores.max": "40",
        "spark.executor.memory": "1g",
        "spark.executor.memoryOverhead": "24g",
        "spark.task.cpus": "2",
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "3",
        "spark.dynamicAllocation.maxExecutors": "5",
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "0.25",
        "spark.executor.resource.gpu.discoveryScript": "./discover_gpus.sh",
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": "./environment/bin/python",
    }
    assert not (tmp_path / "canary").exists()


def settings_of(**block: Any) -> dict[str, str]:
    return spark_settings(recipe("spark", engine={"kind": "spark", **block}).engine)


def test_spark_is_told_of_resources_of_the_clusters_own() -> None:
    told = settings_of(gpus_per_worker=0.25, workers=4, resources={"licence": 0.5})
    assert told["spark.executor.resource.licence.amount"] == "2"
    assert told["spark.task.resource.licence.amount"] == "0.5"


@pytest.mark.parametrize("gpus", [1 / 3, 0.3, 0.1, 0.5, 1, 2])
def test_what_spark_is_told_of_gpus_is_enough_for_the_engine(gpus: float) -> None:
    told = settings_of(gpus_per_worker=gpus, workers=100, threads=3)
    assert told["spark.task.cpus"] == "3"
    for amount in (told["spark.task.resource.gpu.amount"], told["spark.executor.resource.gpu.amount"]):
        assert float(amount) >= gpu_share(gpus)


def test_spark_yarn_without_gpus_or_growth_says_nothing_of_them(tmp_path: Path) -> None:
    done, [submitted] = call(
        manifest("spark-yarn"), tmp_path, "spark-submit", MASTER="spark://head:7077", DEPLOY_MODE="client"
    )
    assert done.returncode == 0, done.stderr
    assert submitted.after("--master") == "spark://head:7077"
    assert [key for key in submitted.confs() if "gpu" in key or "dynamic" in key] == []
    assert "--archives" not in submitted.words
    assert "--queue" not in submitted.words
    assert recipe_of(submitted.files["recipe.yaml"]).engine.workers == 3
    assert Path(submitted.words[-1]).is_absolute(), "a driver here finds no file beside it"


def test_spark_kubernetes_gives_the_pods_recipe_and_credentials(tmp_path: Path) -> None:
    told = recipe("spark", engine={"kind": "spark", **GPUS})
    script = render("spark-kubernetes", told, Options(image="reg.example/tamis:1"))
    environ = {"MASTER": "k8s://https://api:6443", "NAMESPACE": "team a"}
    done, calls = call(script, tmp_path, "kubectl", "spark-submit", **environ)
    assert done.returncode == 0, done.stderr
    submitted = next(made for made in calls if made.program == "spark-submit")
    created = next(made for made in calls if made.words[:2] == ["create", "configmap"])
    applied = next(made for made in calls if made.words[0] == "apply")
    assert created.words[2] == "tamis-laion-2b-en"
    assert created.after("--namespace") == applied.after("--namespace") == "team a"
    assert created.files.keys() == {"recipe.yaml", "main.py", "discover_gpus.sh"}
    assert recipe_of(created.files["recipe.yaml"]).criteria == {"big": HOSTILE}
    confs = submitted.confs()
    assert confs["spark.kubernetes.namespace"] == "team a"
    assert confs["spark.kubernetes.container.image"] == "reg.example/tamis:1"
    assert confs["spark.kubernetes.authenticate.driver.serviceAccountName"] == "spark"
    assert confs["spark.executor.resource.gpu.vendor"] == "nvidia.com"
    assert confs["spark.executor.resource.gpu.discoveryScript"] == "/etc/tamis/discover_gpus.sh"
    assert confs["spark.executor.instances"] == "3"
    assert submitted.words[-3:] == ["local:///etc/tamis/main.py", "run", "/etc/tamis/recipe.yaml"]
    pod = yaml.safe_load(submitted.files["pod.yaml"])
    [container], [volume] = pod["spec"]["containers"], pod["spec"]["volumes"]
    assert container["envFrom"] == [{"secretRef": {"name": "tamis-storage", "optional": True}}]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/tamis"}]
    assert volume["configMap"]["name"] == "tamis-laion-2b-en"
    assert stat.filemode(stat.S_IFREG | volume["configMap"]["defaultMode"]) == "-r-xr-xr-x"
    assert not (tmp_path / "canary").exists()


def test_spark_kubernetes_wants_to_know_which_cluster(tmp_path: Path) -> None:
    done, calls = call(manifest("spark-kubernetes"), tmp_path, "kubectl", "spark-submit")
    assert done.returncode != 0
    assert "MASTER: set it to k8s://" in done.stderr
    assert calls == []


def test_slurm_asks_for_the_hosts_of_the_recipe() -> None:
    told = recipe("ray", engine={"kind": "ray", **GPUS})
    lines = render("slurm", told, Options(queue="gpu,debug")).splitlines()
    asked = {line for line in lines if line.startswith("#SBATCH")}
    assert {
        "#SBATCH --job-name=LAION_2B.en",
        "#SBATCH --partition=gpu,debug",
        "#SBATCH --ntasks=3",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem-per-cpu=3072M",
        "#SBATCH --gpus=3",
    } <= asked
    assert lines[:1] == ["#!/usr/bin/env bash"]
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:]), "sbatch stops reading at the first command"


def test_the_discovery_script_says_what_spark_reads(tmp_path: Path) -> None:
    script = (Path(render.__code__.co_filename).parent / "templates" / "discover_gpus.sh").read_text(encoding="utf-8")
    for printed, addresses in (("0\\n1\\n", ["0", "1"]), ("3\\n", ["3"]), ("", [])):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{printed}'\n", encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", script],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == {"name": "gpu", "addresses": addresses}


def test_bare_nodes_are_told_what_to_install_in_the_versions_of_here() -> None:
    told = yaml.safe_load(manifest("runtime-env", scores={"text": {}}))
    packages = told["pip"]["packages"]
    names = {re.split("[=<>[]", package)[0].lower() for package in packages}
    assert {"pyarrow", "duckdb", "rapidocr", "onnxruntime"} <= names
    assert not {"torch", "ray", "s3fs", "tamis"} & names
    assert all("==" in package for package in packages)


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, str], str]] = {
    "an unknown template": ("helm", {}, {}, "no template 'helm'; there are ray-submit"),
    "another engine": ("spark-yarn", {"kind": "ray"}, {}, "`kind: ray`.*take ray-submit, runtime-env, kuberay, slurm"),
    "one machine": ("kuberay", {"kind": "local"}, {"image": "a"}, "`kind: local`.*take dockerfile"),
    "no image": ("kuberay", {"kind": "ray"}, {}, "kuberay needs --image"),
    "an image for a script": ("slurm", {"kind": "ray"}, {"image": "a"}, "slurm has no use for --image"),
    "an image that is none": ("kuberay", {"kind": "ray"}, {"image": "a b"}, "--image 'a b': expected"),
    "a queue that is none": ("slurm", {"kind": "ray"}, {"queue": "a\n#SBATCH --uid=0"}, "--queue .*: expected"),
    "two archives": ("spark-yarn", {"kind": "spark"}, {"archive": "a,b"}, "--archive 'a,b': expected"),
    "a resource that is none": (
        "kuberay",
        {"kind": "ray", "resources": {"x'; touch canary; '": 1}},
        {"image": "a"},
        "engine.resources: .* is no name for kuberay",
    ),
    "resources in slurm": ("slurm", {"kind": "ray", "resources": {"disk": 1}}, {}, "Slurm's nodes offer none of disk"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    template, block, told, words = REFUSED[name]
    with pytest.raises(ConfigError, match=words):
        render(template, recipe("ray", engine=block), Options(**told))


def test_the_ray_that_kubernetes_is_told_is_the_one_that_the_image_gets(root: Path) -> None:
    assert f"\nray=={RAY_VERSION}\n" in (root / "constraints.txt").read_text(encoding="utf-8")
