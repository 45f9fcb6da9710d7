"""Hosts: whole numbers that a cluster can hand out, enough for the workers that a recipe asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.jobs.cluster.hosts import WORKER_GIB, Hosts
from tamis.pipelines.recipe import EngineBlock


def hosts(**told: Any) -> Hosts:
    return Hosts.of(EngineBlock(**told))


def test_without_a_gpu_a_worker_is_a_host() -> None:
    found = hosts(workers=5, threads=3, memory_gib=2, resources={"disk": 0.5})
    assert found == Hosts(workers=1, cpus=3, gpus=0, memory_gib=WORKER_GIB + 2, custom={"disk": 1}, fewest=5, most=5)


def test_workers_that_share_a_gpu_live_together() -> None:
    found = hosts(workers=9, max_workers=17, threads=2, gpus_per_worker=0.25, memory_gib=1.5, resources={"disk": 0.5})
    assert (found.workers, found.gpus, found.cpus, found.fewest, found.most) == (4, 1, 8, 3, 5)
    assert found.memory_gib == 4 * WORKER_GIB + 6
    assert found.custom == {"disk": 2}


def test_a_host_has_no_more_room_than_there_are_workers() -> None:
    found = hosts(workers=2, gpus_per_worker=1e-300)
    assert (found.workers, found.cpus, found.gpus, found.fewest) == (2, 2, 1, 1)


def test_a_worker_of_several_gpus_has_a_host_of_its_own() -> None:
    found = hosts(workers=3, gpus_per_worker=2)
    assert (found.workers, found.gpus, found.fewest) == (1, 2, 3)


def test_a_bound_below_the_workers_does_not_shrink_them() -> None:
    assert hosts(workers=4, max_workers=2).most == 4


@pytest.mark.parametrize(("share", "workers"), [(0.333, 3), (1 / 3, 3), (0.1, 10), (0.7, 1), (1 / 7, 7), (0.05, 20)])
def test_fractions_are_filled_as_far_as_they_go(share: float, workers: int) -> None:
    found = hosts(gpus_per_worker=share, workers=64)
    assert (found.workers, found.gpus) == (workers, 1)


@given(st.integers(1, 1000), st.integers(1, 2000), st.floats(0, 4), st.integers(1, 16), st.floats(0.1, 100))
def test_hosts_hold_all_workers_and_no_gpu_is_promised_twice(
    workers: int, most: int, gpus: float, threads: int, memory: float
) -> None:
    found = hosts(workers=workers, max_workers=most, gpus_per_worker=gpus, threads=threads, memory_gib=memory)
    assert found.fewest * found.workers >= workers
    assert (found.fewest - 1) * found.workers < workers
    assert found.most * found.workers >= max(workers, most)
    assert found.workers * gpus <= found.gpus + 1e-6
    assert found.memory_gib >= found.workers * memory
