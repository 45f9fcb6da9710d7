"""The Ray session that work runs in: joined or started, with the code that its workers run, and what its nodes have.

A session that is there is used as it is, with the code that whoever opened it gave its workers. One that is opened here,
on a cluster or on this machine, gets the code as it is imported here. Its namespace tells that it is ours, where it is
and which code its workers have, so that it serves the next stage too, and is opened anew when that needs other code.

Price: 3 seconds to start one on this machine, 0.3 to join one elsewhere; 50 ms to look whether the code is still the same.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...corpora.engine import Resources
from ...corpora.errors import ConfigError
from ...corpora.extras import absent, remedy
from ..shipping import PACKAGE, pack
from .processes import environment

HERE = "local"
"""Ray's word for a session of one's own on this machine."""

_CLIENT_PORT = 10001
_KNOCK_SECONDS = 10.0
"""Ray itself tries for minutes, and fills the terminal."""

_DETAIL = re.compile(r"Worker exit detail: (.*?)(?: Some common causes| There are some|$)")
"""What happened, before the advice."""

_LINE = 400
"""How much of a message of Ray's, which may be a page."""

_CHECK_SECONDS = 180.0
"""How long the nodes may take to get the code and to answer what they have."""


def open_session(address: str | None, cpus: float, modules: Iterable[str]) -> None:
    """Be in a session: the one that is there, one at ``address``, or one started here with ``cpus``.

    Raises:
        ConfigError: there is no Ray at the address, or it is another version.
    """
    place = address or os.environ.get("RAY_ADDRESS") or HERE
    tag = _tag() if ray.is_initialized() else [PACKAGE, place]
    if tag[0] != PACKAGE:
        return
    with TemporaryDirectory(prefix="tamis-") as folder:
        names = sorted({*modules, *tag[3:]})
        wheel = pack(Path(folder), names)
        wanted = [PACKAGE, place, wheel.stem, *names]
        if ray.is_initialized():
            if tag == wanted:
                return
            ray.shutdown()
        zipfile.ZipFile(wheel).extractall(wheel.with_suffix(""))
        # As folders, and not as the wheel: Ray would have pip install that, which nodes may lack.
        code = [str(path) for path in sorted(wheel.with_suffix("").iterdir())]
        _open(place, cpus, " ".join(wanted), code)


def is_own() -> bool:
    """Whether the session was started here: what it has is all that it will have."""
    return _tag()[:2] == [PACKAGE, HERE]


def _tag() -> list[str]:
    """The namespace of the session that this process is in; of ours: tamis, the place, the code, the user's modules."""
    return str(ray.get_runtime_context().namespace).split(" ")


def _open(place: str, cpus: float, namespace: str, code: Sequence[str]) -> None:
    options: dict[str, Any] = {"num_cpus": math.ceil(cpus), "include_dashboard": False} if place == HERE else {}
    try:
        _knock(place)
        with environment({"RAY_USAGE_STATS_ENABLED": "0"}):
            ray.init(
                place,
                namespace=namespace,
                runtime_env={"py_modules": code},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"engine.address: cannot open a Ray session at {place!r}: {shorten(str(error), _LINE)}; give host:port of a "
            "running head node (ray start --head prints it), ray://host:port, or auto; without an address one is started here"
        ) from error


def _knock(place: str) -> None:
    """See that somebody listens at an address."""
    parts = urlsplit(place if "://" in place else f"//{place}")
    if parts.hostname and (parts.scheme == "ray" or parts.port):
        socket.create_connection((parts.hostname, parts.port or _CLIENT_PORT), _KNOCK_SECONDS).close()


def check_nodes(modules: Sequence[str]) -> None:
    """Refuse nodes that lack one of the modules, or cannot run our code at all.

    Raises:
        ConfigError: which node lacks what, and the command that brings it.
    """
    find = ray.remote(num_cpus=0, max_retries=0)(absent)
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in alive_nodes()}
    asked = {
        node: find.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(list(modules))
        for node in nodes
    }
    for node, answer in asked.items():
        told = f"node {node} ({nodes[node]})"
        try:
            missing = ray.get(answer, timeout=_CHECK_SECONDS)
        except GetTimeoutError as error:
            raise ConfigError(f"{told} did not say in {_CHECK_SECONDS:g} s what is installed there") from error
        except RayTaskError as error:
            raise ConfigError(f"{told} cannot run {PACKAGE}: {reason(error)}; pip install '{PACKAGE}[ray]'") from error
        except RayError as error:
            raise ConfigError(f"{told} cannot run anything: {reason(error)}") from error
        if missing:
            raise ConfigError(f"{told} lacks {', '.join(missing)}, which the run needs: {remedy(missing)}")


def reason(error: RayError) -> str:
    """What a Ray error says, in a line."""
    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {error.cause}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return lines[-1]  # of a traceback
    causes = [line for line in lines if line.startswith(("The actor is dead because", "The actor died because"))]
    detail = _DETAIL.search(" ".join(causes))
    return shorten(detail[1] if detail else " ".join(causes or lines), _LINE)


def alive_nodes() -> list[Mapping[str, Any]]:
    """What Ray tells of its nodes."""
    return [node for node in ray.nodes() if node["Alive"]]


def needs_of(resources: Resources) -> dict[str, float]:
    """What a worker needs, as Ray names it."""
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus, **resources.custom}
    return {name: amount for name, amount in wanted.items() if amount}


def has_room(needs: Mapping[str, float]) -> bool:
    """Whether some node would hold a worker, were it idle."""
    return any(all(node["Resources"].get(name, 0) >= needs[name] for name in needs) for node in alive_nodes())


def told_room(needs: Mapping[str, float]) -> str:
    """What a worker needs and what the nodes have, in words."""
    shapes = Counter(_told(node["Resources"]) for node in alive_nodes())
    have = "; ".join(f"{number} with {shape}" for shape, number in shapes.most_common())
    return f"a worker needs {_told(needs)}; there are nodes: {have or 'none'}; free in all: {_told(ray.available_resources())}"


def _told(amounts: Mapping[str, float]) -> str:
    """Amounts without those that Ray adds by itself: memory, and a name for each node."""
    ours = {name: amount for name, amount in sorted(amounts.items()) if ":" not in name and "memory" not in name}
    return ", ".join(f"{name} {amount:g}" for name, amount in ours.items()) or "nothing"
