"""GPU slots: none is used twice, each process finds one, and whoever ends gives back what it had."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tamis.corpora.errors import ShardError
from tamis.jobs.engines.leases import Slots

HOLDER = """
import sys, time
from pathlib import Path
from tamis.jobs.engines.leases import Slots
lease = Slots(Path(sys.argv[1]), float(sys.argv[2])).claim()
print(",".join(lease.addresses), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("gpus", "addresses", "expected"),
    [
        (1.0, ["0", "GPU-5f/1"], [["0"], ["GPU-5f/1"]]),
        (0.5, ["0", "1"], [["0"], ["1"], ["0"], ["1"]]),
        (0.1, ["7"], [["7"]] * 10),
        (0.4, ["7"], [["7"]] * 2),
        (2.0, ["3", "4", "5", "6"], [["3", "4"], ["5", "6"]]),
    ],
)
def test_as_many_find_a_slot_as_the_gpus_hold(
    gpus: float, addresses: list[str], expected: list[list[str]], tmp_path: Path
) -> None:
    slots = Slots(tmp_path / "slots", gpus)
    slots.offer(addresses)
    leases = [slots.claim(0) for _ in expected]
    assert [lease.addresses for lease in leases] == expected
    with pytest.raises(ShardError, match=f"no GPU came free in 0 s: other processes hold {', '.join(addresses)}"):
        slots.claim(0)
    leases[1 % len(leases)].held.close()
    assert slots.claim(0).addresses == expected[1 % len(leases)]


def test_too_few_slots_are_not_half_taken(tmp_path: Path) -> None:
    Slots(tmp_path, 2.0).offer(["0", "1", "2"])
    first = Slots(tmp_path, 2.0).claim(0)
    with pytest.raises(ShardError):
        Slots(tmp_path, 2.0).claim(0)
    assert Slots(tmp_path, 1.0).claim(0).addresses == ["2"]
    first.held.close()


def test_what_other_tasks_were_given_is_open_to_all(tmp_path: Path) -> None:
    """A process serves a task with another address than its own; the next process comes with that address."""
    slots = Slots(tmp_path, 1.0)
    slots.offer(["0"])
    first = slots.claim(0)
    slots.offer(["1"])
    slots.offer(["0"])
    assert slots.claim(0).addresses == ["1"]
    assert first.addresses == ["0"]


def test_a_process_that_dies_gives_back_what_it_had(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 0.5)
    slots.offer(["0"])
    command = [sys.executable, "-c", HOLDER, str(tmp_path), "0.5"]
    holders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        told = Counter(holder.stdout.readline().strip() for holder in holders if holder.stdout)
        assert told == {"0": 2}
        with pytest.raises(ShardError):
            slots.claim(0)
        holders[0].send_signal(signal.SIGKILL)
        assert slots.claim(60).addresses == ["0"]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
