"""Which words of a user's lists a text holds: toxicity, advertisement, sensitive words.

No list comes with the package. ``path`` names text files, a word or phrase a line; a line that begins with ``#`` is a
comment. Each file is a list, called by its name without the suffix, and has columns of its own.

Text and entries are brought to one form first, by the steps of ``normalise`` in this order, on a copy:

- ``width``: full-width Latin letters, digits and the ideographic space become narrow; Chinese punctuation stays.
- ``nfkc``: Unicode's compatibility form, which also undoes ligatures and joins half-width kana, and rewrites punctuation.
- ``simplified``: traditional Chinese characters become simplified ones (OpenCC t2s).
- ``case``: case folding.
- ``spaces``: runs of spaces and line feeds become one space.

An entry that begins or ends with a letter or digit counts there only where no further one follows: "ass" is not in
"class". Ideographs, kana, hangul and Thai, which do without spaces, match anywhere. Of entries that overlap, the leftmost
counts, and the longest of those that begin there, list by list.

Price: 55 us for 1,000 characters and 10,000 words (Aho-Corasick by ahocorasick_rs), half of it the form.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pyarrow as pa

from ..corpora.errors import ConfigError
from ..corpora.filesystems import files_at
from ..corpora.ranges import open_file
from .captions import text_of
from .conversion import narrowed, simplified
from .scorer import Column, Device, Needs, Sample, Scorer

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

Step = Literal["width", "nfkc", "simplified", "case", "spaces"]

MAX_FOUND = 20
"""Of the entries that were found, as many are told."""

MAX_ENTRY = 200
"""A longer entry, in characters, is most likely no word: the file is refused."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SPACES = re.compile(r"\s+")
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Words(Scorer):
    """Counts the words of lists."""

    path: str
    """A text file, or a glob of them."""

    normalise: tuple[Step, ...] = ("width", "case", "spaces")
    """The steps that text and entries take."""

    column: str = "caption"
    """The index column that is read."""

    places: ClassVar[frozenset[str]] = frozenset({"path"})

    def __post_init__(self) -> None:
        known = get_args(Step)
        if tuple(step for step in known if step in self.normalise) != self.normalise:
            raise ConfigError(f"words: normalise is {list(self.normalise)}; steps, in this order: {', '.join(known)}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Lines of the text, and four columns a list."""
        lines = Column("lines", pa.int32(), "lines", "lines that are not blank, to set hits in proportion")
        return lines, *(column for name in _lists(self.path) for column in _columns_of(name))

    @property
    def needs(self) -> Needs:
        """A text, no pixels."""
        return Needs(columns=(self.column,), extra="text")

    def model_digest(self) -> str:
        """SHA-256 over the lists' names and words, before any step, and the versions of the tables that the steps use."""
        digest = hashlib.sha256(f"Unicode {unicodedata.unidata_version}\n".encode())
        for name, entries in _lists(self.path).items():
            digest.update("\n".join([f"[{name}]", *entries, ""]).encode())
        if "simplified" in self.normalise:
            digest.update(f"OpenCC {version('OpenCC')}".encode())
        return digest.hexdigest()

    def setup(self, device: Device) -> None:
        """Build the automaton, once a process."""
        _finder(self.path, self.normalise)

    def prepare(self, sample: Sample) -> dict[str, Any]:
        """Measure one text: there is nothing to gain from a batch."""
        text = text_of(sample, self.column)
        finder = _finder(self.path, self.normalise)
        row: dict[str, Any] = {"lines": sum(1 for line in text.splitlines() if line.strip())}
        for name, hits in finder.find(normalised(text, self.normalise)).items():
            row |= hits.told(name)
        return row

    def score(self, batch: Sequence[dict[str, Any] | None], device: Device) -> Mapping[str, Sequence[Any]]:
        """Line the columns up."""
        return {c.name: [place[c.name] if place else None for place in batch] for c in self.columns}


def _columns_of(name: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_hits", pa.int32(), "occurrences", f"words of the list {name}, each time"),
        Column(f"{name}_words", pa.int32(), "words", f"distinct words of the list {name}"),
        Column(f"{name}_share", pa.float32(), "share", f"of the characters as compared, those in words of {name}"),
        Column(f"{name}_found", pa.list_(pa.string()), "", f"the words, by first appearance; at most {MAX_FOUND}"),
    )


def normalised(text: str, steps: Sequence[Step]) -> str:
    """A text as it is compared."""
    if "width" in steps:
        text = narrowed(text)
    if "nfkc" in steps:
        text = unicodedata.normalize("NFKC", text)
    if "simplified" in steps:
        text = simplified(text)
    if "case" in steps:
        text = text.casefold()
    return _SPACES.sub(" ", text) if "spaces" in steps else text


@dataclass(frozen=True)
class Hits:
    """What one list found in one text."""

    entries: tuple[str, ...]
    """Each time, by place."""
    covered: int
    """Characters in hits."""
    whole: int
    """Characters of the text."""

    def told(self, name: str) -> dict[str, Any]:
        """The columns of the list of that name."""
        distinct = list(dict.fromkeys(self.entries))
        return {
            f"{name}_hits": len(self.entries),
            f"{name}_words": len(distinct),
            f"{name}_share": self.covered / self.whole if self.whole else 0.0,
            f"{name}_found": distinct[:MAX_FOUND],
        }


class Finder:
    """All lists in one automaton."""

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        from ahocorasick_rs import AhoCorasick

        self._owners: dict[str, list[str]] = {}
        for name, entries in lists.items():
            for entry in dict.fromkeys(entries):
                self._owners.setdefault(entry, []).append(name)
        self._names = list(lists)
        self._entries = list(self._owners)
        self._automaton: AhoCorasick = AhoCorasick(self._entries)

    def find(self, text: str) -> dict[str, Hits]:
        """What each list finds in a text that has its form."""
        found: dict[str, list[str]] = {name: [] for name in self._names}
        free, covered = dict.fromkeys(self._names, 0), dict.fromkeys(self._names, 0)
        for start, end, entry in self._words(text):
            for name in self._owners[entry]:
                if start >= free[name]:
                    free[name] = end
                    covered[name] += end - start
                    found[name].append(entry)
        return {name: Hits(tuple(found[name]), covered[name], len(text)) for name in self._names}

    def _words(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Entries that stand as words, by their start, the longest first."""
        places = self._automaton.find_matches_as_indexes(text, overlapping=True)
        for _, start, end in sorted(places, key=lambda place: (place[1], -place[2])):
            if not (_joined(text, start) or _joined(text, end)):
                yield start, end, text[start:end]


def _joined(text: str, at: int) -> bool:
    """Whether the characters before and at a place belong to one word."""
    pair = text[max(at - 1, 0) : at + 1] if at else ""
    return len(pair) == 2 and pair[0].isalnum() and pair[1].isalnum() and not _SPACELESS.search(pair)


@functools.lru_cache(maxsize=8)
def _finder(path: str, steps: tuple[Step, ...]) -> Finder:
    return Finder({name: [normalised(e, steps) for e in entries] for name, entries in _lists(path).items()})


@functools.lru_cache(maxsize=8)
def _lists(path: str) -> dict[str, tuple[str, ...]]:
    """The entries of each list, by its name."""
    names = list(files_at(path))
    if not names:
        raise ConfigError(f"words: no file matches {path!r}; name a text file with a word a line, or a glob of them")
    lists: dict[str, tuple[str, ...]] = {}
    for file in names:
        name = file.rsplit("/", 1)[-1].split(".", 1)[0]
        if not _NAME.fullmatch(name) or name in lists:
            raise ConfigError(
                f"words: {file}: the file's name names the list; {name!r} must be a lower-case letter, then "
                "letters, digits and underscores, once"
            )
        with open_file(file) as opened:
            lists[name] = _entries(opened.read(), file)
    return lists


def _entries(encoded: bytes, file: str) -> tuple[str, ...]:
    try:
        lines = encoded.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"words: {file} is not UTF-8: {error}; convert it") from error
    entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not entries:
        raise ConfigError(f"words: {file} has no words; give one a line")
    long = [entry for entry in entries if len(entry) > MAX_ENTRY]
    if long:
        raise ConfigError(f"words: {file}: an entry of {len(long[0])} characters; one a line, at most {MAX_ENTRY}")
    return tuple(entries)
