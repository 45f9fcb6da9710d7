"""The language: what is read, as what, and everything that is refused."""

from __future__ import annotations

import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.parsing import MAX_DEPTH, Scope, parse
from tamis.filters.syntax import MAX_CHARACTERS

SCOPE = Scope(
    columns=[
        "uid",
        "caption",
        "min_side",
        "format",
        "text.words",
        "clip.similarity",
        "source.URL",
        "source.case",
        "a b",
    ],
    criteria=["big", "quiet"],
    duplicates=["exact", "phash"],
)


def read(text: str) -> str:
    tree = parse(text, SCOPE, "policy p")
    assert parse(str(tree), SCOPE, "again") == tree  # the canonical text says the same thing
    return str(tree)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("min_side>=200  AND (big and (quiet OR big))", "min_side >= 200 and big and (quiet or big)"),
        ("((big))", "big"),
        ("big AND (quiet AND big)", "big and quiet and big"),
        ("not (big or quiet) = TRUE", "not (big or quiet) = true"),
        ("(min_side > 1) = (min_side > 2)", "(min_side > 1) = (min_side > 2)"),
        ("1 - (2 - 3) * -4 > .5", "1 - (2 - 3) * -4 > 0.5"),
        ("1 - 2 - 3 == 1E3", "1 - 2 - 3 = 1e3"),
        ("-(-min_side) != 1", "-(-min_side) <> 1"),
        ("min_side // 2 % 3 ** 2 < 7", "min_side // 2 % power(3, 2) < 7"),
        ("min_side NOT IN (1, NULL)", "not min_side in (1, null)"),
        ("min_side not between 1 and 2 and big", "not min_side between 1 and 2 and big"),
        ("min_side is not null", "not min_side is null"),
        ("big is not true", "not big is true"),
        ("(caption is null) is false", "(caption is null) is false"),
        ("LOWER(caption) not ilike '%it''s%'", "not lower(caption) ilike '%it''s%'"),
        ("cast(caption as real) > 1", "try_cast(caption as float) > 1"),
        ("caption::INT = 1", "try_cast(caption as integer) = 1"),
        ("try_cast(caption as text) = 'x'", "try_cast(caption as varchar) = 'x'"),
        ("case min_side when 1 then big end", "case when min_side = 1 then big else null end"),
        ("case when big then 1 when quiet then 2 else 3 end > 1", "case when big then 1 when quiet then 2 else 3 end > 1"),
        ('source."case" = "a b"', '"source.case" = "a b"'),
        ('"clip.similarity" > 0.3', "clip.similarity > 0.3"),
        ("format = 'jpeg' and len(text.words) > 2", "format = 'jpeg' and len(text.words) > 2"),
        ("list_contains(text.words, 'sale')", "list_contains(text.words, 'sale')"),
        ("caption = '-- ; select /*'", "caption = '-- ; select /*'"),
        ("min_side >= QUANTILE(min_side, 0.70)", "min_side >= quantile(min_side, 0.7)"),
        (
            "min_side < quantile(abs(min_side), 1, among := big, by := format)",
            "min_side < quantile(abs(min_side), 1, by := format, among := big)",
        ),
        ("first_of(duplicates.exact)", "first_of(duplicates.exact)"),
        (
            "first_of(duplicates.phash, among := big, order := 'clip.similarity DESC, caption = ''a'', uid asc')",
            "first_of(duplicates.phash, order := 'clip.similarity desc, caption = ''a'', uid', among := big)",
        ),
    ],
)  # fmt: skip
def test_text_has_one_canonical_form(text: str, canonical: str) -> None:
    assert read(text) == canonical


