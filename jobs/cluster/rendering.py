"""From a recipe to the manifest that runs it on a cluster: a shell script, YAML, or a Dockerfile.

A manifest holds the whole recipe, with its paths made absolute: what was checked here is what runs there. It never holds
credentials; those are in the environment of the nodes. The same recipe and options give the same text. Price: milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ...corpora.engine import MAX_ATTEMPTS
from ...corpora.errors import ConfigError
from ...pipelines.recipe import EngineBlock, Recipe
from ..shipping import ROOMS
from .hosts import Hosts
from .image import bare_needs, extras, hub_models
from .quoting import read, templates

DRIVER_CPUS, DRIVER_GIB = 4, 16
"""What the driver is given: deciding, clustering and planning happen there, in DuckDB and Arrow."""

RAY_VERSION = "2.60.0"
"""The Ray of the image, which constraints.txt pins; KubeRay asks for it."""


@dataclass(frozen=True)
class Template:
    """A manifest: the file in ``templates/``, the engines that it can start, and the options that it takes."""

    file: str
    about: str
    engines: tuple[str, ...]
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


_ANY = ("local", "ray", "spark")
TEMPLATES: Mapping[str, Template] = {
    "ray-submit": Template("ray-submit.sh", "a script: submits to a Ray cluster that is up", ("ray",)),
    "runtime-env": Template("runtime_env.yaml", "what bare Ray nodes install before they run it", ("ray",)),
    "kuberay": Template("kuberay.yaml", "a RayJob for Kubernetes, autoscaling", ("ray",), ("image",), ("image",)),
    "slurm": Template("slurm.sh", "a batch script: Ray over a Slurm allocation", ("ray",), ("queue",)),
    "spark-yarn": Template(
        "spark-yarn.sh", "a script: submits to YARN, or to standalone Spark", ("spark",), ("queue", "archive")
    ),
    "spark-kubernetes": Template(
        "spark-kubernetes.sh", "a script: submits to Kubernetes", ("spark",), ("image",), ("image",)
    ),
    "dockerfile": Template("Dockerfile", "the image of driver and workers, with what the recipe needs", _ANY),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a recipe does not know of a cluster: a container image, a queue or partition, a packed environment.

    Raises:
        ConfigError: a value that is no such name.
    """

    image: str | None = None
    queue: str | None = None
    archive: str | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not _OPTIONS[name][0].fullmatch(value):
                raise ConfigError(f"--{name} {value!r}: expected {_OPTIONS[name][1]}")


_OPTIONS = {
    "image": (re.compile(r"\w[\w.:/@-]*", re.ASCII), "the name of a container image, like registry.example/tamis:1"),
    "queue": (re.compile(r"\w[\w.,-]*", re.ASCII), "the name of a YARN queue or a Slurm partition"),
    "archive": (re.compile(r"[^\x00-\x1f#,]+"), "a path or URL without '#' and ','"),
}


def render(template: str, recipe: Recipe, options: Options) -> str:
    """The manifest named ``template`` for a recipe.

    Raises:
        ConfigError: no such template, an engine that it does not start, or options that do not fit it.
    """
    chosen = _chosen(template)
    block = recipe.engine
    if block.kind not in chosen.engines:
        raise ConfigError(
            f"{template} starts the engine {chosen.engines[0]}; the recipe {recipe.name!r} has `kind: {block.kind}` "
            f"in its engine block: change it, or take {', '.join(n for n, t in TEMPLATES.items() if block.kind in t.engines)}"
        )
    for name, value in asdict(options).items():
        if value is None and name in chosen.needs:
            raise ConfigError(f"{template} needs --{name}: {_OPTIONS[name][1]}")
        if value is not None and name not in chosen.takes:
            raise ConfigError(f"{template} has no use for --{name}")
    _check_resources(template, block)
    return templates().get_template(chosen.file).render(_told(recipe, options))


def _check_resources(template: str, block: EngineBlock) -> None:
    """KubeRay hands the names of resources to a shell, Ray's autoscaler strips their quotes; Spark makes settings of them."""
    wrong = [name for name in block.resources if not re.fullmatch(r"\w[\w.:/-]*", name, re.ASCII)]
    if template in {"kuberay", "spark-yarn", "spark-kubernetes"} and wrong:
        raise ConfigError(
            f"engine.resources: {wrong[0]!r} is no name for {template}; expected letters, digits and ._:/-"
        )
    if template == "slurm" and block.resources:
        raise ConfigError(f"engine.resources: Slurm's nodes offer none of {', '.join(block.resources)}; leave them out")


def write(path: Path, manifest: str) -> None:
    """Write a manifest to a file.

    Raises:
        ConfigError: it cannot be written there.
    """
    try:
        path.write_text(manifest, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write {str(path)!r}: {error.strerror}; give --out a path in a folder that is there"
        ) from error


