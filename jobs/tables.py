"""What a run prints for people: the account, the planted truth, an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..pipelines.run import RunResult


def print_account(console: Console, result: RunResult) -> None:
    """The funnel of every policy, with what was asked for and what failed."""
    told = result.account
    if not result.worked:
        console.print("Nothing to do: everything that the recipe asks for is there.")
    console.print(f"asked {told['asked']:,} = fetched {told['fetched']:,} + failed {sum(told['failed'].values()):,}")
    if told["failed"]:
        console.print("  " + ", ".join(f"{reason} {count:,}" for reason, count in told["failed"].items()), markup=False)
    if told["policies"]:
        table = Table("policy", "kept", "dropped", "dropped by (alone)", box=None, pad_edge=False)
        for name, policy in told["policies"].items():
            alone = policy["dropped_only_by"]
            why = ", ".join(f"{c} {n:,} ({alone.get(c, 0):,})" for c, n in policy["dropped_by"].items())
            table.add_row(name, f"{policy['kept']:,}", f"{policy['dropped']:,}", Text(why))
        console.print(table)
    for export in told["exports"]:
        if not export["current"]:
            console.print(
                Text(f"export {export['policy']}: {export['path']} is not of this decision; run `tamis export`")
            )
            continue
        size = f"{export['samples']:,} samples, {export['bytes'] / 1e6:,.1f} MB, {export['shards']} shards"
        console.print(Text(f"export {export['policy']}: {export['path']} ({size})"), soft_wrap=True)


def print_truth(console: Console, truth: Mapping[str, Any]) -> None:
    """How well the run found what was planted."""
    table = Table("planted truth", "found", box=None, pad_edge=False)
    for name, value in truth.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)


def print_explanation(console: Console, told: Mapping[str, Any], depth: int = 0) -> None:
    """A tree of names and values; everything in it is printed as plain text, for captions are hostile."""
    for name, value in told.items():
        label = Text("  " * depth + name, style="bold" if depth == 0 else "")
        if isinstance(value, Mapping):
            console.print(label)
            print_explanation(console, value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            console.print(label)
            for number, entry in enumerate(value):
                print_explanation(console, {str(number): entry}, depth + 1)
        else:
            console.print(label.append(f": {_printable(value)}", style="default"), soft_wrap=True)


def _printable(value: Any) -> str:
    text = str(value)
    # control characters in a caption could drive the terminal
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
