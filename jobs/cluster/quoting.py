"""Templates in which a value can be nothing but a value.

A template is text with expressions, and every expression ends in a filter that says what it is written into: ``sh``,
``yaml``, ``json``, ``block`` (a YAML block), or ``word`` (a name that needs no quotes anywhere). What went through none is
refused when the template is rendered, so that a recipe's strings cannot become commands, even when whoever wrote the
template forgot that they might. Price: microseconds a value.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined


class Quoted(str):
    """Text that a filter made safe for the place that it is written into."""


def templates() -> Environment:
    """The templates of this package, by file name."""
    environment = Environment(
        loader=FunctionLoader(read),
        undefined=StrictUndefined,
        finalize=_only_quoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(sh=shell, yaml=flow, json=array, block=block, word=word)
    return environment


def read(name: str) -> str:
    """A template's text; from inside a zip, too."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _only_quoted(value: Any) -> Any:
    assert isinstance(value, Quoted | int), f"{value!r} went through no filter"
    return value


def shell(value: str) -> Quoted:
    """One word of a shell's command."""
    return Quoted(shlex.quote(value))


def flow(value: Any) -> Quoted:
    """A value within a line of YAML."""
    style = '"' if isinstance(value, str) else None
    return Quoted(
        yaml.safe_dump(value, default_style=style, default_flow_style=True, sort_keys=False, width=2**20).strip()
    )


def array(value: list[str]) -> Quoted:
    """A command as Dockerfiles take it without a shell."""
    return Quoted(json.dumps(value))


def block(text: str, indent: int) -> Quoted:
    """Lines of printable ASCII as a YAML block scalar."""
    assert re.fullmatch(r"[!-~][ -~\n]*\n", text), "it would end the block, or not come back as it is"
    lines = (f"{' ' * indent}{line}" if line else "" for line in text.splitlines())
    return Quoted("\n".join(["|", *lines]))


def word(value: str) -> Quoted:
    """A name that no shell, YAML, Slurm or Docker reads anything into."""
    assert re.fullmatch(r"\w[\w.,-]*", value, re.ASCII), f"{value!r} is no plain word"
    return Quoted(value)
