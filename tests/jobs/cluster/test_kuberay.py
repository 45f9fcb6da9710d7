"""The Kubernetes manifest: what KubeRay's RayJob (ray.io/v1) demands, with the numbers that the recipe asks for.

The schema is the part of the custom resource definition that the manifest uses (KubeRay 1.2 to 1.7), written by hand;
what it does not know it refuses, as the API server does when it validates strictly.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tamis.jobs.cluster.rendering import RAY_VERSION, Options, render
from tamis.pipelines.recipe import load_yaml, parse_recipe

from .clusters import HOSTILE, recipe


def some(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


TEXT = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}
COUNT = {"type": "integer", "minimum": 0}
QUANTITY = {"anyOf": [COUNT, {"type": "string", "pattern": r"^[0-9]+(m|Ki|Mi|Gi|Ti)?$"}]}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY, "required": ["cpu", "memory"]}
CONTAINER = some(
    "name image resources",
    name=NAME,
    image=TEXT,
    resources=some("requests limits", requests=QUANTITIES, limits=QUANTITIES),
    ports=many(some("name containerPort", name=NAME, containerPort=COUNT)),
    envFrom=many(some("secretRef", secretRef=some("name", name=NAME, optional={"type": "boolean"}))),
    volumeMounts=many(some("name mountPath", name=NAME, mountPath=TEXT)),
)
POD = some(
    "spec",
    spec=some(
        "containers",
        containers=many(CONTAINER),
        volumes=many(some("name configMap", name=NAME, configMap=some("name", name=NAME))),
    ),
)
START = {"type": "object", "additionalProperties": {"type": "string"}}
HEAD = some("rayStartParams template", rayStartParams=START, template=POD)
GROUP = some(
    "groupName minReplicas maxReplicas rayStartParams template",
    groupName=NAME,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=START,
    template=POD,
)
RAYJOB = some(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=some("name", name=NAME),
    spec=some(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=some(
            "headGroupSpec workerGroupSpecs",
            rayVersion=TEXT,
            enableInTreeAutoscaling={"type": "boolean"},
            autoscalerOptions=some("", idleTimeoutSeconds=COUNT),
            headGroupSpec=HEAD,
            workerGroupSpecs=many(GROUP),
        ),
    ),
)
CONFIG = some(
    "apiVersion kind metadata data",
    apiVersion={"const": "v1"},
    kind={"const": "ConfigMap"},
    metadata=some("name", name=NAME),
    data={"type": "object", "additionalProperties": {"type": "string"}},
)


def documents(name: str = "LAION_2B.en", **block: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap and the RayJob for a recipe."""
    told = recipe("ray", name=name, engine={"kind": "ray", **block})
    config, job = yaml.safe_load_all(render("kuberay", told, Options(image="reg.example/team/tamis:1@sha256:ab")))
    return config, job


BLOCKS: dict[str, dict[str, Any]] = {
    "one": {"workers": 1},
    "gpus": {"workers": 9, "max_workers": 17, "threads": 2, "gpus_per_worker": 0.25, "memory_gib": 2},
    "custom": {"workers": 3, "resources": {"fast-disk": 1, "licence.a/b:c": 0.5}},
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("name", ["LAION_2B.en", "9..--", "x" * 90, "A-"])
def test_kubernetes_would_take_it(name: str, block: dict[str, Any]) -> None:
    config, job = documents(name, **block)
    Draft202012Validator(CONFIG).validate(config)
    Draft202012Validator(RAYJOB).validate(job)
    assert config["metadata"]["name"] == job["metadata"]["name"]


def test_the_schema_refuses_what_kubernetes_refuses() -> None:
    for path, value in (
        (("spec", "backoffLimit"), "2"),
        (("spec", "rayClusterSpec", "workerGroupSpecs"), []),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "headgroupspec"), {}),
        (("metadata", "name"), "Tamis"),
    ):
        _, job = documents()
        place = job
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert not Draft202012Validator(RAYJOB).is_valid(job), path


def test_workers_are_pods_with_what_the_recipe_asks_for() -> None:
    _, job = documents(**BLOCKS["gpus"])
    cluster = job["spec"]["rayClusterSpec"]
    [group] = cluster["workerGroupSpecs"]
    [worker] = group["template"]["spec"]["containers"]
    amounts = {"cpu": 8, "memory": "24Gi", "nvidia.com/gpu": 1}
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 3, 5)
    assert worker["resources"] == {"requests": amounts, "limits": amounts}
    assert worker["image"] == "reg.example/team/tamis:1@sha256:ab"
    assert group["rayStartParams"] == {"num-cpus": "8"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["rayVersion"] == RAY_VERSION


def test_without_gpus_none_is_asked_for() -> None:
    _, job = documents(**BLOCKS["one"])
    [worker] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {"cpu": 1, "memory": "5Gi"}


def test_resources_of_the_clusters_own_read_alike_for_shell_operator_and_autoscaler() -> None:
    _, job = documents(**BLOCKS["custom"])
    told = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["rayStartParams"]["resources"]
    expected = {"fast-disk": 1, "licence.a/b:c": 1}
    assert json.loads(shlex.split(f"ray start --resources={told}")[2].partition("=")[2]) == expected
    assert json.loads(told.strip("'\"` ")) == expected, "the operator"
    autoscaler = json.loads(told[1:-1].replace("\\", ""))
    assert autoscaler == expected
    assert all(isinstance(amount, int) for amount in autoscaler.values())


def test_the_driver_finds_the_recipe_and_storage_asks_a_secret() -> None:
    config, job = documents()
    [head] = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    [worker] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    [mount] = head["volumeMounts"]
    [name] = config["data"]
    assert job["spec"]["entrypoint"] == f"tamis run {mount['mountPath']}/{name}"
    again = parse_recipe(load_yaml(config["data"][name]), Path("/elsewhere"))
    assert again.criteria == {"big": HOSTILE}
    assert again.engine.address == "auto"
    for container in (head, worker):
        assert container["envFrom"] == [{"secretRef": {"name": "tamis-storage", "optional": True}}]
    assert not re.search("AWS_|SECRET_ACCESS|TOKEN", json.dumps([config, job]))