HOSTILE = {
    "a sub-select": "min_side > (select max(min_side) from t)",
    "a sub-select in a list": "min_side in (select 1)",
    "exists": "exists(select 1)",
    "values": "min_side in (values (1))",
    "a statement": "select 1",
    "a second statement": "big; drop table t",
    "a trailing semicolon": "big;",
    "copy": "copy t to '/tmp/x'",
    "attach": "attach '/tmp/x.db'",
    "pragma": "pragma database_list",
    "set": "set threads = 1",
    "install": "install httpfs",
    "a comment that hides the rest": "big -- and quiet",
    "a block comment": "big /* or true */",
    "a file read": "read_csv('/etc/passwd') is null",
    "a file read as text": "read_text('/etc/passwd') is null",
    "a qualified call": "main.read_csv('x') is null",
    "a quoted call": "\"read_csv\"('x') is null",
    "a file as a table": "min_side in '/etc/passwd'",
    "the environment": "getenv('HOME') = 'x'",
    "a setting": "current_setting('home_directory') = 'x'",
    "randomness": "random() > 0.5",
    "the clock": "now() is null",
    "the clock without parentheses": "current_timestamp is null",
    "an aggregate": "min_side > avg(min_side)",
    "count of everything": "count(*) > 1",
    "a window": "row_number() over (order by uid) = 1",
    "a window over a function": "abs(min_side) over () > 1",
    "a lambda": "len(list_filter(text.words, x -> x = 'a')) > 0",
    "a python lambda": "len(list_filter(text.words, lambda x: x = 'a')) > 0",
    "a comprehension": "len([x for x in text.words]) > 0",
    "an aggregate filter": "abs(min_side) filter (where big) > 1",
    "distinct": "coalesce(distinct caption) = 'a'",
    "an order inside": "coalesce(caption order by uid) = 'a'",
    "all columns": "COLUMNS('.*') > 1",
    "a star": "* = 1",
    "a qualified star": "text.* = 1",
    "a macro of ours": "try(min_side) > 1",
    "exec": "query('select 1') is null",
    "a parameter": "min_side > $1",
    "a question mark": "min_side > ?",
    "a variable": "min_side > @x",
    "an escape string": r"caption = E'\x27 or true'",
    "a dollar string": "caption = $$x$$",
    "a NUL": "caption = 'a\0b'",
    "a broken quote": "caption = 'a'' or true",
    "a quote trick in a name": 'min_side" or "uid" = "uid',
    "a type that opens a file": "cast(caption as json) is null",
    "a parametrised type": "cast(caption as decimal(10, 2)) > 1",
    "a nested type": "cast(text.words as varchar[]) is null",
    "a struct": "{'a': big}.a",
    "a subscript": "text.words[1] = 'a'",
    "a json path": "caption ->> '$..a' = 'b'",
    "json access": "caption ->> '$.a' = 'b'",
    "an interval": "caption > interval '1' day",
    "a collation": "caption = 'a' collate nocase",
    "a time zone": "caption at time zone 'utc' is null",
    "bit shifts that overflow": "min_side << 62 > 1",
    "a regular expression from data": "regexp_matches(caption, format)",
    "a like pattern from data": "caption like format",
    "an unknown option of a known node": "min_side between symmetric 1 and 2",
    "an escape clause": "caption like 'a' escape 'b'",
    "a template": "{{ config }}",
    "an assignment": "big := true",
    "an unknown argument": "min_side > quantile(min_side, 0.5, using := 1)",
    "an argument twice": "min_side > quantile(min_side, 0.5, by := format, by := uid)",
    "a quantile beyond one": "min_side > quantile(min_side, 1.5)",
    "a quantile of a column": "min_side > quantile(min_side, clip.similarity)",
    "a quantile in a quantile": "min_side > quantile(quantile(min_side, 0.5), 0.5)",
    "first_of of a column": "first_of(caption)",
    "an order that is a statement": "first_of(duplicates.exact, order := 'uid; drop table t')",
    "an order that is not text": "first_of(duplicates.exact, order := uid)",
    "nulls first": "first_of(duplicates.exact, order := 'min_side nulls first')",
    "a limit in an order": "first_of(duplicates.exact, order := 'uid limit 1')",
    "a word that ends clauses": "else big",
    "if without parentheses": "if big then quiet",
    "nothing": "",
    "blanks": "  \n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_on_the_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^policy p"):
        parse(text, SCOPE, "policy p")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("count(*) over () > 1", r"window is not allowed, found in `count\(\*\) over \(\) > 1`; allowed are columns"),
        ("lenght(caption) > 1", "the function lenght is not allowed.*did you mean length"),
        ("clip.similarty > 1", "no column or criterion clip.similarty, .*; did you mean clip.similarity"),
        ("source.url = 'x'", "did you mean source.URL"),
        ("bigg and quiet", r"no column or criterion bigg, found in `bigg and quiet`; did you mean big\?.*known: .*big.*quiet"),
        ("first_of(duplicates.exat)", "no duplicates method exat, .*; did you mean exact.*known: exact, phash"),
        ("cast(caption as blob) is null", "cannot cast to VARBINARY, .*; types are boolean, integer"),
        ("round(1, 2, 3) > 1", "round takes 1 to 2 arguments"),
        ("first_of(duplicates.exact, order := 'min_side nulls first')", "nulls first is not allowed.*nulls always come last"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_found_and_what_is_known(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(text, SCOPE, "policy p")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3000 + "big" + ")" * 3000,
        "not " * 2000 + "big",
        "- " * 2000 + "min_side > 1",
        "1+" * (MAX_DEPTH + 1) + "1 > 1",
        "big and " * MAX_CHARACTERS + "big",
    ],
    ids=["parentheses", "not", "minus", "sums", "length"],
)
def test_a_text_that_would_exhaust_the_machine_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"nested|characters"):
        parse(text, SCOPE, "policy p")


def test_a_long_chain_is_not_deep() -> None:
    assert len(parse(" and ".join(["big"] * 1000), SCOPE, "policy p").args) == 1000
