"""The table of what extras bring agrees with what setup.cfg declares, and tells how to mend what is missing."""

from __future__ import annotations

from configparser import ConfigParser
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tamis.corpora.extras import BASE, EXTRAS, absent, remedy


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_the_table_says(extra: str, setup_cfg: ConfigParser) -> None:
    wanted = setup_cfg["options"]["install_requires"] if extra == BASE else setup_cfg["options.extras_require"][extra]
    declared = {canonicalize_name(Requirement(line).name) for line in wanted.split("\n") if line}
    owners = packages_distributions()
    strangers = [name for name in EXTRAS[extra] if not declared & {canonicalize_name(o) for o in owners.get(name, ())}]
    assert strangers == []


def test_every_extra_but_the_collections_is_in_the_table(setup_cfg: ConfigParser) -> None:
    assert set(setup_cfg["options.extras_require"]) - {"all", "demo", "dev"} == set(EXTRAS) - {BASE}


def test_what_cannot_be_imported_is_absent() -> None:
    assert absent(["json", "no_such_module", "numpy", "nor_this"]) == ["no_such_module", "nor_this"]


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["open_clip"], "pip install 'tamis[clip]'"),
        (["rapidocr", "torch", "numpy"], "pip install 'tamis[clip,ocr]'"),
        (["pyarrow"], "pip install tamis"),
        (["mypkg", "anotherpkg"], "pip install anotherpkg mypkg"),
        (["torch", "mypkg"], "pip install 'tamis[clip]' mypkg"),
    ],
)
def test_the_remedy_is_one_command(missing: list[str], told: str) -> None:
    assert remedy(missing) == told
