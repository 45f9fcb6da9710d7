from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tamis.corpora.errors import ConfigError, FatalError
from tamis.pipelines.deciding import decide, read_decision
from tamis.pipelines.job import Job
from tamis.pipelines.report.report import write_report
from tamis.pipelines.run import RunResult, run
from tamis.pipelines.summary import summarise

from .generated import Made, jpeg
from .reading import Element, number, read


def page_of(job: Job, result: RunResult | None = None, truth: dict[str, Any] | None = None) -> Element:
    return read(Path(write_report(job, result, truth)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(finished: tuple[Job, RunResult]) -> Element:
    return page_of(*finished)


def test_the_page_lies_in_the_corpus_under_the_name_of_recipe_and_decision(finished: tuple[Job, RunResult]) -> None:
    job, result = finished
    decision = read_decision(job)
    assert decision is not None
    assert write_report(job, result) == f"{job.recipe.corpus}/reports/generated-{decision.digest8}.html"


def test_the_account_adds_up(page: Element, finished: tuple[Job, RunResult]) -> None:
    asked, fetched, failed = (number(b.text) for b in page.one("p", class_="account").all("b"))
    told = summarise(finished[0])
    assert (asked, fetched, failed) == (80, told["fetched"], sum(told["failed"].values()))
    assert asked == fetched + failed
    assert failed > 0


def test_every_funnel_goes_step_by_step_from_asked_to_kept(page: Element, finished: tuple[Job, RunResult]) -> None:
    ledger = _ledger(finished[0])
    funnels = dict(zip(("everything", "sifted"), page.all("ol", class_="funnel"), strict=True))
    for policy, funnel in funnels.items():
        left = 80
        for step in funnel.all("li"):
            lost = step.one("span", class_="minus").text
            left -= number(lost) if lost else 0
            assert number(step.one("span", class_="number").text) == left
        assert left == ledger["policies"][policy]["kept"]
    names = [step.one("span", class_="step").text for step in funnels["sifted"].all("li")]
    assert names == ["asked for", "fetched", "big", "matched", "quiet", "first_of(duplicates.exact)", "kept"]


def test_the_table_of_criteria_is_the_ledger(page: Element, finished: tuple[Job, RunResult]) -> None:
    told = _ledger(finished[0])["policies"]["sifted"]
    [table] = page.one("section", id="funnel").all("table")
    rows = {
        row.one("th").text: [number(cell.text) for cell in row.all("td")[1:]] for row in table.one("tbody").all("tr")
    }
    assert rows == {
        name: [
            counts["false"],
            counts["null"],
            counts["false"] + counts["null"],
            told["dropped_only_by"][name],
        ]
        for name, counts in told["dropped_by"].items()
    }
    assert told["dropped_by"]["quiet"]["null"] == 2
    assert f"{told['kept']} kept + {told['dropped']} dropped" in table.one("caption").text


def test_each_chart_counts_every_sample_once(page: Element, finished: tuple[Job, RunResult]) -> None:
    samples = summarise(finished[0])["samples"]
    charts = page.one("section", id="scores").all("figure")
    assert len(charts) > 3
    for chart in charts:
        told = chart.all("p", class_="sums")[0].text
        values = [number(part.text) for part in chart.all("span", class_="key")] or [number(told)]
        nulls = re.search(r"(\d+) without a value", told)
        assert sum(values) + (int(nulls[1]) if nulls else 0) == samples, told


def test_a_chart_draws_the_bars_it_counts_and_the_threshold(page: Element) -> None:
    chart = next(f for f in page.all("figure") if f.one("h4").text == "source.similarity")
    told = [re.findall(r"([\d,]+) (pass|dropped)", bar.text) for bar in chart.one("svg").all("title")]
    sums = {
        side: sum(number(count) for bar in told for count, name in bar if name == side) for side in ("pass", "dropped")
    }
    passed, dropped = (number(key.text) for key in chart.all("span", class_="key"))
    assert sums == {"pass": passed, "dropped": dropped}
    assert chart.one("text", class_="wanted").text == "≥ 0.28"
    line = float(chart.one("line", class_="threshold").attributes["x1"])
    for bar in chart.one("svg").all("rect"):
        left, width = float(bar.attributes["x"]), float(bar.attributes["width"])
        assert (left >= line - 0.1) if bar.attributes["class"] == "pass" else (left + width <= line + 0.1)


def test_galleries_show_both_sides_within_the_budget(page: Element, finished: tuple[Job, RunResult]) -> None:
    galleries = page.all("details", class_="gallery")
    cards = [card for gallery in galleries for card in gallery.all("li", class_="card")]
    assert len(cards) == finished[0].recipe.report.samples
    for gallery in galleries:
        dropped, passed = (gallery.one("div", class_=side) for side in ("dropped", "passed"))
        name = gallery.one("summary").one("b").text
        assert all(re.search(rf"dropped by sifted: .*\b{name}\b", card.text) for card in dropped.all("li"))
        assert not any(re.search(rf"dropped by sifted: .*\b{name}\b", card.text) for card in passed.all("li"))
        assert dropped.all("li")
        assert passed.all("li")


def test_nearest_samples_are_nearer_than_those_at_random(page: Element) -> None:
    gallery = next(g for g in page.all("details", class_="gallery") if g.one("summary").one("b").text == "matched")
    near, random = gallery.one("div", class_="passed").all("ul")
    values = [
        [float(card.one("div", class_="asked").one("dd").text) for card in strip.all("li")] for strip in (near, random)
    ]
    assert all(value >= 0.28 for strip in values for value in strip)
    assert max(values[0]) <= min(values[1])


def test_a_card_says_what_could_not_be_measured_and_why(page: Element) -> None:
    quiet = next(g for g in page.all("details", class_="gallery") if g.one("summary").one("b").text == "quiet")
    unreadable = [card for card in quiet.one("div", class_="dropped").all("li") if "unreadable" in card.text]
    for card in unreadable:
        assert "not measurable (no_words)" in card.text
        assert "quiet (not measurable)" in card.text


def test_spotted_words_are_outlined_over_the_picture(page: Element) -> None:
    outlined = [card for card in page.all("li", class_="card") if card.all("svg", class_="boxes")]
    assert outlined
    for card in outlined:
        boxes = card.one("svg", class_="boxes").all("polygon")
        assert {box.attributes["points"] for box in boxes} == {"10.0,20.0 50.0,20.0 50.0,40.0 10.0,40.0"}
        assert card.one("p", class_="reads").text.startswith("reads SALE <script>")


def test_pictures_are_small_jpegs_of_our_own(page: Element) -> None:
    sources = {image.attributes["src"] for image in page.all("img")}
    originals = {base64.b64encode(jpeg(number, row)).decode() for number in range(2) for row in range(40)}
    assert sources
    for source in sources:
        assert source.startswith("data:image/jpeg;base64,")
        encoded = source.partition(",")[2]
        assert encoded not in originals
        image = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert image.format == "JPEG"
        assert max(image.size) <= 160


def test_one_of_each_duplicate_group_is_marked_as_kept(page: Element, finished: tuple[Job, RunResult]) -> None:
    section = page.one("section", id="duplicates")
    [group] = section.all("div", class_="group")
    size = number(group.one("h4").text)
    assert f"{size} samples stand in 1 group" in section.text
    first, *others = group.all("li", class_="card")
    assert "kept by sifted" in first.text
    assert "kept" in first.attributes["class"].split()
    assert all("dropped by sifted" in card.text and card.attributes["class"] == "card" for card in others)
    assert len(group.all("li")) == min(size, 6)


def test_failures_are_told_by_reason_with_an_example_that_is_text(
    page: Element, finished: tuple[Job, RunResult]
) -> None:
    told = summarise(finished[0])["failed"]
    [table] = page.one("section", id="failures").all("table")
    rows = {row.one("th").text: row for row in table.one("tbody").all("tr")}
    assert {reason: number(row.all("td")[1].text) for reason, row in rows.items()} == told
    assert number(table.one("tfoot").all("td")[1].text) == sum(told.values())
    assert not table.all("a")


def test_throughput_tells_what_the_logs_hold(page: Element, finished: tuple[Job, RunResult]) -> None:
    rows = {
        row.one("th").text.split()[0]: row for row in page.one("section", id="throughput").all("tbody")[0].all("tr")
    }
    assert list(rows) == ["fetch", "score", "dedup", "decide", "export"]
    assert rows["fetch"].all("td")[0].text.startswith("80 samples")
    assert rows["score"].all("td")[0].text.startswith(f"{summarise(finished[0])['samples']} images")


def test_the_recipe_is_on_the_page_and_reads_back(page: Element, finished: tuple[Job, RunResult]) -> None:
    [pre] = page.all("pre")
    [text] = pre.children
    assert yaml.safe_load(str(text)) == finished[0].recipe.model_dump(mode="json")


def test_the_page_asks_for_nothing_and_runs_nothing(page: Element, finished: tuple[Job, RunResult]) -> None:
    assert page.all("script") == []
    for element in page.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on"), name
            if name in {"src", "href", "srcset", "poster", "data", "action", "xlink:href"}:
                assert value.startswith(("data:image/jpeg;base64,", "#")), value
            if name == "style":
                assert re.fullmatch(r"(width|aspect-ratio)[\d.:/%;a-z-]*", value), value
    assert not re.search(r"url\s*\(|@import|https?:", "".join(style.text for style in page.all("style")))
    [policy] = [m for m in page.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy"]
    directives = policy.attributes["content"].split("; ")
    assert directives[:3] == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]


def test_hostile_text_is_shown_as_text(made: Made, finished: tuple[Job, RunResult]) -> None:
    page = page_of(made.job(report={"samples": 500}))
    shown = page.one("body").text
    assert "<script>document.title='owned'</script>" in shown
    assert "{{ 7 * 7 }}" in shown
    assert page.one("head").one("title").text == "generated · tamis report"


def test_planted_truth_is_judged_in_words(finished: tuple[Job, RunResult]) -> None:
    truth = {"parrots": 50, "parrot_recall": 0.98, "honest": 100, "honest_called_parrot": 0.03, "clip_auc": None}
    rows = [row.text for row in page_of(*finished, truth).one("section", id="truth").one("tbody").all("tr")]
    assert rows == [
        "posters that parrot their caption, caught 50 98.0 % ≥ 95 % ✓ holds",
        "honest images called parrots 100 3.0 % ≤ 2 % ✗ does not hold",
        "fitting captions scored above foreign ones (AUC) not measured ≥ 0.95 ✗ does not hold",
    ]


def test_two_pages_of_one_corpus_differ_in_their_date_alone(finished: tuple[Job, RunResult]) -> None:
    first, second = (Path(write_report(*finished)).read_text(encoding="utf-8") for _ in range(2))
    date = re.compile(r"\d+ \w+ \d{4}, \d\d:\d\d UTC")
    assert date.sub("", first) == date.sub("", second)


def test_a_page_of_an_empty_selection(made: Made, finished: tuple[Job, RunResult]) -> None:
    job = made.job(policies={"none": "big and not big"}, exports=[])
    decide(job)
    page = page_of(job)
    assert "none keeps 0 of" in page.one("header").text
    assert page.one("ol", class_="funnel").all("li")[-1].text == "kept 0"


def test_a_page_of_a_corpus_that_was_only_fetched(made: Made, tmp_path: Path) -> None:
    job = made.job(corpus=str(tmp_path / "corpus"))
    run(job, last="fetch")
    path = write_report(job, None)
    page = read(Path(path).read_text(encoding="utf-8"))
    assert path.endswith("generated-undecided.html")
    assert "Nothing is decided yet" in page.text
    assert page.all("ol", class_="funnel") == []
    assert "min_side" in [h4.text.split()[0] for h4 in page.one("section", id="scores").all("h4")]
    assert not any(h4.text.startswith("spots.") for h4 in page.all("h4"))
    assert page.all("img")


def test_a_page_of_a_corpus_without_scores_criteria_and_policies(made: Made, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"scores": {}, "criteria": {}, "policies": {}, "exports": [], "duplicates": {}}
    job = made.job(corpus=str(tmp_path / "corpus"), **nothing)
    page = page_of(job, run(job))
    assert "The recipe has no policies" in page.one("header").text
    assert len(page.one("section", id="samples").all("li", class_="card")) == 30


def test_a_page_without_samples_has_no_pictures(made: Made, finished: tuple[Job, RunResult]) -> None:
    page = page_of(made.job(report={"samples": 0}))
    assert page.all("img") == []
    assert page.all("ol", class_="funnel")
    assert "samples stand in 1 group" in page.one("section", id="duplicates").text


def test_a_page_tells_of_tars_that_are_gone(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.folder / "tars", tmp_path / "tars")
    job = made.job(corpus=str(tmp_path / "corpus"), source={**made.recipe["source"], "path": f"{tmp_path}/tars/*.tar"})
    run(job, last="decide")
    (tmp_path / "tars/00001.tar").unlink()
    page = page_of(job)
    assert "tar not readable" in page.text
    assert page.all("img")


def test_there_is_no_page_without_a_corpus(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no corpus in"):
        write_report(made.job(corpus=str(tmp_path / "nowhere")), None)


def test_a_page_is_refused_when_ledger_and_verdicts_disagree(made: Made, tmp_path: Path) -> None:
    job = made.job(corpus=str(tmp_path / "corpus"), exports=[])
    run(job)
    decision = read_decision(job)
    assert decision is not None
    path = f"verdicts/{decision.digest8}/ledger.json"
    ledger = job.store.read_json(path)
    ledger["policies"]["sifted"]["kept"] += 1
    ledger["policies"]["sifted"]["dropped"] -= 1
    job.store.put_json(path, ledger)
    with pytest.raises(FatalError, match="the verdicts keep"):
        write_report(job, None)


def _ledger(job: Job) -> Any:
    decision = read_decision(job)
    assert decision is not None
    return decision.ledger


def test_another_decision_has_a_page_of_its_own(made: Made, finished: tuple[Job, RunResult]) -> None:
    job = made.job(criteria={**made.recipe["criteria"], "big": "min_side >= 100"}, exports=[])
    decide(job)
    assert write_report(job, None) != write_report(*finished)
