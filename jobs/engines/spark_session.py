"""The Spark session that work runs in: found or started, checked, and told what its tasks need.

A session that is there is used as it is; one started by ``spark-submit`` is configured by that; else one is started, on
the master that the recipe names or on this machine. What Spark would only answer with a hanging or an aborted job is
checked here, and answered with what to set.

Price: a JVM takes about 4 seconds to start. Spark 4 speaks to its Python workers over TCP, with a pause of 40 ms in each
task; over Unix sockets, which sessions started here use, a task costs 5 ms.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark import SparkContext, SparkFiles
from pyspark.errors import PySparkException
from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

from ...corpora.engine import MAX_ATTEMPTS, Resources
from ...corpora.errors import ConfigError
from ..shipping import as_zip, pack
from .processes import environment

FAILURES = MAX_ATTEMPTS + 1
"""How often Spark must let a task fail: the last time is ours, to say that the others ended with their executors."""

_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.retainedTasks": "1000",  # of a hundred times as many, all kept in the driver though nobody shows them
    "spark.log.level": "ERROR",
}
_JAVA = "-Dlog4j2.level=FATAL"
"""Until the level above is set; or Spark tells of its logging."""
_JAVA_HERE = f"{_JAVA} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""On one machine: optimising Java costs more than it brings (14 s of CPU for 3,000 items, with it 26), and twice the memory."""
_LOCAL = re.compile(r"local(?:\[\s*[\w*]+\s*(?:,\s*(\d+)\s*)?\])?$")
"""A master in this process, and how often it lets a task fail."""


def open_context(workers: int, address: str | None) -> SparkContext:
    """The context to work in: that of the session that is there, or of one started here, which ends with this process.

    Raises:
        ConfigError: there is one with another master, it would give up before we do, or none can be started.
    """
    there = SparkContext._active_spark_context is not None or "PYSPARK_GATEWAY_PORT" in os.environ
    context = SparkSession.builder.getOrCreate().sparkContext if there else _start(workers, address)
    if address is not None and there and context.master != address:
        raise ConfigError(
            f"engine.address: {address!r} found, and a Spark session with the master {context.master!r} is there; "
            "leave address out to use that, or stop it"
        )
    _check(context)
    return context


def _start(workers: int, address: str | None) -> SparkContext:
    if address is not None and address.startswith("sc://"):
        raise ConfigError(
            f"engine.address: {address!r} is Spark Connect, which has no tasks of one's own; give a master"
        )
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise ConfigError(
            "engine.kind: spark needs Java 17 or newer, and there is no java; install it or set JAVA_HOME"
        )
    builder = SparkSession.builder.appName("tamis").master(address or f"local[{workers},{FAILURES}]")
    java = {"spark.driver.extraJavaOptions": _JAVA if address else _JAVA_HERE}
    for key, value in {**_QUIET, **java, "spark.python.unix.domain.socket.enabled": "true"}.items():
        builder = builder.config(key, value)
    here = (address or "local").startswith("local") and "PYSPARK_PYTHON" not in os.environ
    python = {"PYSPARK_PYTHON": sys.executable} if here else {}
    try:
        with environment(python), warnings.catch_warnings(category=FutureWarning, action="ignore"):
            return builder.getOrCreate().sparkContext
    except PySparkException as error:
        raise ConfigError(f"Spark did not start: {error}; it needs Java 17 or newer, at JAVA_HOME") from error


def _check(context: SparkContext) -> None:
    failures = _failures(context)
    if failures < FAILURES:
        raise ConfigError(
            f"Spark gives a job up when a task has failed {failures} times; at least {FAILURES} are needed: start it with "
            f"local[{context.defaultParallelism},{FAILURES}] on one machine, or set spark.task.maxFailures on a cluster"
        )
    if context.getConf().get("spark.python.worker.reuse", "true") == "false":
        raise ConfigError("spark.python.worker.reuse: false found; workers set up models once, leave it true")


def _failures(context: SparkContext) -> int:
    local = _LOCAL.match(context.master)
    return int(local[1] or 1) if local else int(context.getConf().get("spark.task.maxFailures", "4") or 4)


def ship(context: SparkContext, modules: Iterable[str]) -> str:
    """Send the code to every worker that begins from now on, once a session and content; its name."""
    wheel = as_zip(pack(Path(_parcels().name), sorted(modules)))
    if wheel.name not in {Path(url).name for url in context.listFiles}:
        context.addPyFile(str(wheel))
        sys.path.remove(
            str(Path(SparkFiles.getRootDirectory()) / wheel.name)
        )  # the driver has its own, which may change
    return wheel.name


@cache
def _parcels() -> TemporaryDirectory[str]:
    """Where the code lies that executors fetch: until this process ends, as more of them may come."""
    return TemporaryDirectory(prefix="tamis-", ignore_cleanup_errors=True)


def slots(context: SparkContext, resources: Resources) -> int:
    """How many tasks with these needs run at once, as far as Spark knows at the moment."""
    return max(1, int(context.defaultParallelism) // _cpus(resources))


def profile(context: SparkContext, resources: Resources) -> ResourceProfile | None:
    """What Spark must be asked for, besides what it gives every task; None when that is enough.

    Raises:
        ConfigError: executors have no such resource.
    """
    conf = {} if _LOCAL.match(context.master) else dict(context.getConf().getAll())
    wanted = {**({"gpu": gpu_share(resources.gpus)} if resources.gpus else {}), **resources.custom}
    for name, amount in wanted.items():
        key = f"spark.executor.resource.{name}"
        there = conf.get(f"{key}.amount", "0")
        if float(there) < amount:
            raise ConfigError(
                f"a task needs {amount:g} {name}, and a Spark executor of {context.master} has {there}: set {key}.amount "
                f"and {key}.discoveryScript on a cluster; on one machine, the engine local sees its GPUs"
            )
    if not conf or _is_enough(conf, _cpus(resources), wanted):
        return None
    return _profile(context.applicationId, _cpus(resources), tuple(sorted(wanted.items())))


def gpu_share(gpus: float) -> float:
    """Whole GPUs, or the part of one that leaves no rest: Spark counts processes a GPU, as we do.

    Raises:
        ConfigError: it is neither.
    """
    if gpus > 1 and gpus % 1:
        raise ConfigError(f"engine.gpus_per_worker: {gpus:g} found; Spark lends whole GPUs or a part of one")
    return gpus if gpus >= 1 else 1 / math.floor(1 / gpus + 1e-9)  # 1 / 0.1 may fall short of 10


def _is_enough(conf: Mapping[str, str], cpus: int, wanted: Mapping[str, float]) -> bool:
    given = {name: float(conf.get(f"spark.task.resource.{name}.amount", 0)) for name in wanted}
    return float(conf.get("spark.task.cpus", 1)) >= cpus and all(given[name] >= wanted[name] for name in wanted)


@cache
def _profile(application: str, cpus: int, wanted: tuple[tuple[str, float], ...]) -> ResourceProfile:
    """One profile for equal needs: with dynamic allocation, each has executors of its own."""
    requests = TaskResourceRequests().cpus(cpus)
    for name, amount in wanted:
        requests = requests.resource(name, amount)
    return ResourceProfileBuilder().require(requests).build


def _cpus(resources: Resources) -> int:
    return max(1, math.ceil(resources.cpus))
