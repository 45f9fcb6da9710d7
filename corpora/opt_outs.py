"""Who does not want to be asked: a list of hosts, URL prefixes and image hashes, checked before anything is sent.

    # one entry a line; what follows a # is a remark
    example.com                         the host, and all hosts below it
    https://example.org/gallery/        every URL that begins so, with http or https
    sha256:9f86d0818...                 an image, wherever it is found

A host or prefix is checked before a request and at every redirect; a hash, which is known only when the bytes are here,
before they are kept.

Price: 1 us a URL; 120 bytes of memory an entry, in every worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import ConfigError, DataError
from .urls import Target, read_url

_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


@dataclass(frozen=True)
class OptOuts:
    """A parsed list. ``prefixes`` has for each host (with its port, where the URL has one) the rest of its prefixes."""

    hosts: frozenset[str] = frozenset()
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: frozenset[bytes] = frozenset()

    @classmethod
    def parse(cls, lines: Iterable[str], told: str = "fetch.opt_out") -> OptOuts:
        """Read a list.

        Raises:
            ConfigError: a line is neither a host, nor a URL, nor a SHA-256; a list that is half understood protects nobody.
        """
        hosts: set[str] = set()
        prefixes: dict[str, set[str]] = {}
        hashes: set[bytes] = set()
        for number, line in enumerate(lines, 1):
            entry = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
            try:
                if found := _HASH.fullmatch(entry):
                    hashes.add(bytes.fromhex(found[1]))
                elif "://" in entry:
                    place, path = _place(read_url(entry))
                    prefixes.setdefault(place, set()).add(path)
                elif entry:
                    hosts.add(_host(entry))
            except DataError as error:
                raise ConfigError(
                    f"{told}, line {number}: {entry[:100]!r} is neither a host, nor an http(s) URL, nor sha256:<64 hex digits>"
                ) from error
        return cls(
            frozenset(hosts), {place: tuple(sorted(paths)) for place, paths in prefixes.items()}, frozenset(hashes)
        )

    def names(self, target: Target) -> bool:
        """Whether this URL is not to be asked."""
        if self.hosts:
            host = target.host
            while host:
                if host in self.hosts:
                    return True
                host = host.partition(".")[2]
        if self.prefixes:
            place, path = _place(target)
            return path.startswith(self.prefixes.get(place, ()))
        return False

    def names_image(self, sha256: str) -> bool:
        """Whether the image with this hash is not to be kept."""
        return bool(self.hashes) and bytes.fromhex(sha256) in self.hashes


def _place(target: Target) -> tuple[str, str]:
    """A URL without its scheme: host and port, and what follows."""
    _, _, rest = target.url.partition("://")
    place, slash, path = rest.partition("/")
    return place, slash + path


def _host(entry: str) -> str:
    target = read_url(f"http://{entry.lstrip('*.')}/")
    if target.url.count("/") != 3 or target.port != 80:
        raise DataError("bad_url", f"{entry!r} is more than a host")
    return target.host
