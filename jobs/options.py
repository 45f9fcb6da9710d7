"""The options that all verbs share which run stages: a verb takes them as one value, and hands them on as one.

Typer reads a verb's options off its parameters; ``with_run_options`` spells the fields of ``RunOptions`` out for it. A new
option is a new field.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True)
class RunOptions:
    """What the command line says of a run beside its recipe; None where the recipe's word holds."""

    engine: Annotated[
        str | None, typer.Option("--engine", help="Where to run: local, ray or spark. [default: the recipe's]")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Workers: processes, actors or task slots. [default: the recipe's]"),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="The cluster: a Ray address (HOST:PORT, ray://HOST, auto) or a Spark master. [default: the recipe's]",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there; 9100 is 127.0.0.1:9100."
        ),
    ] = None


def with_run_options(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose parameter ``options`` is spelled out as the options that it stands for."""
    signature = inspect.signature(verb, eval_str=True)
    hints = get_type_hints(RunOptions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [known.replace(kind=keyword) for name, known in signature.parameters.items() if name != "options"]
    shared = [
        inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields(RunOptions)
    ]

    @functools.wraps(verb)
    def spelled_out(**given: Any) -> None:
        options = RunOptions(**{one.name: given.pop(one.name) for one in shared})
        verb(options=options, **given)

    spelled_out.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    spelled_out.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    return spelled_out
