"""What a source gives, and how a record gets its name.

A uid is 128 bits of SHA-256 over length-prefixed parts, so that no two different (domain, name, caption) triples can run
together into the same bytes. It is computed once, at ingest, and is opaque from then on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

UID_HEX_DIGITS = 32


@dataclass(frozen=True)
class Record:
    """An image that a list names: where it is, what is said of it, and the source's own columns."""

    url: str
    captions: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The first caption, or the empty string."""
        return self.captions[0] if self.captions else ""

    @property
    def uid(self) -> str:
        """The uid of a record that is known by its URL."""
        return uid_of("url", self.url, self.caption)


def uid_of(domain: Literal["url", "image"], name: str, caption: str) -> str:
    """Name a record: ``name`` is its URL, or the SHA-256 (hex) of its image when it has none.

    >>> uid_of("url", "http://a/1.jpg", "a cat") == uid_of("url", "http://a/1.jpga", " cat")
    False
    """
    digest = hashlib.sha256()
    for part in (f"tamis.{domain}", name, caption):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:UID_HEX_DIGITS]


class ListSource(Protocol):
    """A list of URLs to be asked for, read in bounded memory."""

    def schema(self) -> pa.Schema:
        """The source columns that it keeps, without the ``source.`` prefix."""

    def fingerprint(self) -> str:
        """A digest of everything that decides its records."""

    def records(self) -> Iterator[Record]:
        """The records in list order."""
