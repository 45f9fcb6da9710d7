from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tamis.corpora.index import path_of
from tamis.corpora.tables import read_meta, read_table, write_table
from tamis.pipelines.columns import wide_table
from tamis.pipelines.deciding import compile_recipe, read_decision
from tamis.pipelines.job import Job
from tamis.pipelines.report.rows import Place, Survey
from tamis.pipelines.run import RunResult

from .generated import Made

COLUMNS = ["min_side", "source.similarity", "spots.rate"]


def survey(job: Job) -> Survey:
    wide = wide_table(job)
    return Survey(wide, job.corpus().shards(), compile_recipe(job, wide), read_decision(job))


@pytest.fixture
def copied(made: Made, finished: tuple[Job, RunResult], tmp_path: Path) -> Job:
    """A job on a copy of the finished corpus, to spoil."""
    shutil.copytree(finished[0].recipe.corpus, tmp_path / "corpus")
    return made.job(corpus=str(tmp_path / "corpus"))


def test_every_row_stands_beside_its_own_verdicts(finished: tuple[Job, RunResult]) -> None:
    scanned = list(survey(finished[0]).scan(COLUMNS))
    assert [rows.shard for rows in scanned] == ["00000", "00001"]
    for rows in scanned:
        assert rows.verdicts is not None
        assert rows.verdicts["big"].to_pylist() == [side >= 64 for side in rows.table["min_side"].to_pylist()]
        assert rows.numbers.tolist() == list(range(rows.table.num_rows))


def test_rows_are_taken_by_place_with_their_verdicts(finished: tuple[Job, RunResult]) -> None:
    read = survey(finished[0])
    whole = {rows.shard: rows.table for rows in read.scan(COLUMNS)}
    places = [Place("00001", 30), Place("00000", 2), Place("00001", 0), Place("00000", 2)]
    taken = read.take(places, COLUMNS)
    assert set(taken) == set(places)
    for place, row in taken.items():
        expected = whole[place.shard].slice(place.row, 1).to_pylist()[0]
        assert {name: row[name] for name in ("uid", *COLUMNS)} == {name: expected[name] for name in ("uid", *COLUMNS)}
        assert row["verdicts"]["big"] == (row["min_side"] >= 64)


def test_removed_rows_are_left_out_and_the_others_keep_their_numbers(copied: Job) -> None:
    table, _ = read_table(copied.store, path_of("00000"))
    removed = np.arange(table.num_rows) < 3
    table = table.set_column(table.column_names.index("removed"), "removed", pa.array(removed))
    before = survey(copied).take([Place("00000", 3)], COLUMNS)[Place("00000", 3)]
    write_table(copied.store, path_of("00000"), table, read_meta(copied.store, path_of("00000")))
    rows = next(survey(copied).scan(COLUMNS))
    assert rows.numbers[0] == 3
    assert rows.table["uid"][0].as_py() == before["uid"]
    assert rows.verdicts is not None
    assert rows.verdicts.num_rows == len(rows.numbers) == table.num_rows - 3
    assert rows.verdicts["big"][0].as_py() == before["verdicts"]["big"]


def test_a_family_that_has_not_measured_a_shard_gives_no_column_there(copied: Job) -> None:
    [folder] = copied.store.folders("scores/spots")
    copied.store.remove(f"scores/spots/{folder}/00001.parquet")
    read = survey(copied)
    measured, unmeasured = read.scan(COLUMNS)
    assert "spots.rate" in measured.table.column_names
    assert "spots.rate" not in unmeasured.table.column_names
    assert read.take([Place("00001", 0)], COLUMNS)[Place("00001", 0)]["spots.rate"] is None


def test_without_a_decision_there_are_no_verdicts(made: Made, finished: tuple[Job, RunResult]) -> None:
    read = survey(made.job(criteria={"other": "min_side > 1"}, policies={"p": "other"}, exports=[]))
    assert read.decision is None
    assert [rows.verdicts for rows in read.scan(COLUMNS)] == [None, None]
    assert read.take([Place("00000", 0)], COLUMNS)[Place("00000", 0)]["verdicts"] == {}