def _chosen(template: str) -> Template:
    if template not in TEMPLATES:
        raise ConfigError(f"no template {template!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[template]


def _told(recipe: Recipe, options: Options) -> dict[str, Any]:
    """All that templates may speak of."""
    hosts = Hosts.of(recipe.engine)
    label = _label(recipe.name)
    return {
        "name": recipe.name,
        "label": label,
        "engine": recipe.engine.kind,
        "recipe": recipe_text(recipe),
        "hosts": hosts,
        "amounts": _pod_amounts(hosts),
        "custom": f"'{json.dumps(hosts.custom)}'" if hosts.custom else "",
        "spark": spark_settings(recipe.engine),
        "modules": own_modules(recipe),
        "pack": _PACK,
        "main": _MAIN,
        "discovery": read("discover_gpus.sh"),
        "pod": templates().get_template("pod.yaml").render(label=label),
        "rooms": ("api", *ROOMS),
        "extras": partial(extras, recipe),
        "models": partial(hub_models, recipe),
        "packages": partial(bare_needs, recipe),
        "driver": {"cpu": DRIVER_CPUS, "memory": f"{DRIVER_GIB}Gi"},
        "ray_version": RAY_VERSION,
        **asdict(options),
    }


_PACK = "import pathlib, sys, tamis.jobs.shipping as s; print(s.pack(pathlib.Path(sys.argv[1]), sys.argv[2:]))"
_MAIN = """\
import sys, tempfile, zipfile
from pathlib import Path

if __name__ == "__main__":
    # Not as a zip on the path: the engine packs what is imported here for the workers, and zips hide some of it.
    code = tempfile.TemporaryDirectory(prefix="tamis-")
    for wheel in Path(__file__).parent.glob("tamis-*.whl"):
        zipfile.ZipFile(wheel).extractall(code.name)
        sys.path.insert(0, code.name)
    from pyspark.sql import SparkSession
    from tamis.jobs.cli import main

    try:
        main()
    finally:
        if session := SparkSession.getActiveSession():
            session.stop()  # or Spark replaces executors that only go because this does
"""
"""What ``spark-submit`` starts: the command line, from the wheel beside it or, in an image, as it is installed."""


def recipe_text(recipe: Recipe) -> str:
    """The recipe as a cluster reads it: paths absolute, in ASCII; where to run is said by who submits it."""
    address = "auto" if recipe.engine.kind == "ray" else None
    here = recipe.engine.model_copy(update={"address": address})
    told = recipe.model_copy(update={"engine": here}).model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(told, sort_keys=False, width=2**20)


def own_modules(recipe: Recipe) -> tuple[str, ...]:
    """The top-level modules of scorers that the recipe names by import path: they travel with the code."""
    kinds = (str(settings.get("kind", "")) for settings in recipe.scores.values())
    found = {kind.partition(":")[0].partition(".")[0] for kind in kinds if ":" in kind}
    return tuple(sorted(found - {__package__.partition(".")[0]}))


def spark_settings(block: EngineBlock) -> dict[str, str]:
    """What Spark is told: a worker is one task slot, the workers of a host are one executor.

    The memory that counts is outside Java's, in the Python processes beside it.
    """
    hosts = Hosts.of(block)
    told = {
        "spark.task.maxFailures": MAX_ATTEMPTS + 1,
        "spark.driver.cores": DRIVER_CPUS,
        "spark.driver.memory": "2g",
        "spark.driver.memoryOverhead": f"{DRIVER_GIB - 2}g",
        "spark.executor.instances": hosts.fewest,
        "spark.executor.cores": hosts.cpus,
        "spark.cores.max": hosts.cpus * hosts.most,
        "spark.executor.memory": "1g",
        "spark.executor.memoryOverhead": f"{hosts.memory_gib}g",
        "spark.task.cpus": block.threads,
    }
    if hosts.most > hosts.fewest:
        told |= {
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.shuffleTracking.enabled": "true",
            "spark.dynamicAllocation.minExecutors": hosts.fewest,
            "spark.dynamicAllocation.maxExecutors": hosts.most,
        }
    if hosts.gpus:
        told |= {
            "spark.executor.resource.gpu.amount": hosts.gpus,
            "spark.task.resource.gpu.amount": hosts.gpus / hosts.workers,
        }
    for name, amount in block.resources.items():
        told |= {
            f"spark.executor.resource.{name}.amount": hosts.custom[name],
            f"spark.task.resource.{name}.amount": amount,
        }
    return {key: str(value) for key, value in told.items()}


def _pod_amounts(hosts: Hosts) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": hosts.gpus} if hosts.gpus else {}
    return {"cpu": hosts.cpus, "memory": f"{hosts.memory_gib}Gi", **gpus}


def _label(name: str) -> str:
    """A name as Kubernetes takes it (DNS-1035), short enough for what KubeRay adds to it."""
    return re.sub("[^a-z0-9-]", "-", f"tamis-{name.lower()}")[:47].rstrip("-")
