"""What a response says against its use: ``X-Robots-Tag`` and ``tdm-reservation``, read off its headers.

``X-Robots-Tag: noai, noimageai`` speaks to everybody; ``X-Robots-Tag: somebot: noindex, nofollow`` to one crawler, up to
the next name in the same line. Several headers add up. It is the only wish that comes with the image itself, so it is
found after the request has been made; the body is then thrown away, and the reason is kept.

Price: 0.1 us a header line of a response, as long as there is nothing to obey.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

MAX_LINES = 32
"""Header lines of one response that are kept for judging."""

_HEEDED = (b"x-robots-tag:", b"tdm-reservation:")
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives with a value: what stands before their colon is no crawler's name."""

_NAME = re.compile(r"[a-z0-9_*-]+")


def is_heeded(line: bytes) -> bool:
    """Whether a raw header line may hold an objection."""
    return line[:1] in b"xXtT" and line[:16].lower().startswith(_HEEDED)


def objection(lines: Sequence[bytes], tags: Collection[str], tdm: bool, product: str) -> str | None:
    """Name the first wish that these header lines express and that is obeyed: one of ``tags``, or ``tdm_reserved``."""
    found: set[str] = set()
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "x-robots-tag":
            found |= set(_words(value, product))
        elif tdm and value.strip() == "1":
            return "tdm_reserved"
    if "none" in found:
        found |= {"noindex"}
    return next((tag for tag in tags if tag in found), None)


def _words(value: str, product: str) -> Iterator[str]:
    """The directives of one header that speak to everybody or to ``product``."""
    meant = True
    for part in value.lower().split(","):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        if colon and name not in _VALUED and _NAME.fullmatch(name):
            meant, name = name in {product, "*"}, rest
        if meant and name:
            yield name
