"""A profile: which measures are columns, which bounds were published for them, and which bounds make a policy.

    about: where the rules and their bounds come from
    columns:
      words: words                                   # a measure without options
      top_2_gram: {measure: top_gram, n: 2}          # one with options; `meaning:` says it in other words
    criteria:
      enough_words: {words: [50, 100000]}            # least and most, both allowed; null is no bound
    policies:
      gopher: [enough_words]                         # criteria that must all hold, or policies above

Profiles of this package are YAML files beside this module; a user's own is named by its path. Its digest is over what
it says, not over its layout or comments.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ...corpora.errors import ConfigError
from .measure import Measure
from .measures import build_measure

RESERVED = frozenset({"failed", "error", "uid"})

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Bound = Annotated[float, Field(allow_inf_nan=False)] | None


class _File(BaseModel):
    """A profile as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    columns: dict[Name, Name | dict[str, Any]]
    criteria: dict[Name, dict[Name, tuple[Bound, Bound]]] = {}
    policies: dict[Name, tuple[Name, ...]] = {}


@dataclass(frozen=True)
class Bounds:
    """A published rule: a column and the values that pass, both ends included."""

    column: str
    least: float | None
    most: float | None

    def holds(self, value: float | None) -> bool | None:
        """Whether a value passes; None for a value that could not be measured."""
        if value is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def sql(self, score: str) -> str:
        """The rule as a criterion of a recipe, for the score of that name."""
        sides = [(">=", self.least), ("<=", self.most)]
        return " and ".join(f"{score}.{self.column} {sign} {bound:.15g}" for sign, bound in sides if bound is not None)


@dataclass(frozen=True)
class Profile:
    """Named measures, and what was published about them."""

    name: str
    about: str
    measures: Mapping[str, Measure]
    meanings: Mapping[str, str]
    criteria: Mapping[str, Bounds]
    policies: Mapping[str, tuple[str, ...]]
    """Each with the names of its criteria."""
    digest: str

    def recipe(self, score: str) -> dict[str, dict[str, str]]:
        """The published rules as ``criteria`` and ``policies`` of a recipe, for the score of that name."""
        criteria = {name: bounds.sql(score) for name, bounds in self.criteria.items()}
        return {"criteria": criteria, "policies": {name: " and ".join(all_) for name, all_ in self.policies.items()}}


def profile_names() -> list[str]:
    """The profiles that come with the package."""
    names = (entry.name for entry in files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@functools.lru_cache(maxsize=16)
def load_profile(name: str, path: str = "") -> Profile:
    """The profile of that name, or the user's own at a path.

    Raises:
        ConfigError: there is none, or it says something that cannot be.
    """
    if bool(name) == bool(path):
        raise ConfigError(f"rules: name a profile or the path of one; profiles: {', '.join(profile_names())}")
    if not path and name not in profile_names():
        raise ConfigError(f"rules: no profile {name!r}; there are: {', '.join(profile_names())}")
    source = Path(path) if path else files(__package__) / f"{name}.yaml"
    told = path or name
    try:
        value = yaml.safe_load(source.read_text(encoding="utf-8"))
        file = _File.model_validate(value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the profile {told}: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{told}: {where}: {problem['msg']}; found {problem.get('input')!r}") from error
    said = json.dumps(file.model_dump(), sort_keys=True, separators=(",", ":"))
    return _built(told, file, hashlib.sha256(said.encode()).hexdigest())


def _built(told: str, file: _File, digest: str) -> Profile:
    measures, meanings = {}, {}
    for name, entry in file.columns.items():
        options = {"measure": entry} if isinstance(entry, str) else dict(entry)
        meaning = options.pop("meaning", "")
        where = f"{told}: columns.{name}"
        measures[name] = build_measure(str(options.pop("measure", "")), options, where)
        meanings[name] = meaning or measures[name].meaning
        _check_patterns(getattr(measures[name], "patterns", ()) or getattr(measures[name], "match", ()), where)
    criteria = {name: _bounds(told, name, entry, measures) for name, entry in file.criteria.items()}
    policies: dict[str, tuple[str, ...]] = {}
    for name, parts in file.policies.items():
        policies[name] = tuple(dict.fromkeys(c for part in parts for c in _expanded(told, part, criteria, policies)))
    taken = [name for name in policies if name in measures]
    taken += [name for name in (*measures, *policies) if name in RESERVED]
    if taken:
        raise ConfigError(f"{told}: {', '.join(taken)}: the name of another column; choose another")
    return Profile(told, file.about, measures, meanings, criteria, policies, digest)


def _check_patterns(patterns: tuple[str, ...], where: str) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{where}: {pattern!r} is no regular expression: {error}") from error


def _bounds(told: str, name: str, entry: Mapping[str, tuple[Bound, Bound]], measures: Mapping[str, Measure]) -> Bounds:
    if len(entry) != 1:
        raise ConfigError(f"{told}: criteria.{name}: found {len(entry)} columns, expected one with [least, most]")
    [(column, (least, most))] = entry.items()
    if column not in measures:
        raise ConfigError(f"{told}: criteria.{name}: no column {column!r}; there are: {', '.join(measures)}")
    if least is None and most is None:
        raise ConfigError(f"{told}: criteria.{name}: neither a least nor a most value is given")
    return Bounds(column, least, most)


def _expanded(
    told: str, part: str, criteria: Mapping[str, Bounds], policies: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The criteria that a part of a policy stands for."""
    if part in criteria:
        return (part,)
    if part in policies:
        return policies[part]
    raise ConfigError(f"{told}: policies: no criterion or policy above is called {part!r}")
