"""Scorers by name: those of this package, and a user's own by import path (``kind: mypkg.blur:Blur``)."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..corpora.errors import ConfigError
from .scorer import Scorer

SCORERS: Mapping[str, str] = {
    "alt_text": "tamis.filters.rules.scoring:AltText",
    "clip": "tamis.filters.clip:Clip",
    "convert": "tamis.filters.conversion:Convert",
    "hashes": "tamis.filters.hashes:Hashes",
    "import": "tamis.filters.imported:Imported",
    "language": "tamis.filters.language:Language",
    "look": "tamis.filters.look:Look",
    "perplexity": "tamis.filters.perplexity:Perplexity",
    "pii": "tamis.filters.pii:Pii",
    "rules": "tamis.filters.rules.scoring:Rules",
    "text": "tamis.filters.text:Text",
    "words": "tamis.filters.words:Words",
}
"""kind: where the class is. Importing one imports no model library."""


def build_scorer(name: str, settings: Mapping[str, Any]) -> tuple[str, Scorer]:
    """The scorer that a recipe's ``scores.<name>`` block describes, with its kind.

    Raises:
        ConfigError: an unknown kind, an unknown setting, or a value that the scorer refuses.
    """
    values = dict(settings)
    kind = str(values.pop("kind", name))
    scorer_class = _load(name, kind)
    names = scorer_class.setting_names
    known = {field.name for field in fields(scorer_class)}  # type: ignore[arg-type]
    allowed = [key for key in {**names, **dict.fromkeys(sorted(known))} if key not in names.values()]
    for key in values:
        if key not in allowed:
            raise ConfigError(f"scores.{name}.{key}: unknown setting; {kind} has: {', '.join(allowed) or 'none'}")
    try:
        scorer: Scorer = TypeAdapter(scorer_class).validate_python(
            {names.get(key, key): value for key, value in values.items()}
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        told = {field: key for key, field in names.items()}
        where = ".".join(str(told.get(str(part), part)) for part in problem["loc"])
        raise ConfigError(f"scores.{name}.{where}: {problem['msg']}; found {problem.get('input')!r}") from error
    return kind, scorer


def _load(name: str, kind: str) -> type[Scorer]:
    path = SCORERS.get(kind, kind)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        near = difflib.get_close_matches(kind, SCORERS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(
            f"scores.{name}: no scorer {kind!r}{hint} There are {', '.join(sorted(SCORERS))}, "
            "and your own by import path, as `kind: mypkg.blur:Blur`"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"scores.{name}.kind: cannot import {path!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scorer) and is_dataclass(found)):
        raise ConfigError(f"scores.{name}.kind: {path!r} is not a dataclass derived from tamis.filters.scorer.Scorer")
    return found
