"""The demo's list: some 1,500 requests whose truth is known, so that a run can be measured and not only admired.

Every kind of trouble that a crawl meets is planted in a known number: captions that fit, that belong to another picture
or that are read off the picture; copies; icons; servers that fail, stall, lie and redirect; files that are broken or
dangerous. All is a function of the seed, request by request; nothing is drawn here. Price: about 50 us a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...corpora.drawn.fonts import find_fonts
from ...corpora.drawn.posters import Poster, random_poster
from ...corpora.drawn.scenes import Scene, describe, other_caption, random_scene
from ...corpora.drawn.signs import random_sign
from .bodies import Body, Damage, Format, Photograph, Picture
from .photographs import CAPTIONS

Kind = Literal[
    "scene",
    "mismatched",
    "photograph",
    "poster",
    "sign",
    "copy",
    "variant",
    "icon",
    "mislabelled",
    "odd_caption",
    "repeat",
    "redirect",
    "slow",
    "missing",
    "refused",
    "hanging",
    "short",
    "cut",
    "page",
    "internal",
    "bomb",
]

COUNTS: dict[Kind, int] = {
    "mismatched": 150,
    "photograph": 150,
    "poster": 250,
    "sign": 170,
    "copy": 108,
    "variant": 60,
    "icon": 30,
    "mislabelled": 16,
    "odd_caption": 26,
    "repeat": 10,
    "redirect": 24,
    "slow": 16,
    "missing": 24,
    "refused": 10,
    "hanging": 6,
    "short": 12,
    "cut": 14,
    "page": 14,
    "internal": 3,
    "bomb": 2,
}
"""About how many of each kind are in 1,500 requests (groups are kept whole); matching scenes fill the list."""

Reply = Literal["whole", "slow", "hang", "short", "missing", "refuse", "redirect", "internal"]
"""What the server does: the body; the body in drips; nothing, or half, and then silence; half of what its header
says; a 404; not even a connection; a 301 or 302 to another of its pages; one to a cloud's metadata address."""

Outcome = Literal[
    "ok",
    "http_404",
    "connection_refused",
    "timeout",
    "truncated",
    "html",
    "blocked_address",
    "too_many_pixels",
    "duplicate_uid",
]
"""What must become of the request: a sample, or a failure with this reason."""

CLOSED_PORT = 1  # tcpmux: nothing listens there, so a connection is refused at once
CHINESE_SHARE = 0.15  # of the posters, where a font is at hand
FEWEST = 60  # requests, so that every kind is there
_FULL_LIST = 1500
_FORMAT_SHARES = (0.8, 0.07, 0.08, 0.05)  # of jpeg, png, webp, gif

ODD_CAPTIONS = (
    "<script>window.injected = 1</script>",
    '"><img src=x onerror="window.injected = 1">',
    "</script></style></td></table><h1 onmouseover='window.injected = 1'>a heading</h1>",
    "'; DROP TABLE samples; --",
    "{{ 7 * 7 }} ${7 * 7} %(name)s %s {0}",
    'commas, "quotes", tabs\tand\nnew lines\r\n, back\\slashes',
    "a caption without an end " * 200,
    "两个彩色的图形",
    "두 개의 도형과 배경",
    "две фигуры на цветном фоне",
    "شكلان ملونان على خلفية",
    "🔺🔵 deux formes colorées, ça va ? 👩‍👩‍👧‍👦",
    "e\u0301te\u0301 \u202eright to left\u202c zero\u200bwidth \ufeffmark",
)
"""Captions that break what escapes, splits or encodes carelessly; a page that runs one sets ``window.injected``."""


