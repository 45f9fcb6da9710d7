"""The local engine: supervised processes on this machine, as many as its GPUs hold when the tasks want GPUs.

The driver hands an item to each idle worker over a pipe and waits on pipes and process ends together, so a worker that
dies is seen at once. A worker that loses its driver ends itself.

Price: about a second of imports a worker and stage; 0.2 ms an item.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from ...corpora.engine import Outcome, Resources, Task
from ...corpora.errors import ConfigError
from ...corpora.extras import absent, remedy
from ...corpora.grouping import Dataset, Grouping, Parts
from ...corpora.groups import completed
from .local_grouping import made_by_maps
from .processes import NAME, Process
from .supervising import Crew, Supervisor


@dataclass(frozen=True)
class LocalEngine:
    """Runs tasks in ``workers`` processes; in fewer where the GPUs hold fewer."""

    workers: int = 2
    memory_gib: float = 1.0
    """What a worker of ``group`` may hold before it spills to disk."""
    name: str = NAME

    def check(self, modules: Sequence[str]) -> None:
        """Refuse to begin when this process, whose environment the workers have, lacks one of the modules.

        Raises:
            ConfigError: which, and the command that brings them.
        """
        if missing := absent(modules):
            raise ConfigError(f"this machine lacks {', '.join(missing)}, which the run needs: {remedy(missing)}")

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; outcomes in order of completion.

        Raises:
            FatalError: a task or its set-up met one, or no worker could be set up; all workers are stopped.
            ConfigError: so did they; or the tasks want GPUs, and this process may use none or too few.
        """
        places = gpu_places(visible_gpus(os.environ), resources.gpus) if resources.gpus else [None] * self.workers
        crew = _Processes(task, thread_limits(resources), places[: self.workers])
        yield from Supervisor(crew, len(crew.places), len(crew.places)).run(items)

    def group(self, dataset: Dataset, grouping: Grouping, parts: Parts, resources: Resources) -> Iterator[Outcome]:
        """Make the parts of ``grouping`` that are not there; see ``Engine.group``."""
        run = partial(self.map, resources=resources)
        return completed(
            grouping, parts, lambda todo: made_by_maps(run, dataset, grouping, parts, todo, self.memory_gib)
        )


def thread_limits(resources: Resources) -> dict[str, str]:
    """The environment that keeps a worker's numeric libraries to its CPUs, unless the user's own says otherwise."""
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, int(resources.cpus))))}


def visible_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """CUDA's names of the GPUs that this process may use: what ``CUDA_VISIBLE_DEVICES`` says, or one a device file."""
    told = environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]


def gpu_places(gpus: Sequence[str], share: float) -> list[str]:
    """The GPU of each worker, as many workers as the GPUs hold when each has a ``share`` of one; first one on each GPU.

    Raises:
        ConfigError: there is none, or a worker wants more than one.
    """
    if share > 1:
        raise ConfigError(f"engine.gpus_per_worker: {share:g} found; a worker here uses one GPU or a share of it")
    if not gpus:
        raise ConfigError(
            f"engine.gpus_per_worker: {share:g} wanted, and this machine shows no GPU (CUDA_VISIBLE_DEVICES is "
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')!r}, there are no /dev/nvidia*); set it to 0 to measure on the "
            "CPU, or run where there are GPUs"
        )
    return list(gpus) * math.floor(1 / share + 1e-9)  # 1 / 0.1 may fall short of 10


@dataclass(frozen=True)
class _Processes(Crew[Process]):
    """A process for each place; a place is a GPU, or None for what this process sees."""

    task: Task
    environ: Mapping[str, str]
    places: Sequence[str | None]

    def hire(self, seat: int) -> Process:
        gpu = self.places[seat]
        return Process(self.task, {**self.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})})

    def wait(self, workers: Sequence[Process]) -> list[Process]:
        by_ears = {worker.ears: worker for worker in workers}
        return [by_ears[ears] for ears in wait(list(by_ears))]  # type: ignore[index]
