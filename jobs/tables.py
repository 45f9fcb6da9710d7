"""What a run prints for people: the account, the planted truth, an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..pipelines.job import StageResult
from ..pipelines.logs import Entry
from ..pipelines.run import RunResult


def print_stages(console: Console, results: Sequence[StageResult]) -> None:
    """How each stage went: what was done, how fast, by how many, where the time went, what was slow."""
    right = ("done", "time", "rate", "read", "written", "workers")
    table = Table("stage", *(Column(name, justify="right") for name in right), "their time", box=None, pad_edge=False)
    for result in results:
        table.add_row(*(Text(printable(cell)) for cell in _stage_cells(result)))
    console.print(table)
    for result in results:
        if result.tally.entries > len(result.tally.slowest):
            console.print(
                Text(printable(f"slowest of {_name(result)}: {_slowest(result.tally.slowest)}")), soft_wrap=True
            )


def _stage_cells(result: StageResult) -> tuple[str, ...]:
    tally, seconds = result.tally, result.seconds
    if not tally.entries:
        done = f"{result.before:,} were" if result.before else "nothing to do"
        return _name(result), done, duration(seconds)
    lost = [f"{tally.failed:,} failed"] if tally.failed else []
    again = [f"{tally.retries:,} retried"] if tally.retries else []
    nodes = f" on {len(tally.nodes)} nodes" if len(tally.nodes) > 1 else ""
    return (
        _name(result),
        ", ".join([f"{result.done:,}", *lost, *again]),
        duration(seconds),
        f"{rounded(tally.units / max(seconds, 1e-9))} {result.unit}/s" if tally.units else "",
        _moved(tally.bytes_in, seconds),
        _moved(tally.bytes_out, seconds),
        f"{len(tally.workers)}{nodes}",
        ", ".join(f"{phase} {share:.0%}" for phase, share in _largest(tally.shares())),
    )


def _name(result: StageResult) -> str:
    return f"{result.stage} {result.of}".strip()


def _slowest(entries: Sequence[Entry]) -> str:
    return ", ".join(f"{one.item} {duration(one.seconds)} ({one.node})" for one in entries)


def _moved(count: int, seconds: float) -> str:
    return f"{size(count)}, {size(count / max(seconds, 1e-9))}/s" if count else ""


def rounded(number: float) -> str:
    """A rate, to two digits or a whole number."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def size(count: float) -> str:
    """Bytes as people say them.

    >>> size(0), size(999), size(1_234_567), size(5.6e13)
    ('0 B', '999 B', '1.23 MB', '56 TB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _largest(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """The shares that matter, the largest first."""
    return sorted(((phase, share) for phase, share in shares.items() if share >= 0.01), key=lambda one: -one[1])


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.042), duration(9.52), duration(75), duration(7384)
    ('42 ms', '9.5 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def print_account(console: Console, result: RunResult) -> None:
    """The stages, and the funnel of every policy, with what was asked for and what failed."""
    told = result.account
    print_stages(console, result.stages)
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
            console.print(label.append(f": {printable(value)}", style="default"), soft_wrap=True)


def printable(value: Any) -> str:
    """A value as text that cannot drive the terminal, as control characters in a caption could."""
    text = str(value)
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
