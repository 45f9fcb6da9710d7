"""``tamis status`` as people and machines meet it."""

from __future__ import annotations

import io
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from tamis.corpora.corpus import create
from tamis.corpora.engine import Outcome
from tamis.corpora.errors import ConfigError
from tamis.corpora.holders import myself
from tamis.corpora.lock import LOCK
from tamis.corpora.store import Store
from tamis.jobs.status import drawn, show
from tamis.pipelines.logs import Log
from tamis.pipelines.status import Onlooker

HOSTILE = "\x1b]0;owned\x07[red]no[/red]"


@pytest.fixture
def corpus(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "corpus"))
    create(store, "mini", pa.schema([]))
    return store


def worked(store: Store) -> None:
    """One stage is done, the next is under way, an item of it failed."""
    fetch = Log(store, "fetch")
    fetch.begin(1, 0, "URLs", "local")
    fetch.item(Outcome("00000-00000", {}), 1, 20)
    fetch.end()
    score = Log(store, "score")
    score.begin(2000, 1200, "images", "ray")
    worker = {"engine": "ray", "node": "gpu-1", "process": 1}
    score.item(Outcome("00003", {"rows": 10}, seconds=75.0, worker=worker), 1, 10)
    score.item(Outcome("00004", None, f"worker died {HOSTILE}", attempts=3, worker=worker), 1, 0)
    store.put_atomic("shards/00000-ab.tar", bytes(1_500_000))


def text(told: dict[str, Any]) -> str:
    shown = io.StringIO()
    Console(file=shown, width=160, color_system=None).print(drawn(told))
    return shown.getvalue()


def test_a_table_says_what_is_done_failing_slow_and_next(corpus: Store, capsys: pytest.CaptureFixture[str]) -> None:
    worked(corpus)
    show(corpus.root, as_json=True, every=None)
    told = json.loads(capsys.readouterr().out)
    lines = text(told).splitlines()
    assert lines[0].rstrip() == f"mini in {corpus.root}"
    fetch, score = (next(line for line in lines if line.startswith(stage)) for stage in ("fetch", "score"))
    assert "done" in fetch
    for word in ("running", "1,201 / 2,000 (60%)", "images/s", "1 ray", "ago"):
        assert word in score
    rest = "\n".join(lines)
    assert "failing score 00004 (attempt 3, gpu-1): worker died" in rest
    assert "slowest of score: 00003 1 min 15 s (gpu-1)" in rest
    assert "disk: 1.5 MB" in rest
    assert "shards 1.5 MB" in rest
    assert "next: dedup" in rest


def test_hostile_errors_are_plain_text(corpus: Store) -> None:
    worked(corpus)
    shown = text(Onlooker(create(corpus, "mini", pa.schema([]))).look())
    assert "\x1b" not in shown
    assert "[red]no[/red]" in shown


def test_who_holds_the_corpus_is_told_and_whether_it_is_gone(corpus: Store) -> None:
    me = replace(myself(), command="tamis run r.yaml")
    for started, told in ((me.started, ""), (me.started + 1, ", which is gone: the next run takes it over")):
        corpus.put_atomic(LOCK, replace(me, started=started).encoded())
        shown = text(Onlooker(create(corpus, "mini", pa.schema([]))).look())
        assert f"held by `tamis run r.yaml` (process {me.process} on {me.host}, since {me.since}){told}\n" in shown


def test_an_error_that_stopped_a_stage_is_told(corpus: Store) -> None:
    log = Log(corpus, "score")
    log.begin(2, 0, "images", "local")
    log.end("No space left on device")
    shown = text(Onlooker(create(corpus, "mini", pa.schema([]))).look())
    assert "score was stopped: No space left on device" in shown
    assert "next: score" in shown


def test_a_corpus_of_which_nothing_was_begun_says_so(corpus: Store, capsys: pytest.CaptureFixture[str]) -> None:
    show(corpus.root, as_json=False, every=None)
    shown = capsys.readouterr().out
    assert "nothing was begun yet" in shown
    assert "next: fetch" in shown


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"x"}, {"corpus.json": b"[]"}, {"corpus.json": b"\xff"}])
def test_a_folder_that_is_no_corpus_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=r"no corpus in|was not written by tamis"):
        show(str(tmp_path), as_json=True, every=None)


def test_a_corpus_of_a_newer_version_is_refused(corpus: Store) -> None:
    told = corpus.read_json("corpus.json")
    corpus.put_json("corpus.json", {**told, "format_version": 99})
    with pytest.raises(ConfigError, match="upgrade tamis"):
        show(corpus.root, as_json=True, every=None)


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_looks_again_until_it_is_interrupted(
    as_json: bool, corpus: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = itertools.count()

    def meanwhile(seconds: float) -> None:
        assert seconds == 2.5
        if next(looks) == 2:
            raise KeyboardInterrupt
        worked(corpus)

    monkeypatch.setattr(time, "sleep", meanwhile)
    show(corpus.root, as_json, every=2.5)
    shown = capsys.readouterr().out
    if as_json:
        told = [json.loads(line) for line in shown.splitlines()]
        assert [len(one["stages"]) for one in told] == [0, 2, 2]
        assert [one["stages"][0]["done"] for one in told[1:]] == [1, 1]
    else:
        assert shown.count("mini in") == 3
