"""Who holds a lock: a process, named so that another one can tell whether it still lives.

On the same machine that is a look into ``/proc``: the process with this id is the holder if it also began at the same
moment. The machine is named by its boot and its process namespace, since containers on one host count processes apart.
Elsewhere, and without ``/proc``, nobody can say, and the holder's beats must.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

_PROC = Path("/proc")
_STARTED = 19
"""The place of a process's start in ``/proc/<pid>/stat``, counted from behind its name, which may hold blanks."""

_ENDED = frozenset("ZXx")
"""The states of a process that nobody has waited for yet."""

_COMMAND_LENGTH = 500


@dataclass(frozen=True)
class Holder:
    """A process that holds, or wants to hold, a lock; ``beats`` counts its signs of life."""

    id: str
    host: str
    machine: str
    process: int
    started: int
    command: str
    since: str
    beats: int = 0

    @property
    def is_here(self) -> bool:
        """Whether it ran where its process can be looked for."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_alive_here(self) -> bool:
        """Whether it is on this machine and still runs."""
        now = _started(self.process)
        return self.is_here and (now == self.started or (now is None and _is_hidden(self.process)))

    def beaten(self) -> Holder:
        """The same, after another sign of life."""
        return replace(self, beats=self.beats + 1)

    def encoded(self) -> bytes:
        """As JSON, a line a field, for people who look at a lock."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.process} on {self.host}, since {self.since})"


def myself() -> Holder:
    """This process."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Holder(
        secrets.token_hex(16),
        platform.node(),
        _machine(),
        os.getpid(),
        _started(os.getpid()) or 0,
        "".join(letter if letter.isprintable() else "?" for letter in command[:_COMMAND_LENGTH]),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def parse(data: bytes) -> Holder | None:
    """What ``Holder.encoded`` wrote; None for anything else, such as what would rewrite a terminal."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    fields = Holder.__annotations__
    if not isinstance(told, dict) or told.keys() != fields.keys():
        return None
    sound = all(type(value).__name__ == fields[name] and str(value).isprintable() for name, value in told.items())
    return Holder(**told) if sound else None


def _machine() -> str:
    """This boot of this machine, and the process namespace; empty where nobody says."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(process: int) -> int | None:
    """When a process began, in ticks since the boot; None for one that has ended, or that we may not look at."""
    try:
        told = (_PROC / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if told[0] in _ENDED else int(told[_STARTED])


def _is_hidden(process: int) -> bool:
    """Whether a process is there that ``/proc`` does not show to this user."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False
