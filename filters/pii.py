"""Where a text holds personal data: e-mail, telephone, Chinese identity numbers, cards, addresses on the network, accounts.

Numbers are believed when they can be: an identity number by its province, date and check digit (which nine in ten random
runs of 18 digits fail), a card by its issuer's first digit and Luhn's sum, an IP address when it is public. QQ and WeChat
accounts are found behind their names only. Full-width digits are read as narrow ones. Of finds that overlap, the leftmost
counts, the longest of those that begin there.

``starts`` and ``ends`` count characters of the text. ``masked`` is the text with each find replaced by its kind, as
``<email>``; the caption itself stays as it is. Recall is that of patterns: names and postal addresses are not found.

Price: 10 us for a caption without a digit, 0.2 ms for 1,000 characters with some.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from ..corpora.errors import ConfigError
from .captions import text_of
from .conversion import narrowed
from .scorer import Column, Device, Needs, Sample, Scorer

Kind = Literal["email", "phone", "id_card", "bank_card", "ip", "qq", "wechat"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_MEANINGS: Mapping[Kind, str] = {
    "email": "e-mail addresses",
    "phone": "Chinese mobile and land lines, international and North American numbers",
    "id_card": "Chinese resident identity numbers of 18 characters with their check digit",
    "bank_card": "card numbers of 13 to 19 digits with Luhn's check digit",
    "ip": "public IPv4 and IPv6 addresses",
    "qq": "QQ numbers behind the name",
    "wechat": "WeChat accounts behind the name",
}


@dataclass(frozen=True)
class Find:
    """One piece of personal data: characters ``start`` to ``end`` of the text."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True)
