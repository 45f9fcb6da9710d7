"""Text to sqlglot's tree, and no further: one expression, no statements, no comments, bounded in size.

sqlglot's parser runs with its function tables emptied, so that every call arrives as a name with arguments and is judged
by our own list (``parsing``), whatever sqlglot knows about that function.

Price: about 0.1 ms a text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, SqlglotError

from ..corpora.errors import ConfigError

MAX_CHARACTERS = 10_000
"""Of one text: beyond it a machine wrote it, and a column should hold the result."""


class _Parser(DuckDB.Parser):  # type: ignore[misc, valid-type]
    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    NO_PAREN_FUNCTIONS: ClassVar[dict[str, Any]] = {}
    NO_PAREN_FUNCTION_PARSERS: ClassVar = {"CASE": DuckDB.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
    FUNCTION_PARSERS: ClassVar = {name: DuckDB.Parser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST")}


def condition(text: str, what: str) -> exp.Expression:
    """The tree of one expression; ``what`` (``criterion big``) opens every message.

    Raises:
        ConfigError: the text is not one whole expression, is too long, or holds a comment or a semicolon.
    """
    return _tree(text, exp.Condition, what)


def sort_keys(text: str, what: str) -> list[exp.Ordered]:
    """The keys of ``order := '...'``; raises as ``condition`` does."""
    tree = _tree(f"order by {text}", exp.Order, what)
    return [key for key in tree.expressions if isinstance(key, exp.Ordered)]


def shortened(text: str) -> str:
    """What was found, as a message quotes it."""
    return f"`{text[:200]}{'...' if len(text) > 200 else ''}`"


def near(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the names like it, then the known ones."""
    lowered = {other.lower(): other for other in sorted(known)}
    close = [lowered[other] for other in get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    shown = ", ".join(sorted(known)[:40]) + (", ..." if len(known) > 40 else "")
    return (f"; did you mean {' or '.join(close)}?" if close else ";") + f" known: {shown or 'none'}"


def _tree(text: str, into: type[exp.Condition | exp.Order], what: str) -> exp.Expression:
    if len(text) > MAX_CHARACTERS or "\0" in text:
        raise ConfigError(f"{what}: found {len(text)} characters; at most {MAX_CHARACTERS} are read, none of them NUL")
    dialect = DuckDB()
    try:
        tokens = dialect.tokenize(text)
        _refuse_tokens(tokens, what)
        trees = _Parser(dialect=dialect, error_level=ErrorLevel.IMMEDIATE).parse_into(into, tokens, text)
    except SqlglotError as error:
        raise ConfigError(f"{what}: cannot read {shortened(text)} as one expression ({_why(error)})") from None
    except RecursionError:
        raise ConfigError(f"{what}: nested too deeply; flatten it, or split it into several criteria") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise ConfigError(f"{what}: found no expression in {shortened(text)}; write one, or `true`")
    return trees[0]


def _refuse_tokens(tokens: Sequence[Token], what: str) -> None:
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise ConfigError(f"{what}: found `;`; one expression is expected, no statements")
        if token.comments:
            raise ConfigError(
                f"{what}: found a comment, {shortened(token.comments[0])}; write it in YAML, beside the text"
            )


def _why(error: SqlglotError) -> str:
    errors = getattr(error, "errors", None) or [{}]
    return str(errors[0].get("description") or str(error).splitlines()[0])
