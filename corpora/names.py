"""Host names looked up in many threads at once, each once, and remembered.

Looking names up is where crawls of the past lost images: thousands of dead names, each of which takes the system's
resolver ten seconds to give up, stood before the live ones. libcurl would look them up in 20 threads, 10 slow names a
second *(measured with 8.23: of 256 names that take a second each, 166 were never asked)*. Here slow names wait in
threads of their own, of which there may be hundreds, and hold no place that a transfer could use.

An answer is remembered for five minutes, a name that does not exist too; a resolver's passing trouble is not.
Price: 60 us a name with a local resolver, 1 us for one that is remembered; a thread takes 0.1 MB.
"""

from __future__ import annotations

import platform
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue

REMEMBERED_SECONDS = 300.0
REMEMBERED_NAMES = 100_000
PROBED_NAMES = 16


@dataclass(frozen=True)
class Found:
    """The addresses of a name, best first, or the ``reason`` why there are none: ``dns`` or ``dns_unavailable``."""

    addresses: tuple[str, ...]
    reason: str | None = None


class Names:
    """A resolver with a memory; all methods belong to one thread."""

    def __init__(self, num_threads: int, ring: Callable[[], None]) -> None:
        """Look up at most ``num_threads`` names at once; ``ring`` is called, in any thread, when there is an answer."""
        self._num_threads = num_threads
        self._ring = ring
        self._questions: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[str, Found]] = SimpleQueue()
        self._asked: set[str] = set()
        self._num_started = 0
        self._closing = threading.Event()
        self._known: dict[str, tuple[float, Found]] = {}

    def recall(self, host: str) -> Found | None:
        """Give what is remembered of a name."""
        until, found = self._known.get(host, (0.0, None))
        return found if until > time.monotonic() else None

    def ask(self, host: str) -> None:
        """Begin to look a name up, unless somebody already has."""
        if host in self._asked:
            return
        self._asked.add(host)
        self._questions.put(host)
        if self._num_started < min(self._num_threads, len(self._asked)):
            self._num_started += 1
            threading.Thread(target=self._work, name="tamis-names", daemon=True).start()

    def _work(self) -> None:
        while (host := self._questions.get()) is not None and not self._closing.is_set():
            self._answers.put((host, look_up(host)))
            self._ring()

    def answered(self) -> Iterator[tuple[str, Found]]:
        """Take what has been answered since the last call."""
        while True:
            try:
                host, found = self._answers.get_nowait()
            except Empty:
                return
            self._asked.discard(host)
            if found.reason != "dns_unavailable":
                self._known.pop(host, None)
                self._known[host] = time.monotonic() + REMEMBERED_SECONDS, found
            while len(self._known) > REMEMBERED_NAMES:
                del self._known[next(iter(self._known))]  # the oldest: a dict keeps the order of entry
            yield host, found

    def close(self) -> None:
        """Send the threads home; one that waits for the system's resolver goes when that gives up."""
        self._closing.set()
        for _ in range(self._num_started):
            self._questions.put(None)


def sick_resolver(hosts: Iterable[str]) -> str | None:
    """Say that no name can be looked up here at all, judged by the first ``PROBED_NAMES`` of ``hosts``; None when one can.

    A name that does not exist is an answer: only a resolver that answers nothing is sick.
    """
    probed = list(dict.fromkeys(islice(hosts, PROBED_NAMES)))
    if not probed:
        return None
    pool = ThreadPoolExecutor(len(probed), thread_name_prefix="tamis-names")
    try:
        answers = as_completed([pool.submit(look_up, host) for host in probed])
        if any(answer.result().reason != "dns_unavailable" for answer in answers):
            return None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # slow names need not be waited for
    return (
        f"no host name can be looked up on {platform.node()}: the system's resolver has no answer for {probed[0]} and "
        f"{len(probed) - 1} others; check /etc/resolv.conf and the network, then run again"
    )


def look_up(host: str) -> Found:
    """Ask the system's resolver, which takes as long as it is configured to."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return Found((), "dns_unavailable" if error.errno == socket.EAI_AGAIN else "dns")
    except OSError:  # of this machine, such as too many open files
        return Found((), "dns_unavailable")
    except UnicodeError:
        return Found((), "dns")
    return Found(tuple(dict.fromkeys(str(address[0]) for *_, address in found)))