class Pii(Scorer):
    """Finds personal data by patterns and check digits."""

    kinds: tuple[Kind, ...] = KINDS
    """What is looked for."""

    column: str = "caption"
    """The index column that is read."""

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"pii: kinds is {list(self.kinds)}; name each once, of: {', '.join(KINDS)}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Where the finds are, how many of each kind, and the text without them."""
        return (
            Column("found", pa.list_(pa.string()), "", "the kind of each find, in the order of the text"),
            Column("starts", pa.list_(pa.int32()), "characters", "where each find begins"),
            Column("ends", pa.list_(pa.int32()), "characters", "where each find ends, exclusive"),
            Column("total", pa.int32(), "finds", "the length of found"),
            *(Column(kind, pa.int32(), "finds", _MEANINGS[kind]) for kind in self.kinds),
            Column(
                "masked", pa.string(), "", "the text with finds replaced by their kinds; null where nothing was found"
            ),
        )

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,))

    def prepare(self, sample: Sample) -> dict[str, Any]:
        """Search one text: there is nothing to gain from a batch."""
        text = text_of(sample, self.column)
        finds = find(text, self.kinds)
        found = [one.kind for one in finds]
        return {
            "found": found,
            "starts": [one.start for one in finds],
            "ends": [one.end for one in finds],
            "total": len(finds),
            **{kind: found.count(kind) for kind in self.kinds},
            "masked": masked(text, finds) if finds else None,
        }

    def score(self, batch: Sequence[dict[str, Any] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {c.name: [place[c.name] if place else None for place in batch] for c in self.columns}


def find(text: str, kinds: Sequence[Kind] = KINDS) -> list[Find]:
    """The personal data of a text, in order, none overlapping another."""
    narrow = narrowed(text)  # character for character, so that places stay
    candidates = sorted(_candidates(narrow, kinds), key=lambda one: (one.start, -one.end, KINDS.index(one.kind)))
    finds: list[Find] = []
    for one in candidates:
        if not finds or one.start >= finds[-1].end:
            finds.append(one)
    return finds


def masked(text: str, finds: Sequence[Find]) -> str:
    """The text with each find replaced by its kind in angle brackets."""
    parts, at = [], 0
    for one in finds:
        parts += [text[at : one.start], f"<{one.kind}>"]
        at = one.end
    return "".join([*parts, text[at:]])


def _candidates(text: str, kinds: Sequence[Kind]) -> Iterator[Find]:
    has_digit = bool(re.search("[0-9]", text))
    for pattern in _PATTERNS:
        possible = any(hint in text for hint in pattern.hints) if pattern.hints else has_digit
        if pattern.kind not in kinds or not possible:
            continue
        for match in pattern.compiled.finditer(text):
            if pattern.believed(match["found"]):
                yield Find(match.start("found"), match.end("found"), pattern.kind)


@dataclass(frozen=True)
class _Pattern:
    """A regular expression with a group ``found``, a check, and what it needs one of to occur at all: by default a digit."""

    kind: Kind
    compiled: re.Pattern[str]
    believed: Callable[[str], bool]
    hints: tuple[str, ...] = ()


def _digits(found: str) -> str:
    return "".join(filter(str.isdigit, found))


def _is_anything(found: str) -> bool:
    return True


def _is_international(found: str) -> bool:
    return 8 <= len(_digits(found)) <= 15  # ITU-T E.164


_PROVINCES = {*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66)} | {
    71,
    81,
    82,
    83,
}
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_id_card(found: str) -> bool:
    """Whether 18 characters are a resident identity number (GB 11643-1999): province, date of birth and check digit."""
    try:
        born = datetime.date(int(found[6:10]), int(found[10:12]), int(found[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, found[:17], strict=True))
    return int(found[:2]) in _PROVINCES and 1850 <= born.year <= 2100 and "10X98765432"[total % 11] == found[17].upper()


def is_bank_card(found: str) -> bool:
    """Whether digits are a card number: an issuer of payment cards and Luhn's sum (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in _digits(found)]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return digits[0] in range(2, 7) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def is_public_address(found: str) -> bool:
    """Whether it is an IP address that a person's machine could have in public."""
    try:
        return ipaddress.ip_address(found).is_global
    except ValueError:
        return False


def _pattern(
    kind: Kind, expression: str, believed: Callable[[str], bool] = _is_anything, hints: tuple[str, ...] = ()
) -> _Pattern:
    # ASCII: a Chinese character beside an address is no part of it, and digits are 0 to 9.
    return _Pattern(kind, re.compile(expression, re.ASCII | re.IGNORECASE), believed, hints)


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_BEHIND = r"(?:号码|号|群|id)?\s{0,3}[:：]?\s{0,3}"

_PATTERNS = (
    _pattern(
        "email",
        r"(?<![\w.%+-])(?P<found>[a-z0-9][\w.%+-]{0,63}@(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}[a-z]{2,24})(?![\w@-])",
        hints=("@",),
    ),
    _pattern("phone", r"(?<![0-9])(?P<found>(?:\+?86[- ]?)?1[3-9][0-9]([- ]?)[0-9]{4}\2[0-9]{4})(?![0-9])"),
    _pattern(
        "phone",
        r"(?<![0-9])(?P<found>(?:\+?86[- ]?)?(?:\(0[1-9][0-9]{1,2}\) ?|0[1-9][0-9]{1,2}[- ])[2-9][0-9]{6,7})(?![0-9])",
    ),
    _pattern(
        "phone",
        r"(?<![\w+])(?P<found>\+[1-9][0-9]{0,2}(?:[ .()-]{0,2}[0-9]{1,4}){2,6})(?![0-9])",
        _is_international,
        ("+",),
    ),
    _pattern(
        "phone", r"(?<![\w.-])(?P<found>(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4})(?![\w-])"
    ),
    _pattern("id_card", r"(?<![0-9])(?P<found>[1-8][0-9]{16}[0-9x])(?![0-9a-z])", is_id_card),
    _pattern("bank_card", r"(?<![0-9.,-])(?P<found>[2-6][0-9]{12,18})(?![0-9])", is_bank_card),
    _pattern(
        "bank_card",
        r"(?<![0-9.,-])(?P<found>[2-6][0-9]{3}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{3})?)(?![ -]?[0-9])",
        is_bank_card,
    ),
    _pattern("ip", rf"(?<![\w.])(?P<found>(?:{_OCTET}\.){{3}}{_OCTET})(?![\w]|\.[0-9])", is_public_address, (".",)),
    _pattern("ip", r"(?<![\w:.])(?P<found>(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})(?![\w:])", is_public_address, (":",)),
    _pattern("qq", rf"(?<![a-z])(?:qq|扣扣){_BEHIND}(?P<found>[1-9][0-9]{{4,10}})(?![0-9])"),
    _pattern(
        "wechat",
        r"(?<![a-z])(?:微信|weixin|wechat|vx|v信) ?(?:号码|号|id)?\s{0,3}[:：]\s{0,3}(?P<found>[a-z][\w-]{5,19})(?![\w-])",
        hints=(":", "："),
    ),
)
