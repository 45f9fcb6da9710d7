"""What is known of a sample, read from the corpus alone: also while something is half-written, or came later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tamis.corpora.errors import ConfigError, FatalError
from tamis.pipelines.deciding import decide
from tamis.pipelines.dedup import dedup
from tamis.pipelines.explaining import explain
from tamis.pipelines.exporting import export
from tamis.pipelines.ingest import ingest

from ..corpora.foreign_tars import img2dataset_sample, packed, picture
from .running import Inline, files, job_for

RECIPE: dict[str, Any] = {
    "duplicates": {"exact": {"on": "image_sha256"}},
    "criteria": {"cats": "caption like '%cat%'", "big": "width >= 10"},
    "policies": {"sifted": "cats and big"},
    "exports": [{"policy": "sifted", "to": "out", "samples": 2}],
}


def tar(path: Path, *samples: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(packed(file for sample in samples for file in sample))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two tars: a cat, a dog and a cat with the dog's picture; the first cat again, and a page."""
    dog = img2dataset_sample(1, caption="a dog")
    copy = [
        (name, picture(1) if name.endswith("jpg") else data) for name, data in img2dataset_sample(2, caption="a cat")
    ]
    page = [(name, b"<html>" if name.endswith("jpg") else data) for name, data in img2dataset_sample(3)]
    cat = img2dataset_sample(0, caption="the cat")
    tar(tmp_path / "tars/0.tar", cat, dog, copy, [(f"again{name}", data) for name, data in cat])
    tar(tmp_path / "tars/1.tar", page)
    job = job_for(tmp_path, RECIPE)
    ingest(job)
    dedup(job)
    decide(job)
    export(job)
    return tmp_path


def explained(folder: Path, number: int) -> dict[str, Any]:
    return explain(job_for(folder, RECIPE).corpus(), f"http://a.example/{number}.jpg")


def test_a_sample_is_explained_by_url_and_by_uid_alike(corpus: Path) -> None:
    told = explained(corpus, 2)
    uid = told["sample"]["uid"]
    assert explain(job_for(corpus, RECIPE).corpus(), uid) == told
    assert (told["sample"]["shard"], told["sample"]["row"], told["sample"]["caption"]) == ("00000", 2, "a cat")
    assert told["fetch"]["status"] == "fetched"
    [copies] = told["duplicates"].values()
    assert copies == [explained(corpus, 1)["sample"]["uid"]]
    [verdict] = told["verdicts"].values()
    assert verdict["kept_by"] == {"sifted": True}
    assert {name: verdict["criteria"][name] for name in ("cats", "big")} == {"cats": True, "big": True}
    [exported] = told["exports"]
    assert exported["to"] == str(corpus / "out")
    assert exported["shard"] == "00000"


def test_a_dropped_sample_tells_by_what(corpus: Path) -> None:
    told = explained(corpus, 1)
    [verdict] = told["verdicts"].values()
    assert verdict["kept_by"] == {"sifted": False}
    assert verdict["criteria"]["cats"] is False
    assert told["exports"] == []


def test_a_sample_that_came_twice_is_explained_by_its_first_coming(corpus: Path) -> None:
    assert explained(corpus, 0)["fetch"]["status"] == "fetched"


def test_what_never_became_a_sample_is_found_in_the_ledger(corpus: Path) -> None:
    told = explain(job_for(corpus, RECIPE).corpus(), explained(corpus, 0)["sample"]["uid"])
    assert told["sample"]["row"] == 0
    with pytest.raises(ConfigError, match=r"is no uid or URL of the corpus 'corpus'; uids have 32 hex digits"):
        explain(job_for(corpus, RECIPE).corpus(), "f" * 32)


def test_an_export_that_was_left_half_written_is_passed_over(corpus: Path) -> None:
    half = {**RECIPE, "exports": [{"policy": "sifted", "to": "more", "samples": 1}]}
    with pytest.raises(FatalError, match="stopped"):
        export(job_for(corpus, half, Inline(stop_after=0)))
    (plan,) = [
        name for name in files(corpus / "corpus/exports") if name.endswith("plan.json") and _of(corpus, name, "more")
    ]
    (corpus / "corpus/exports" / plan).unlink()
    assert len(explained(corpus, 2)["exports"]) == 1


def _of(corpus: Path, plan: str, to: str) -> bool:
    return f'{corpus}/{to}"' in (corpus / "corpus/exports" / plan).read_text()


def test_a_shard_that_came_after_a_decision_has_no_verdict_of_it(tmp_path: Path) -> None:
    for number in range(3):
        tar(tmp_path / f"tars/{number}.tar", img2dataset_sample(number))
    first = job_for(tmp_path, RECIPE, Inline(poison=frozenset({"00001"})))
    ingest(first)
    dedup(first)
    decide(job_for(tmp_path, RECIPE))
    ingest(job_for(tmp_path, RECIPE))
    assert explained(tmp_path, 1)["verdicts"] == {}
    assert len(explained(tmp_path, 2)["verdicts"]) == 1
