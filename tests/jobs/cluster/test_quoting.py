"""Templates: whatever a value holds, it comes back out of the shell or the YAML as the value that it was."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.jobs.cluster.quoting import templates

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def rendered(source: str, **values: Any) -> str:
    return templates().from_string(source).render(**values)


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_a_shell_gets_the_word_that_was_given(text: str) -> None:
    script = rendered("printf %s {{ text | sh }}", text=text)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, cwd="/")
    assert done.stdout == text.encode()


@given(TEXT | st.dictionaries(TEXT, TEXT | st.integers()))
def test_yaml_gives_back_the_value_that_was_given(value: Any) -> None:
    assert yaml.safe_load(rendered("a: {b: {{ value | yaml }}, c: 1}", value=value)) == {"a": {"b": value, "c": 1}}


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT)))
def test_a_block_holds_the_lines_that_were_given(value: dict[str, Any]) -> None:
    text = yaml.safe_dump({"name": "a", **value}, sort_keys=False, width=2**20)
    whole = rendered("a:\n  b: {{ text | block(4) }}\n  c: 1\n", text=text)
    assert yaml.safe_load(whole) == {"a": {"b": text, "c": 1}}


@given(st.lists(TEXT, min_size=1))
def test_a_dockerfile_gets_the_command_that_was_given(command: list[str]) -> None:
    line = rendered("RUN {{ command | json }}", command=command)
    assert "\n" not in line
    assert json.loads(line.removeprefix("RUN ")) == command


@pytest.mark.parametrize("text", ["a b", "", "-a", "a;b", "$a", "a\n", "é", 'a"'])
def test_what_needs_quotes_is_no_word(text: str) -> None:
    with pytest.raises(AssertionError, match="no plain word"):
        rendered("{{ text | word }}", text=text)


@pytest.mark.parametrize("text", [" a\n", "a", "\n", "a\x85\n", "a\tb\n", "é\n"])
def test_what_would_not_come_back_is_no_block(text: str) -> None:
    with pytest.raises(AssertionError, match="end the block"):
        rendered("{{ text | block(2) }}", text=text)


@pytest.mark.parametrize("source", ["{{ text }}", "{{ text | upper }}", "{{ (text | sh) ~ text }}", "{{ 'a' }}"])
def test_a_value_that_went_through_no_filter_is_refused(source: str) -> None:
    with pytest.raises(AssertionError, match="went through no filter"):
        rendered(source, text="a")


def test_a_name_that_no_template_was_told_is_refused() -> None:
    with pytest.raises(Exception, match="'missing' is undefined"):
        rendered("{{ missing | sh }}")
