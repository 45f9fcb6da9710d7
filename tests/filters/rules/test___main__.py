"""What is printed for a recipe is one: its criteria and policies compile over the scorer's columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
import yaml

from tamis.filters.policies import compile_rules
from tamis.filters.rules.__main__ import main
from tamis.filters.rules.profile import load_profile, profile_names
from tamis.filters.rules.scoring import Rules


@pytest.mark.parametrize("name", profile_names())
def test_printed_bounds_compile_over_the_columns_of_the_score(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--score", "mine"])
    told = yaml.safe_load(capsys.readouterr().out)
    schema = pa.schema([(f"mine.{column.name}", column.type) for column in Rules(name).columns])
    rules = compile_rules(told["criteria"], told["policies"], schema, ())
    profile = load_profile(name)
    assert list(rules.criteria) == list(profile.criteria)
    assert {n: tuple(c.name for c in policy.conjuncts) for n, policy in rules.policies.items()} == profile.policies
