"""Verbs take the options that they share as one value; on the command line each is an option of its own."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tamis.jobs.options import RunOptions, with_run_options

taken: list[tuple[RunOptions, str, bool]] = []
app = typer.Typer()


@app.command()
@with_run_options
def verb(recipe: str, options: RunOptions, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
    """Do it."""
    taken.append((options, recipe, loud))


@app.command()
def other() -> None: ...


def ran(*arguments: str) -> tuple[RunOptions, str, bool]:
    done = CliRunner().invoke(app, ["verb", *arguments])
    assert done.exit_code == 0, done.output
    return taken.pop()


def test_what_is_not_said_is_left_to_the_recipe() -> None:
    assert ran("r.yaml") == (RunOptions(None, None, None), "r.yaml", False)


@pytest.mark.parametrize("first", [True, False])
def test_shared_options_and_the_verb_s_own_stand_in_any_order(first: bool) -> None:
    shared = ("--engine", "ray", "--workers", "8", "--address", "head:1", "--metrics", "0.0.0.0:9100")
    options, recipe, loud = ran(*(("--loud", "r.yaml", *shared) if first else (*shared, "r.yaml", "--loud")))
    assert options == RunOptions("ray", 8, "head:1", "0.0.0.0:9100")
    assert (recipe, loud) == ("r.yaml", True)


def test_an_option_is_checked_as_if_it_were_the_verb_s_own() -> None:
    assert CliRunner().invoke(app, ["verb", "r.yaml", "--workers", "0"]).exit_code == 2
    assert taken == []


def test_help_tells_them_all() -> None:
    told = CliRunner().invoke(app, ["verb", "--help"]).output
    for word in ("Do it.", "--engine", "--workers", "--address", "--metrics", "--loud"):
        assert word in told
