"""Fetching by blocks: every slot asked for once, finished shards not again, and the same corpus however it went."""

from __future__ import annotations

import doctest
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.corpus import create
from tamis.corpora.errors import ConfigError, FatalError, ShardError
from tamis.corpora.fetching import Fetched, FetchSettings, Request
from tamis.corpora.index import read_index
from tamis.corpora.opt_outs import OptOuts
from tamis.corpora.plan import make_plan, read_slots, shard_name
from tamis.corpora.resizing import ResizeSettings, resize
from tamis.corpora.robots import RobotsMemory
from tamis.corpora.rounds import read_rounds
from tamis.corpora.store import Store
from tamis.corpora.tables import read_table
from tamis.pipelines import filling
from tamis.pipelines.explaining import explain
from tamis.pipelines.filling import FetchTask, blocks, shards_of
from tamis.pipelines.ingest import fetch_settings, ingest, retry_failed
from tamis.pipelines.job import Job
from tamis.pipelines.summary import summarise

from ..corpora.foreign_tars import picture
from .running import Inline, Listed, files, job_for

SAMPLES = 3


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The system's resolver, which knows every name; with an ``error`` it knows none."""
    told: dict[str, int] = {}

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if told:
            raise socket.gaierror(told["error"], "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return told


@dataclass
class Web:
    """Answers in an order of its own, and goes away after so many answers."""

    answers: int = 10_000
    backwards: bool = True
    asked: list[str] = field(default_factory=list)

    def fetch(self, requests: Iterator[Request], settings: FetchSettings, robots: RobotsMemory) -> Iterator[Fetched]:
        waiting = list(requests)
        for request in reversed(waiting) if self.backwards else waiting:
            if self.answers == 0:
                raise FatalError("the web went away")
            self.answers -= 1
            self.asked.append(request.url)
            body = picture(int(request.url.rsplit("/", 1)[1]))
            yield Fetched(request.slot, request.url, body, None, 200, 1, 0.1, len(body), request.url)


def task(folder: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> FetchTask:
    """A fetch task over a planned list of ten pictures in four shards."""
    store, source = Store(str(folder)), Listed(10)
    create(store, "corpus", source.schema())
    make_plan(store, source, SAMPLES, seed=0)
    monkeypatch.setattr(filling, "fetch", web.fetch)
    return FetchTask(store, source.schema(), FetchSettings())


def made(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus but its logs, which tell of each run."""
    return {name: data for name, data in files(folder / "corpus").items() if not name.startswith("logs/")}


def shards(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if name.startswith("shards/")}


def test_a_block_is_fetched_into_its_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = Web()
    told = task(tmp_path, monkeypatch, web)("00000-00003")
    assert {name: told[name] for name in ("asked", "fetched", "failed", "shards")} == {
        "asked": 10,
        "fetched": 10,
        "failed": {},
        "shards": 4,
    }
    tars = sum(path.stat().st_size for path in (tmp_path / "shards").glob("*.tar"))
    assert told["bytes"] == {"in": sum(len(picture(number)) for number in range(10)), "out": tars}
    assert set(told["spent"]) == {"download", "write"}
    assert sorted(web.asked) == sorted(f"http://a.example/{number}" for number in range(10))
    for shard in map(shard_name, range(4)):
        slots = read_slots(Store(str(tmp_path)), shard)
        rows = read_table(Store(str(tmp_path)), f"shards/{shard}.parquet")[0].to_pylist()
        assert [(row["uid"], row["url"]) for row in rows] == [(slot["uid"], slot["url"]) for slot in slots]


def test_blocks_and_orders_make_the_same_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task(tmp_path / "one", monkeypatch, Web())("00000-00003")
    for number, backwards in enumerate((True, False, True, False)):
        name = shard_name(number)
        task(tmp_path / "other", monkeypatch, Web(backwards=backwards))(f"{name}-{name}")
    assert shards(tmp_path / "one") == shards(tmp_path / "other")


@pytest.mark.parametrize("answers", range(10))
def test_a_block_tried_again_asks_only_for_shards_that_are_not_done(
    answers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FatalError, match="the web went away"):
        task(tmp_path, monkeypatch, Web(answers))("00000-00003")
    done = shards(tmp_path)
    store = Store(str(tmp_path))
    finished = {name.removesuffix(".parquet") for name in store.names("shards") if name.endswith(".parquet")}
    web = Web()
    told = task(tmp_path, monkeypatch, web)("00000-00003")
    missing = [
        slot["url"] for n in range(4) if shard_name(n) not in finished for slot in read_slots(store, shard_name(n))
    ]
    assert sorted(web.asked) == sorted(missing)
    assert told["asked"] == len(missing)
    assert {name: shards(tmp_path)[name] for name in done} == done, "a finished shard is never written again"
    task(tmp_path / "whole", monkeypatch, Web())("00000-00003")
    assert shards(tmp_path) == shards(tmp_path / "whole")


def test_the_stage_fetches_a_list_and_then_has_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"http://a.example/{number},caption {number}\n" for number in range(10))
    (tmp_path / "list.csv").write_text("URL,TEXT\n" + lines + ",no url\nhttp://a.example/3,caption 3\n")
    recipe = {
        "source": {"kind": "laion", "path": "list.csv"},
        "shards": {"samples": SAMPLES},
        "engine": {"workers": 2},
    }
    web = Web()
    monkeypatch.setattr(filling, "fetch", web.fetch)
    first = ingest(job_for(tmp_path, recipe))
    assert (first.done, first.before, first.poison) == (4, 0, ())
    assert len(web.asked) == len(set(web.asked)) == 10
    before, again = made(tmp_path), Inline()
    second = ingest(job_for(tmp_path, recipe, again))
    assert (second.done, second.before, again.ran) == (0, 4, [])
    assert made(tmp_path) == before


@dataclass
class Weather(Web):
    """Answers as ``faults`` say: for each number what its requests meet in turn, until it is at last given."""

    faults: dict[int, list[str]] = field(default_factory=dict)

    def fetch(self, requests: Iterator[Request], settings: FetchSettings, robots: RobotsMemory) -> Iterator[Fetched]:
        for fetched in super().fetch(requests, settings, robots):
            left = self.faults.get(int(fetched.url.rsplit("/", 1)[1]))
            reason = left.pop(0) if left else None
            yield replace(fetched, reason=reason, body=None) if reason else fetched


def faults() -> dict[int, list[str]]:
    return {1: ["timeout", "http_503"], 2: ["http_503"], 4: ["http_404"], 6: ["reset", "reset", "reset"], 9: ["dns"]}


def stormy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, object], Weather]:
    """A recipe over ten pictures, half of which meet faults."""
    lines = "".join(f"http://a.example/{number},caption {number}\n" for number in range(10))
    folder.mkdir(exist_ok=True)
    (folder / "list.csv").write_text("URL,TEXT\n" + lines + ",no url\n")
    web = Weather(faults=faults())
    monkeypatch.setattr(filling, "fetch", web.fetch)
    return {"source": {"kind": "laion", "path": "list.csv"}, "shards": {"samples": SAMPLES}}, web


def counted(job: Job) -> tuple[int, int, dict[str, int]]:
    told = summarise(job)
    return told["asked"], told["fetched"], told["failed"]


def test_failures_are_asked_for_again_and_a_url_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, web = stormy(tmp_path, monkeypatch)
    job = job_for(tmp_path, recipe)
    ingest(job)
    no_url = {"no_url": 1}
    assert counted(job) == (11, 5, {**no_url, "dns": 1, "http_404": 1, "http_503": 1, "reset": 1, "timeout": 1})
    closed, web.asked = shards(tmp_path / "corpus"), []
    first, again = retry_failed(job)
    assert (first.done, again.done, again.before) == (0, 1, 4)
    assert sorted(web.asked) == [f"http://a.example/{n}" for n in (1, 2, 6)]
    assert counted(job) == (11, 6, {**no_url, "dns": 1, "http_404": 1, "http_503": 1, "reset": 1})
    assert {name: shards(tmp_path / "corpus")[name] for name in closed} == closed, "a closed shard stays as it is"
    assert explain(job.corpus(), "http://a.example/6")["fetch"]["supersedes"] == "reset"
    assert explain(job.corpus(), "http://a.example/2")["sample"]["shard"] == "00004"
    retry_failed(job, ["later"])
    assert counted(job) == (11, 7, {**no_url, "dns": 1, "http_404": 1, "reset": 1})
    retry_failed(job, ["never"])
    assert counted(job) == (11, 9, {**no_url, "reset": 1})
    retry_failed(job)
    assert counted(job) == (11, 9, {**no_url, "reset": 1})
    retry_failed(job)
    assert counted(job) == (11, 10, no_url)
    before, web.asked = files(tmp_path / "corpus"), []
    assert [result.done for result in retry_failed(job)] == [0]
    assert web.asked == []
    assert shards(tmp_path / "corpus") == {name: data for name, data in before.items() if name.startswith("shards/")}


def test_a_round_that_was_interrupted_is_finished_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for folder in (tmp_path / "whole", tmp_path / "broken"):
        recipe, web = stormy(folder, monkeypatch)
        job = job_for(folder, recipe)
        ingest(job)
        if folder.name == "broken":
            web.answers = 1
            assert retry_failed(job)[1].poison == (("00004-00004", "the web went away"),)
            assert counted(job)[1] == 5, "the failures from before still stand"
            web.answers, web.faults = 99, {number: left[1:] for number, left in faults().items()}
        assert len(retry_failed(job)) == (1 if folder.name == "broken" else 2)
        assert len(read_rounds(job.store)) == 1
        made.append({name: data for name, data in files(folder / "corpus").items() if name[:4] in {"plan", "shar"}})
    assert made[0] == made[1]


@pytest.mark.parametrize("source", [{"kind": "shards", "path": "tars"}, {"kind": "laion", "path": "list.csv"}])
def test_what_cannot_be_asked_for_again_is_told(tmp_path: Path, source: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="now" if source["kind"] == "laion" else "adopted"):
        retry_failed(job_for(tmp_path, {"source": source}), ["soon"] if source["kind"] == "laion" else ["now"])


def resized(folder: Path, monkeypatch: pytest.MonkeyPatch, block: dict[str, object], backwards: bool = True) -> Job:
    """A corpus of ten pictures of 24 x 16 px, fetched with this ``resize`` block."""
    lines = "".join(f"http://a.example/{number},caption {number}\n" for number in range(10))
    folder.mkdir()
    (folder / "list.csv").write_text("URL,TEXT\n" + lines)
    monkeypatch.setattr(filling, "fetch", Web(backwards=backwards).fetch)
    recipe = {
        "source": {"kind": "laion", "path": "list.csv"},
        "shards": {"samples": SAMPLES},
        "fetch": {"resize": block},
    }
    job = job_for(folder, recipe)
    assert ingest(job).poison == ()
    return job


def test_images_are_resized_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"side": "shortest", "pixels": 8, "quality": 80}
    job = resized(tmp_path / "one", monkeypatch, block)
    rows = [
        (row, read_index(job.store, shard).tar.url)
        for shard in job.corpus().shards()
        for row in read_index(job.store, shard).table.to_pylist()
    ]
    assert len(rows) == 10
    for row, tar in rows:
        original = picture(int(row["url"].rsplit("/", 1)[1]))
        expected = resize(original, ResizeSettings(**block))  # type: ignore[arg-type]
        assert job.store.read(tar)[row["image_offset"] :][: row["image_size"]] == expected
        assert (row["width"], row["height"], row["original_width"], row["original_height"]) == (12, 8, 24, 16)
        assert row["image_sha256"] == hashlib.sha256(original).hexdigest()
    again = resized(tmp_path / "two", monkeypatch, block, backwards=False)
    assert shards(tmp_path / "one" / "corpus") == shards(tmp_path / "two" / "corpus")
    changed = again.recipe.model_copy(update={"fetch": again.recipe.fetch.model_copy(update={"resize": None})})
    with pytest.raises(ConfigError, match="another `resize:`"):
        ingest(replace(again, recipe=changed))


def test_images_that_are_small_enough_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_resize = resized(tmp_path / "one", monkeypatch, {"pixels": 24, "format": "webp"})
    task(tmp_path / "two", monkeypatch, Web())("00000-00003")
    for shard in with_resize.corpus().shards():
        made, plain = (read_index(store, shard) for store in (with_resize.store, Store(str(tmp_path / "two"))))
        assert made.table["format"].to_pylist() == plain.table["format"].to_pylist()
        assert made.table["image_size"].to_pylist() == plain.table["image_size"].to_pylist()


def test_budgets_are_divided_among_the_processes(tmp_path: Path) -> None:
    recipe = {"fetch": {"concurrency": 10, "per_host": 2, "user_agent": "x", "timeout_seconds": 5}}
    found = fetch_settings(job_for(tmp_path, recipe), 4)
    assert (found.concurrency, found.per_host, found.user_agent, found.timeout_seconds) == (2, 1, "x", 5)


def test_wishes_of_the_recipe_reach_the_fetcher(tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("no.example\n")
    block = {"per_host_rate": 6, "robots": False, "robots_tags": ["noindex"], "opt_out": "no.txt"}
    found = fetch_settings(job_for(tmp_path, {"fetch": block}), 3)
    assert (found.per_host_rate, found.robots, found.robots_tags, found.opt_outs.hosts) == (
        *(2.0, False, ("noindex",)),
        frozenset({"no.example"}),
    )
    default = fetch_settings(job_for(tmp_path, {}), 3)
    assert (default.robots, default.robots_tags, default.tdm_reservation) == (True, ("noai", "noimageai"), True)
    assert (default.opt_outs, default.per_host_rate) == (OptOuts(), None)


@pytest.mark.parametrize("text", [None, b"exa mple.com\n", b"\xff"])
def test_a_list_of_opt_outs_that_cannot_be_read_stops_the_run(tmp_path: Path, text: bytes | None) -> None:
    if text:
        (tmp_path / "no.txt").write_bytes(text)
    with pytest.raises(ConfigError, match=r"no\.txt"):
        fetch_settings(job_for(tmp_path, {"fetch": {"opt_out": "no.txt"}}), 1)


def test_an_image_that_was_opted_out_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = task(tmp_path, monkeypatch, Web())
    settings = FetchSettings(opt_outs=OptOuts.parse([hashlib.sha256(picture(7)).hexdigest()]))
    told = replace(fetching, settings=settings)("00000-00003")
    assert (told["fetched"], told["failed"]) == (9, {"opted_out": 1})
    rows = [
        row for n in range(4) for row in read_table(fetching.store, f"fetch/{shard_name(n)}.parquet")[0].to_pylist()
    ]
    assert [row["url"] for row in rows if row["reason"] == "opted_out"] == ["http://a.example/7"]


def test_a_resolver_without_an_answer_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolver: dict[str, int]
) -> None:
    lines = "".join(f"http://{number}.example.org/{number},caption\n" for number in range(9))
    (tmp_path / "list.csv").write_text("URL,TEXT\n" + lines)
    web = Web()
    monkeypatch.setattr(filling, "fetch", web.fetch)
    recipe = {"source": {"kind": "laion", "path": "list.csv"}, "shards": {"samples": SAMPLES}}
    resolver["error"] = socket.EAI_AGAIN
    with pytest.raises(ConfigError, match=r"no host name can be looked up on .* and 2 others; check"):
        ingest(job_for(tmp_path, recipe))
    with pytest.raises(ShardError, match="no host name can be looked up"):
        task(tmp_path / "task", monkeypatch, web)("00000-00003")
    assert web.asked == []
    resolver["error"] = socket.EAI_NONAME
    assert ingest(job_for(tmp_path, recipe)).poison == ()
    assert len(web.asked) == 9


@given(st.sets(st.integers(0, 60) | st.integers(99_990, 100_010)), st.integers(1, 9))
def test_blocks_name_every_shard_once_and_no_other(numbers: set[int], size: int) -> None:
    names = [shard_name(number) for number in sorted(numbers)]
    named = [shards_of(block) for block in blocks(names, size)]
    assert [name for block in named for name in block] == names
    assert all(1 <= len(block) <= size for block in named)


def test_the_documented_example_holds() -> None:
    assert doctest.testmod(filling).attempted > 0
    assert doctest.testmod(filling).failed == 0
