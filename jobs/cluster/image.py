"""What must be where a recipe runs besides its code: extras, the weights of hub models, and the packages behind both.

The scorers themselves say what they need, so they are made here as the run would make them. Price: importing them.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

from ...filters.registry import build_scorer
from ...models.clip_source import EMBEDDED, RANDOM, ClipSource
from ...pipelines.recipe import Recipe
from ..shipping import PACKAGE

_LOAD = "import sys, open_clip as c; c.create_model(*sys.argv[1:]); c.get_tokenizer(sys.argv[1])"


def extras(recipe: Recipe) -> str:
    """The extras that the recipe uses, as pip takes them.

    Raises:
        ConfigError: a scorer that cannot be made here.
    """
    wanted = {build_scorer(name, settings)[1].needs.extra for name, settings in recipe.scores.items()} - {""}
    if recipe.engine.kind != "local":
        wanted.add(recipe.engine.kind)
    if re.search("s3a?://", recipe.model_dump_json()):
        wanted.add("s3")
    return ",".join(sorted(wanted))


def hub_models(recipe: Recipe) -> list[list[str]]:
    """A command for each CLIP whose weights open_clip would download: run while the image is built, it keeps them."""
    found = []
    for name, settings in recipe.scores.items():
        source = ClipSource(settings.get("model", ""), settings.get("weights", ClipSource.weights))
        inside = source.weights == EMBEDDED or source.weights.startswith(RANDOM) or source.is_path
        if settings.get("kind", name) == "clip" and not inside:
            found.append(["python", "-c", _LOAD, source.architecture, source.weights])
    return found


def bare_needs(recipe: Recipe) -> list[str]:
    """What pip must install on a node that has Python and Ray: what the recipe's extras want, in the versions of here."""
    markers = [f'extra == "{extra}"' for extra in extras(recipe).split(",") if extra and extra != "ray"]
    lines = [line.partition(";") for line in requires(PACKAGE) or ()]
    return sorted(_pinned(want) for want, _, marker in lines if not marker or any(m in marker for m in markers))


def _pinned(requirement: str) -> str:
    name = re.match(r"[\w.-]+(\[[^]]*])?", requirement)
    assert name
    try:
        return f"{name[0]}=={version(name[0].partition('[')[0])}"
    except PackageNotFoundError:
        return requirement.strip()
