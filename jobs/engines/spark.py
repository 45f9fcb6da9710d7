"""The Spark engine: a Spark task for each item, in rounds; what failed is tried again in the next.

Spark gives a job up when one of its tasks has failed four times. So no task fails here: what an item raises, and what its
process dies of, is told as an outcome, and Spark's own retries are left for executors that are lost. Outcomes reach the
driver as tasks end, through an accumulator, of which Spark counts what each task said once.

Price: 5 ms an item, for Spark's tasks; a second of imports a worker and stage, as everywhere.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from py4j.protocol import Py4JError
from pyspark import SparkContext, cloudpickle
from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession
from pyspark.util import InheritableThread

from ...corpora.engine import MAX_ATTEMPTS, Outcome, Resources, Task
from ...corpora.errors import ConfigError, FatalError
from ...corpora.extras import remedy
from ...corpora.grouping import Dataset, Grouping, Parts
from ...corpora.groups import completed
from .local import thread_limits
from .own_modules import own_modules
from .shipped import Lacking
from .spark_grouping import made_on_spark
from .spark_session import open_context, profile, ship, slots
from .spark_worker import LOST, NAME, Order, Report, Stream

_ROUND_ITEMS = 100_000
"""Spark keeps an account of 2 KB of each task of a job, and gives up at 1 GiB of them."""

_BARREN_ROUNDS = 20
"""After so many rounds in a row in which no item found a worker, none will."""

Waiting = tuple[str, tuple[Outcome, ...]]
"""An item that is to be done, and the attempts at it that failed."""


@dataclass(frozen=True)
class SparkEngine:
    """Runs tasks in the Spark session that is there, on the master at ``address``, or in ``workers`` slots started here.

    ``modules`` are top-level modules of the user's that workers need besides those that a task names.
    """

    workers: int = 2
    address: str | None = None
    modules: tuple[str, ...] = ()
    memory_gib: float = 1.0
    name: str = NAME

    def check(self, modules: Sequence[str]) -> None:
        """Refuse executors that lack one of the modules: a task for each place where tasks run now.

        Raises:
            ConfigError: which executor lacks what, and the command that brings it; or Spark cannot be started.
        """
        places = slots(open_context(self.workers, self.address), Resources())
        for outcome in self.map(Lacking(tuple(modules)), [f"place {number}" for number in range(places)], Resources()):
            if outcome.value is None:
                raise FatalError(f"a worker could not be asked what it has: {outcome.error}")
            if missing := outcome.value["absent"]:
                who = f"executor {outcome.worker['executor']} on {outcome.worker['node']}"
                raise ConfigError(f"{who} lacks {', '.join(missing)}, which the run needs: {remedy(missing)}")

    def map(self, task: Task, items: Sequence[str], resources: Resources) -> Iterator[Outcome]:
        """Run ``task`` over ``items``; outcomes as tasks end.

        Raises:
            FatalError: a task or its set-up met one, no worker could be set up, or Spark gave up.
            ConfigError: so did they; or Spark cannot be started, or does not offer what the tasks need.
        """
        if not items:
            return
        context = open_context(self.workers, self.address)
        code = ship(context, {*self.modules, *own_modules(task)})
        jobs = _Jobs(context, profile(context, resources), {"TAMIS_WORKERS": str(resources)})
        order = Order(uuid.uuid4().hex, code, cloudpickle.dumps(task), thread_limits(resources), resources.gpus)
        staff = _Staff(min(slots(context, resources), len(items)))
        waiting: list[Waiting] = [(item, ()) for item in items]
        while waiting:
            this_round, later = waiting[:_ROUND_ITEMS], waiting[_ROUND_ITEMS:]
            with closing(jobs.run(order, this_round)) as reports:
                for report in reports:
                    if report.outcome.fatal:
                        raise report.outcome.fatal(report.outcome.error)
                    staff.hear(report)
                    item, earlier = this_round[report.number]
                    earlier += tuple(
                        Outcome(item, None, LOST, attempts=len(earlier) + 1 + n) for n in range(report.lost)
                    )
                    outcome = replace(report.outcome, attempts=len(earlier) + 1)
                    if not report.attempted:
                        later.append((item, earlier))
                    elif outcome.ok or outcome.attempts == MAX_ATTEMPTS:
                        yield replace(outcome, earlier=earlier)
                    else:
                        later.append((item, (*earlier, outcome)))
            staff.end_round()
            waiting = later

    def group(self, dataset: Dataset, grouping: Grouping, parts: Parts, resources: Resources) -> Iterator[Outcome]:
        """Make the parts of ``grouping`` that are not there; see ``Engine.group``."""

        def make(todo: Sequence[int]) -> Iterator[Outcome]:
            context = open_context(self.workers, self.address)
            ship(context, {*self.modules, *own_modules((dataset, grouping))})
            session = SparkSession.builder.getOrCreate()
            return made_on_spark(session, dataset, grouping, parts, todo, self.memory_gib)

        return completed(grouping, parts, make)


@dataclass
class _Staff:
    """Whether there is hope: which workers could not be set up, and whether any could."""

    enough: int
    """When so many have been given up, and none was ever set up, none will be."""
    given_up: set[tuple[str, int]] = field(default_factory=set)
    ever: bool = False
    this_round: bool = False
    barren_rounds: int = 0
    error: str | None = None

    def hear(self, report: Report) -> None:
        """Note how a worker's set-up went.

        Raises:
            FatalError: there is none left to hope for.
        """
        if report.attempted:
            self.ever = self.this_round = True
            return
        self.error = report.outcome.error
        self.given_up.add((report.outcome.worker["node"], report.outcome.worker["process"]))
        if not self.ever and len(self.given_up) >= self.enough:
            raise FatalError(f"no worker could be set up: {self.error}")

    def end_round(self) -> None:
        """Count rounds without an attempt.

        Raises:
            FatalError: there were too many.
        """
        self.barren_rounds = 0 if self.this_round else self.barren_rounds + 1
        self.this_round = False
        if self.barren_rounds == _BARREN_ROUNDS:
            raise FatalError(f"no worker could be set up: {self.error}")


@dataclass(frozen=True)
class _Ended:
    """The last news of a job: why Spark gave it up, or None."""

    error: str | None


@dataclass(frozen=True)
class _Jobs:
    """Runs rounds as Spark jobs, in Python workers that differ by ``environ`` from those of other jobs.

    Spark takes idle Python workers in turn. If a map that runs two at a time on GPUs shared them with one that ran eight
    at a time, all eight would set the model up.
    """

    context: SparkContext
    profile: ResourceProfile | None
    environ: dict[str, str]

    def run(self, order: Order, waiting: Sequence[Waiting]) -> Generator[Report, None, None]:
        """Run one; whoever leaves before its end cancels it.

        Raises:
            FatalError: Spark gave it up.
        """
        news: SimpleQueue[Report | _Ended] = SimpleQueue()
        heard = replace(order, reports=self.context.accumulator((), Stream(news.put)))
        entries = [(number, item, len(earlier)) for number, (item, earlier) in enumerate(waiting)]
        group = f"tamis-{uuid.uuid4().hex}"
        thread = InheritableThread(target=lambda: self._job(group, heard, entries, news), daemon=True)
        thread.start()
        left = len(entries)
        try:
            while left:
                report = news.get()
                if isinstance(report, _Ended):
                    raise FatalError(f"Spark gave up with {left} items to do: {report.error}")
                left -= 1
                yield report
        finally:
            while thread.is_alive():
                if left:
                    self.context.cancelJobGroup(group)  # again and again: it may not have begun
                thread.join(0.1)

    def _job(
        self, group: str, order: Order, entries: list[tuple[int, str, int]], news: SimpleQueue[Report | _Ended]
    ) -> None:
        ended = _Ended("the driver's side of the job broke off")
        try:
            self.context.setJobGroup(group, group, interruptOnCancel=True)
            items = self.context.parallelize(entries, len(entries))
            if self.profile is not None:
                items = items.withResources(self.profile)
            told = items.mapPartitions(order)
            with _ENVIRON_LOCK:
                self.context.environment.update(self.environ)
                told.id()  # makes the job's description, which takes the environment with it
                for name in self.environ:
                    del self.context.environment[name]
            told.collect()
            ended = _Ended("not every task told of its item")
        except Py4JError as error:
            ended = _Ended(_reason(error))
        finally:
            news.put(ended)


_ENVIRON_LOCK = threading.Lock()


def _reason(error: Py4JError) -> str:
    """The line that says why, of the many that Py4J tells."""
    lines = str(error).splitlines()
    causes = [line.removeprefix(": ") for line in lines if line.startswith(": ")]
    return (causes or lines or [type(error).__name__])[0]