@dataclass(frozen=True)
class Planted:
    """One request and its truth.

    ``target`` is the path that a redirect leads to. ``honest``: the caption says what is seen and nothing that is
    written. ``matched``: whether the caption fits; None for everything but plain scenes. Requests of one
    ``copy_group`` give equal bytes; those of one ``near_group`` show the same picture.
    """

    index: int
    kind: Kind
    site: str
    path: str
    caption: str
    body: Body
    reply: Reply = "whole"
    content_type: str = ""
    target: str = ""
    outcome: Outcome = "ok"
    is_parrot: bool = False
    honest: bool = True
    matched: bool | None = None
    copy_group: str | None = None
    near_group: str | None = None

    @property
    def broken(self) -> bool:
        """Whether an export must never contain it."""
        return self.outcome not in {"ok", "duplicate_uid"}

    def url(self, base_url: str) -> str:
        """The URL that the list gives, on the server at ``base_url`` unless nobody is to answer."""
        return f"http://127.0.0.1:{CLOSED_PORT}{self.path}" if self.reply == "refuse" else base_url + self.path


_FAULTS: dict[Kind, tuple[Reply, Damage, Outcome]] = {
    "missing": ("missing", "none", "http_404"),
    "refused": ("refuse", "none", "connection_refused"),
    "hanging": ("hang", "none", "timeout"),
    "short": ("short", "none", "truncated"),
    "cut": ("whole", "cut", "truncated"),
    "page": ("whole", "html", "html"),
    "internal": ("internal", "none", "blocked_address"),
    "bomb": ("whole", "bomb", "too_many_pixels"),
}


def plant(seed: int, size: int = _FULL_LIST) -> list[Planted]:
    """Plan a list of ``size`` requests, in a shuffled order; ``index`` is the order in which they were planned.

    Raises:
        ValueError: ``size`` is below ``FEWEST``.
        ConfigError: the fonts for posters are not there.
    """
    if size < FEWEST:
        raise ValueError(f"a list of {size} has no room for every kind of request: plant {FEWEST} or more")
    chinese = CHINESE_SHARE if find_fonts().chinese else 0.0
    planted: list[Planted] = []
    for kind, members in _groups(size):
        first = len(planted)
        rng = np.random.default_rng([seed, first, 1])
        base = _content(kind, (seed, first), chinese, rng)
        planted += [_member(kind, base, first, member, rng) for member in range(members)]
    return [planted[place] for place in np.random.default_rng([seed, size]).permutation(len(planted))]


def _groups(size: int) -> Iterator[tuple[Kind, int]]:
    """The kinds in turn, with the number of requests that share one picture."""
    members: dict[Kind, tuple[int, ...]] = {"copy": (2, 3, 4), "variant": (3,), "repeat": (2,)}
    left = size
    for kind, count in COUNTS.items():
        due, turn = max(1, round(count * size / _FULL_LIST)), 0
        while due > 0:
            together = members.get(kind, (1,))[turn % len(members.get(kind, (1,)))]
            yield kind, together
            due, left, turn = due - together, left - together, turn + 1
    for _ in range(left):
        yield "scene", 1


