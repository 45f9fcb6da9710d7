"""From a recipe's engine block to the hosts that it asks a cluster for: pods, executors or Slurm tasks, all alike.

A host holds the workers that share one accelerator, so that a fraction of a GPU is never asked of a cluster that hands
out whole ones; without a GPU, or with whole ones, a host is one worker. Price: none; this is arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ...pipelines.recipe import EngineBlock

WORKER_GIB = 4
"""What a worker's libraries, models and decoded images may take; CLIP ViT-L/14 in fp32 is 1.6 GiB of it."""


@dataclass(frozen=True)
class Hosts:
    """What one host offers, how many workers live on it, and how many hosts there are, at least and at most."""

    workers: int
    cpus: int
    gpus: int
    memory_gib: int
    custom: Mapping[str, int]
    fewest: int
    most: int

    @classmethod
    def of(cls, block: EngineBlock) -> Self:
        """The hosts for a block; whole numbers, rounded up, since clusters hand out nothing else."""
        most = max(block.workers, block.max_workers or block.workers)
        shared = 0 < block.gpus_per_worker < 1
        share = int(min(1 / block.gpus_per_worker, most)) if shared else 1
        return cls(
            workers=share,
            cpus=share * block.threads,
            gpus=math.ceil(block.gpus_per_worker),
            memory_gib=math.ceil(share * (WORKER_GIB + block.memory_gib)),
            custom={name: math.ceil(share * amount) for name, amount in block.resources.items()},
            fewest=math.ceil(block.workers / share),
            most=math.ceil(most / share),
        )
