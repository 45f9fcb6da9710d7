"""The one exception tree; engines read from it what to do next.

    TamisError
    ├── ConfigError   the recipe, a path or an argument is wrong: tell the user, exit 2
    ├── DataError     this item is bad: record it, go on
    ├── ShardError    this shard failed: try it again, then record it as poison
    └── FatalError    nothing can go on (disk full, an inconsistent corpus): stop the run

A message says what was found, what was expected, and what to do.
"""


class TamisError(Exception):
    """The root: everything that tamis raises on purpose."""


class ConfigError(TamisError):
    """The user asked for something that cannot be: a wrong recipe, path, or argument."""


class DataError(TamisError):
    """One item cannot be used; ``reason`` is the snake_case name of the fault that the ledger keeps."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason


class ShardError(TamisError):
    """One shard failed in a way that another attempt may mend."""


class FatalError(TamisError):
    """The run must stop: going on would lose or corrupt data."""
