"""Text from outside as a page may show it: clipped, and without characters that steer a display.

Escaping is the template's work and is always on; this removes what escaping leaves: control characters, halves of
surrogate pairs, and the marks that turn the direction of what follows them. Joiners stay, for scripts need them.
"""

from __future__ import annotations

import re

CAPTION_CHARACTERS = 240
URL_CHARACTERS = 160
WORD_CHARACTERS = 40

_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_SPACE = re.compile(r"\s+")


def plain(text: object, most: int = CAPTION_CHARACTERS) -> str:
    """At most ``most`` characters of a text, spaces run together.

    >>> plain("a \\n b\\u202ec" + "d" * 9, 8)
    'a b\\ufffdcdd…'
    """
    cut = _SPACE.sub(" ", str(text)[: 4 * most]).strip()  # runs of spaces are cut before they are counted
    cut = _STEERING.sub("\ufffd", cut)
    return cut if len(cut) <= most and len(str(text)) <= 4 * most else cut[: most - 1] + "…"