def _content(kind: Kind, seed: tuple[int, int], chinese: float, rng: np.random.Generator) -> Planted:
    """A request for what is to be seen under a kind, all well with it: for most kinds a mixture of everything."""
    mixture = ("scene", "scene", "scene", "photograph", "poster", "sign")
    fixed = {"mismatched": "scene", "icon": "scene", "odd_caption": "scene"}
    seen = kind if kind in mixture else fixed.get(kind) or mixture[int(rng.integers(len(mixture)))]
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    match seen:
        case "poster":
            poster = random_poster(rng, "zh" if rng.random() < chinese else "en")
            picture, site = Picture(poster, max(width, 240), max(height, 240), seed), "poster"
        case "photograph":
            picture, site = Picture(_photograph(rng), width, height, seed), "photo"
        case "sign":  # upright: the board then lies outside the central square, where the figures are
            subject = random_scene(rng) if rng.random() < 0.7 else _photograph(rng)
            picture, site = Picture(subject, 260 + width // 10, 340 + height // 7, seed, random_sign(rng)), "sign"
        case _:
            picture, site = Picture(random_scene(rng), width, height, seed), "drawn"
    return Planted(
        index=seed[1],
        kind=kind,
        site=site,
        path="",
        caption=_caption(picture, rng),
        body=Body(picture, _format(rng), int(rng.integers(30, 96))),
        is_parrot=seen == "poster",
        honest=seen != "poster",
        matched=True if seen == "scene" else None,
    )


def _photograph(rng: np.random.Generator) -> Photograph:
    return Photograph(list(CAPTIONS)[int(rng.integers(len(CAPTIONS)))])


def _format(rng: np.random.Generator) -> Format:
    formats: tuple[Format, ...] = get_args(Format)
    return formats[int(rng.choice(len(formats), p=_FORMAT_SHARES))]


def _caption(picture: Picture, rng: np.random.Generator) -> str:
    """One way of saying what is seen (or, of a poster, what is read)."""
    match picture.subject:
        case Scene():
            return describe(picture.subject, rng)
        case Poster():
            return picture.subject.caption
        case Photograph():
            return CAPTIONS[picture.subject.name][int(rng.integers(2))]


def _member(kind: Kind, base: Planted, first: int, member: int, rng: np.random.Generator) -> Planted:
    """The request number ``first`` + ``member``, one of those that share the picture of ``base``."""
    index = first + member
    extension = "jpg" if base.body.format == "jpeg" else base.body.format
    one = replace(base, index=index, path=f"/{base.site}/{index:05d}.{extension}")
    if kind in _FAULTS:
        return _faulty(one, kind)
    match kind:
        case "mismatched":
            assert isinstance(base.body.picture.subject, Scene)
            return replace(one, caption=other_caption(base.body.picture.subject, rng), honest=False, matched=False)
        case "copy":
            group = f"copy-{first:05d}"
            path = f"/mirror{member}{one.path}"
            return replace(one, path=path, caption=_caption(base.body.picture, rng), copy_group=group, near_group=group)
        case "variant":
            body, path = _variant(base.body, member, rng), f"{one.path}?size={member}&v=2"
            return replace(
                one, path=path, body=body, caption=_caption(base.body.picture, rng), near_group=f"near-{first:05d}"
            )
        case "icon":
            side_px = int(rng.integers(16, 49))
            picture = replace(base.body.picture, width=240, height=240)
            return replace(one, body=replace(base.body, picture=picture, scale=side_px / 240), matched=None)
        case "mislabelled":
            return replace(one, content_type=("text/html", "application/octet-stream")[index % 2])
        case "odd_caption":
            return replace(one, caption=ODD_CAPTIONS[index % len(ODD_CAPTIONS)], honest=False, matched=None)
        case "repeat":
            same = replace(base, index=index, path=f"/{base.site}/{first:05d}.{extension}")
            return replace(same, outcome="duplicate_uid") if member else same
        case "redirect":
            return replace(one, path=f"/moved{one.path}", target=one.path, reply="redirect")
        case "slow":
            return replace(one, reply="slow")
    return one


def _faulty(one: Planted, kind: Kind) -> Planted:
    reply, damage, outcome = _FAULTS[kind]
    body = replace(one.body, damage=damage, format="png" if kind == "bomb" else "jpeg")
    path = one.path.rsplit(".", 1)[0] + (".png" if kind == "bomb" else ".jpg")
    return replace(one, path=path, body=body, reply=reply, outcome=outcome, is_parrot=False, honest=False, matched=None)


def _variant(body: Body, member: int, rng: np.random.Generator) -> Body:
    """The picture as it is; written once more at a low quality; made smaller."""
    worse = replace(body, format="jpeg", quality=int(rng.integers(30, 50)))
    return (body, worse, replace(body, scale=float(rng.uniform(0.6, 0.85))))[member]


def write_list(planted: Sequence[Planted], base_url: str, path: Path) -> None:
    """Write the list as LAION does: parquet with URL and TEXT, and the columns ``site`` and ``id`` besides."""
    rows = [{"URL": p.url(base_url), "TEXT": p.caption, "site": p.site, "id": p.index} for p in planted]
    schema = pa.schema([("URL", pa.string()), ("TEXT", pa.string()), ("site", pa.string()), ("id", pa.int64())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
