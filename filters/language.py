"""What language a text is in: by its script where that settles it, else by CLD2; ``und`` where neither can tell.

1. If at least ``CJK_SHARE`` of the letters are Han, kana or hangul, these decide. Kana make it Japanese, and so do Han
   characters that only Japan writes so, for its headlines may lack kana; hangul make it Korean; the rest is Chinese.
2. Otherwise CLD2 (Sites, Compact Language Detector 2, 2013). What it finds without its best-effort mode is ``reliable``.
3. Of shorter text it then makes a best effort, which is right in 77 % of English texts of 5 characters, 87 % of 10 and
   97 % of 20: ``reliable`` is false, and criteria choose what to believe.

Short Chinese, which general detectors lose, is thus found at any length. A text of Han alone that is Japanese, with
neither kana nor a character of its own, counts as Chinese. Only the first ``MAX_CHARACTERS`` are read.

Price: 12 us for a caption, 0.12 ms for 1,000 characters (benchmarks/language.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pyarrow as pa

from .captions import text_of
from .conversion import simplified
from .scorer import Column, Device, Needs, Sample, Scorer
from .writing import SCRIPTS, script_counts

MAX_CHARACTERS = 20_000
"""Of a text, as many characters are read."""

CJK_SHARE = 0.2
"""From this share of the letters on, Han, kana and hangul decide: a Latin name is longer than a Chinese one."""

KANA_SHARE = 0.1
"""Of Han and kana; a Chinese text that quotes a Japanese word stays below."""

HANGUL_SHARE = 0.3
"""Of Han, kana and hangul."""

JAPANESE_HAN_SHARE = 0.05
"""Of Han characters, those in forms that neither Chinese orthography has: one in a headline, more in a text."""

UNDETERMINED = "und"

JAPANESE_HAN = frozenset(
    "込働畑峠辻駅円図広気読売続桜発対県沢恵価団伝応経済関険験検剣権観歓帰戦専単弾鉄転様実変辺営栄楽薬総絵仮拡覚顔渋譲醸縄"
    "浄雑歯児収縦処奨焼摂銭繊騒増蔵臓帯択遅庁徴聴稲闘徳悩脳拝廃髪抜訳頼覧両霊齢暦歴錬労壱弐"
)
"""Han in the form of Japan's reform of 1946, or made there, where both Chinese orthographies write another."""

_RENAMED = {"un": UNDETERMINED, "zh-Hant": "zh", "iw": "he", "jw": "jv", "in": "id", "ji": "yi", "mo": "ro"}
"""CLD2's codes that are none of ISO 639-1, or say more than the language."""

_NOT_INTERCHANGED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
"""What CLD2 refuses a whole text for."""

_SHARES = (
    Column("han", pa.float32(), "share", "of the letters, those that are Han characters"),
    Column("kana", pa.float32(), "share", "hiragana and katakana"),
    *(Column(name, pa.float32(), "share", f"{name.capitalize()} letters") for name in SCRIPTS[3:-1]),
    Column("other", pa.float32(), "share", "letters of all further scripts"),
)

_COLUMNS = (
    Column("language", pa.string(), "ISO 639 code", "the language of most of the text; und: undetermined"),
    Column("reliable", pa.bool_(), "", "whether the script or CLD2 is sure; false: a best effort, or und"),
    Column("confidence", pa.float32(), "share", "how much of the text speaks for it: of letters, or of CLD2's bytes"),
    Column("by", pa.string(), "", "what told the language: script, cld2, or null for und"),
    Column("letters", pa.int32(), "characters", "letters and their marks"),
    *_SHARES,
    Column("traditional", pa.float32(), "share", "of Han, those that a conversion to simplified Chinese changes"),
)


@dataclass(frozen=True)
class Found:
    """A language with what speaks for it."""

    language: str
    reliable: bool
    confidence: float
    by: str | None


@dataclass(frozen=True)
class Language(Scorer):
    """Tells the language and the scripts of a text; shares are null for a text without letters."""

    column: str = "caption"
    """The index column that is read."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The language, what speaks for it, and the scripts."""
        return _COLUMNS

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,), extra="text")

    def model_digest(self) -> str:
        """SHA-256 over the table of scripts and the versions of CLD2's and OpenCC's tables."""
        digest = hashlib.sha256((files(__package__) / "scripts.txt").read_bytes())
        digest.update(f"pycld2 {version('pycld2')} OpenCC {version('OpenCC')}".encode())
        return digest.hexdigest()

    def prepare(self, sample: Sample) -> dict[str, Any]:
        """Measure one text: there is nothing to gain from a batch."""
        text = text_of(sample, self.column)[:MAX_CHARACTERS]
        counts = dict(zip(SCRIPTS, script_counts(text).tolist(), strict=True))
        letters = sum(counts.values())
        counts["kana"] = counts["hiragana"] + counts["katakana"]
        shares = {share.name: counts[share.name] / letters if letters else None for share in _SHARES}
        traditional = _traditional(text, counts["han"]) if counts["han"] else None
        return {**_told(detect(text, counts)), "letters": letters, **shares, "traditional": traditional}

    def score(self, batch: Sequence[dict[str, Any] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {column.name: [place[column.name] if place else None for place in batch] for column in _COLUMNS}


def _told(found: Found) -> dict[str, Any]:
    return {
        "language": found.language,
        "reliable": found.reliable,
        "confidence": found.confidence,
        "by": found.by,
    }


def detect(text: str, counts: Mapping[str, int]) -> Found:
    """The language of a text whose letters by script are ``counts`` (with ``kana`` for both)."""
    letters = sum(counts[script] for script in SCRIPTS)
    if not letters:
        return Found(UNDETERMINED, False, 0.0, None)
    cjk = counts["han"] + counts["kana"] + counts["hangul"]
    if cjk >= CJK_SHARE * letters:
        return Found(_cjk_language(text, counts), True, cjk / letters, "script")
    return _by_cld2(text)


def _cjk_language(text: str, counts: Mapping[str, int]) -> str:
    han, kana, hangul = counts["han"], counts["kana"], counts["hangul"]
    if hangul >= HANGUL_SHARE * (han + kana + hangul):
        return "ko"
    if kana >= KANA_SHARE * (han + kana):
        return "ja"
    return "ja" if sum(c in JAPANESE_HAN for c in text) > JAPANESE_HAN_SHARE * han else "zh"


def _by_cld2(text: str) -> Found:
    import pycld2

    encoded = _NOT_INTERCHANGED.sub(" ", text).encode()
    for best_effort in (False, True):
        sure, _, found = pycld2.detect(encoded, isPlainText=True, bestEffort=best_effort)
        _, code, percent, _ = found[0]
        language = _RENAMED.get(code, code)
        if language != UNDETERMINED and not code.startswith("xx"):  # xx-Copt and the like name a script
            return Found(language, sure and not best_effort, percent / 100, "cld2")
    return Found(UNDETERMINED, False, 0.0, None)


def _traditional(text: str, han: int) -> float:
    """The share of ``han`` characters that OpenCC's t2s changes, phrase by phrase."""
    converted = simplified(text)
    if len(converted) != len(text):  # a phrase that changes its length: rare, and one by one as good
        converted = "".join(map(simplified, text))
    return sum(a != b for a, b in zip(text, converted, strict=False)) / han
