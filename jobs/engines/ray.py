"""The Ray engine: an actor a worker, on whichever nodes have room, each with one item at a time.

The driver keeps no more calls open than there are actors, and waits for all of them at once. As long as items wait, it
asks for up to ``max_workers`` actors; those that find no room yet are what an autoscaler adds nodes for. An actor that
dies, alone or with its node, is replaced wherever there is room.

Price: a second to start an actor; 0.4 ms of the driver's time an item, whatever it is (0.8 where two cores do all of it).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ...corpora.engine import Json, Outcome, Resources, Task
from ...corpora.errors import ConfigError, FatalError, TamisError
from ...corpora.grouping import Dataset, Grouping, Parts
from ...corpora.groups import completed
from .local import thread_limits
from .own_modules import own_modules
from .ray_session import check_nodes, has_room, is_own, needs_of, open_session, reason, told_room
from .ray_worker import NAME, Hands
from .supervising import Crew, Death, Supervisor, Worker

_LOOK_SECONDS = 1.0
"""How often one looks whether actors without a place may still get one."""


@dataclass(frozen=True)
class RayEngine:
    """Runs tasks in ``workers`` actors, in up to ``max_workers`` of them while items wait.

    They run in the Ray session that is there, at ``address``, or in one started here. ``modules`` are top-level modules
    of the user's that workers need besides those that a task names. When no node has room for a single worker, other
    work may end or an autoscaler may help within ``patience_seconds``.
    """

    workers: int = 2
    max_workers: int | None = None
    address: str | None = None
    modules: tuple[str, ...] = ()
    patience_seconds: float = 600.0
    threads: int = 1
    """CPUs of the largest worker that will be: a session started here has them for each, from the first stage on."""
    memory_gib: float = 1.0
    """What a worker of ``group`` may hold before it spills to disk."""
    name: str = NAME

    @property
    def _most(self) -> int:
        return max(self.workers, self.max_workers or 0)

    def check(self, modules: Sequence[str]) -> None:
        """Refuse nodes that lack one of the modules: a tiny task on each that is there now.

        Raises:
            ConfigError: which node lacks what, and the command that brings it; or there is no Ray.
        """
        self._open(self.threads, ())
        check_nodes(modules)

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; outcomes in order of completion.

        Raises:
            FatalError: a task or its set-up met one, or no worker could be set up or placed; all actors are killed.
            ConfigError: so did they; or there is no Ray, or it has no node of the size that a worker needs.
        """
        if not items:
            return
        if resources.gpus > 1 and resources.gpus % 1:
            raise ConfigError(
                f"engine.gpus_per_worker: {resources.gpus:g} found; Ray lends whole GPUs or a part of one"
            )
        self._open(resources.cpus, own_modules(task))
        crew = _Actors(task, resources, self.patience_seconds)
        yield from Supervisor(crew, self.workers, self._most).run(items)

    def group(self, dataset: Dataset, grouping: Grouping, parts: Parts, resources: Resources) -> Iterator[Outcome]:
        """Make the parts of ``grouping`` that are not there; see ``Engine.group``."""
        from .ray_grouping import made_on_ray  # Ray Data takes a second and 100 MB

        def make(todo: Sequence[int]) -> Iterator[Outcome]:
            self._open(resources.cpus, own_modules((dataset, grouping)))
            return made_on_ray(dataset, grouping, parts, todo, resources, self.memory_gib)

        return completed(grouping, parts, make)

    def _open(self, cpus: float, modules: Sequence[str]) -> None:
        open_session(self.address, self._most * max(self.threads, cpus), {*self.modules, *modules})


class _Actor(Worker):
    """A worker that is an actor of a Ray cluster; ``news`` is the call whose answer is awaited."""

    def __init__(self, actor: Any, task: Any) -> None:
        self._actor = actor
        self._worker: Mapping[str, Json] = {"engine": NAME}
        self.placed = False
        self.news = actor.who.remote()
        self._set_up = actor.set_up.remote(task)

    def has_news(self) -> bool:
        """Whether the answer that came is news; that it has found a place is not."""
        if self.placed:
            return True
        try:
            self._worker = ray.get(self.news)
        except RayError:
            return True
        self.placed, self.news = True, self._set_up
        return False

    def give(self, item: str) -> None:
        self.news = self._actor.run.remote(item)

    def hear(self) -> Outcome | Death:
        try:
            outcome: Outcome = ray.get(self.news)
        except (
            RayTaskError
        ) as error:  # the actor lives: its task could not be unpickled, or what it answered not pickled
            return Outcome("", None, reason(error), worker=self._worker)
        except RayError as error:
            return Death(f"worker died: {reason(error)}", self._worker)
        return outcome

    def stop(self) -> None:
        ray.kill(self._actor)


class _Actors(Crew[_Actor]):
    """Actors with the same task and needs; they are placed by Ray, or wait for a place."""

    def __init__(self, task: Task, resources: Resources, patience_seconds: float) -> None:
        self._needs, self._patience_seconds = needs_of(resources), patience_seconds
        if is_own() and not has_room(self._needs):
            raise self._no_room()  # nothing will come
        self._last_placed = time.monotonic()
        self._task = ray.put(task)
        self._hire = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            resources=dict(resources.custom),
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": thread_limits(resources)},
        )(Hands)

    def hire(self, seat: int) -> _Actor:
        return _Actor(self._hire.remote(), self._task)

    def wait(self, workers: Sequence[_Actor]) -> list[_Actor]:
        while True:
            talking = {worker.news: worker for worker in workers}
            placed = any(worker.placed for worker in workers)
            told, _ = ray.wait(list(talking), timeout=None if placed else _LOOK_SECONDS)
            if len(talking) > 1:
                told, _ = ray.wait(list(talking), num_returns=len(talking), timeout=0)
            self._look(placed or bool(told))
            if heard := [talking[ref] for ref in told if talking[ref].has_news()]:
                return heard

    def _look(self, placed: bool) -> None:
        """Give up when nobody has had a place for too long."""
        if placed:
            self._last_placed = time.monotonic()
        elif time.monotonic() - self._last_placed > self._patience_seconds:
            raise self._no_room()

    def _no_room(self) -> TamisError:
        told = f"no Ray node has room for a worker: {told_room(self._needs)}"
        if has_room(self._needs):
            return FatalError(f"{told}; waited {self._patience_seconds:g} s for others to end")
        return ConfigError(f"{told}; ask for less (engine.threads, gpus_per_worker, resources), or for other nodes")
