"""Metrics in Prometheus' text format: a strict parser reads whatever a run can make of them, over HTTP too."""

from __future__ import annotations

import doctest
import http.client
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.corpora.metering import PHASES
from tamis.jobs import metrics as metrics_module
from tamis.jobs.metrics import CONTENT_TYPE, Metrics, MetricsServer, address_of, escaped, number
from tamis.pipelines.logs import Entry

Sample = tuple[str, frozenset[tuple[str, str]]]

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=[a-zA-Z_])|$)')
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")


@dataclass
class Parsed:
    """An exposition: kinds and helps by family, values by sample."""

    kinds: dict[str, str] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    samples: dict[Sample, float] = field(default_factory=dict)

    def of(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


def parsed(text: str) -> Parsed:
    """Read the text format as its definition has it, and refuse all else.

    Each family is told once and in one piece, HELP and TYPE before its samples; a sample stands once; the last line ends.
    """
    assert text == "" or text.endswith("\n")
    found, family = Parsed(), ""
    for line in text.split("\n")[:-1]:
        if line.startswith("# "):
            word, name, told = line[2:].split(" ", 2)
            assert NAME.fullmatch(name)
            table = {"HELP": found.helps, "TYPE": found.kinds}[word]
            assert name not in table, f"{word} of {name} stands twice"
            assert not any(sample == name for sample, _ in found.samples), f"{name} is told in two pieces"
            table[name], family = told, name
            continue
        matched = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? ([^ ]+)", line, re.DOTALL)
        assert matched, f"no sample: {line!r}"
        name, labels, value = matched.groups()
        assert NAME.fullmatch(name)
        assert name == family, f"{name} stands outside its family"
        assert VALUE.fullmatch(value), value
        key = name, frozenset(_labels(labels or ""))
        assert key not in found.samples, f"{key} stands twice"
        found.samples[key] = float(value)
    assert set(found.kinds) == set(found.helps) == {name for name, _ in found.samples}
    assert set(found.kinds.values()) <= {"counter", "gauge", "histogram", "summary", "untyped"}
    return found


def _labels(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    names = set()
    while place < len(text):
        label = LABEL.match(text, place)
        assert label, f"no label: {text[place:]!r}"
        assert label[1] not in names
        names.add(label[1])
        yield label[1], re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), label[2])
        place = label.end()


@pytest.mark.parametrize(
    "text",
    [
        "a 1",
        "# TYPE a counter\n# HELP a x\na 1\na 2\n",
        '# HELP a x\n# TYPE a counter\na{b="c" 1\n',
        '# HELP a x\n# TYPE a counter\na{b="c"d"} 1\n',
        '# HELP a x\n# TYPE a counter\na{b="c\n"} 1\n',
        '# HELP a x\n# TYPE a counter\na{b="\\x"} 1\n',
        '# HELP a x\n# TYPE a counter\na{b="1",b="2"} 1\n',
        "# HELP a x\n# TYPE a counter\na inf\n",
        "# HELP a x\n# TYPE a counter\nb 1\n",
        "# HELP a x\na 1\n",
    ],
)
def test_the_parser_of_these_tests_is_strict(text: str) -> None:
    with pytest.raises(AssertionError):
        parsed(text)


WORDS = st.text(alphabet=st.characters(codec="utf-8")) | st.sampled_from(
    ['"', "\\", "\n", '\\"', "\\n", "}", "{", ",", 'a="b"', "\r"]
)
AMOUNTS = st.integers(0, 10**12) | st.floats(0, 1e12)
ENTRIES = st.builds(
    Entry,
    time=st.just(0.0),
    item=WORDS,
    attempts=st.integers(1, 3),
    seconds=AMOUNTS.map(float),
    node=WORDS,
    process=st.integers(0, 9),
    spent=st.dictionaries(WORDS, AMOUNTS.map(float), max_size=3),
    bytes_in=st.integers(0, 10**15),
    bytes_out=st.integers(0, 10**15),
)
PASSES = st.tuples(
    WORDS, WORDS, st.integers(0, 10**6), st.lists(st.tuples(ENTRIES, st.booleans(), st.integers(0, 99)), max_size=4)
)


@given(st.lists(PASSES, max_size=4))
def test_whatever_a_run_is_its_metrics_are_read_by_a_strict_parser(
    passes: list[tuple[str, str, int, list[tuple[Entry, bool, int]]]],
) -> None:
    metrics = Metrics()
    ok: dict[str, int] = {}
    seconds: dict[tuple[str, str], float] = {}
    for stage, unit, total, entries in passes:
        metrics.begin(stage, total, 0, unit)
        ok.setdefault(stage, 0)
        for entry, done, units in entries:
            metrics.hear(entry)
            metrics.advance(1, units, 0 if done else 1)
            ok[stage] += done
            for phase, spent in entry.spent.items():
                seconds[stage, phase] = seconds.get((stage, phase), 0) + spent
        metrics.end()
    found = parsed(metrics.text())
    for stage, count in ok.items():
        assert found.of("tamis_items_total", stage=stage, state="ok") == count
        assert found.of("tamis_stage_running", stage=stage) == 0
    for (stage, phase), spent in seconds.items():
        assert found.of("tamis_seconds_total", stage=stage, phase=phase) == spent


def test_a_run_by_hand() -> None:
    metrics = Metrics()
    metrics.begin("score", 5, 2, "images")
    entry = Entry(
        0.0, "0", attempts=3, seconds=4.5, node="a", process=1, spent={"model": 3.0}, bytes_in=900, bytes_out=80
    )
    metrics.hear(entry)
    metrics.advance(1, 100, 0)
    metrics.hear(Entry(0.0, "1", ok=False, node="a", process=2))
    metrics.advance(1, 0, 1)
    found = parsed(metrics.text())
    assert found.samples == {
        ("tamis_items_total", frozenset({("stage", "score"), ("state", "ok")})): 1,
        ("tamis_items_total", frozenset({("stage", "score"), ("state", "failed")})): 1,
        ("tamis_units_total", frozenset({("stage", "score"), ("unit", "images")})): 100,
        ("tamis_bytes_total", frozenset({("stage", "score"), ("direction", "in")})): 900,
        ("tamis_bytes_total", frozenset({("stage", "score"), ("direction", "out")})): 80,
        ("tamis_seconds_total", frozenset({("stage", "score"), ("phase", "model")})): 3,
        ("tamis_task_seconds_total", frozenset({("stage", "score")})): 4.5,
        ("tamis_retries_total", frozenset({("stage", "score")})): 2,
        ("tamis_workers", frozenset({("stage", "score")})): 2,
        ("tamis_stage_items", frozenset({("stage", "score")})): 5,
        ("tamis_stage_items_done", frozenset({("stage", "score")})): 3,
        ("tamis_stage_running", frozenset({("stage", "score")})): 1,
    }
    assert {name for name, kind in found.kinds.items() if kind == "counter"} == {
        name for name in found.kinds if name.endswith("_total")
    }


def test_counters_go_on_over_the_passes_of_a_stage_and_gauges_are_of_the_last() -> None:
    metrics = Metrics()
    for total in (3, 7):
        metrics.begin("export", total, 0, "samples")
        metrics.advance(1, 10, 0)
        metrics.end()
    found = parsed(metrics.text())
    assert found.of("tamis_items_total", stage="export", state="ok") == 2
    assert found.of("tamis_stage_items", stage="export") == 7


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_is_a_label_as_it_is(phase: str) -> None:
    assert escaped(phase) == phase


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (1.5, "1.5"), (10**15, "1000000000000000"), (1e22, "1e+22"), (float("inf"), "+Inf")]
)
def test_numbers_are_spelled_as_prometheus_reads_them(value: float, told: str) -> None:
    assert number(value) == told


@pytest.mark.parametrize("told", ["", "host", "9100:", "127.0.0.1:", ":x", "-1", "65536", "1.5", "٣", "a:b:c"])
def test_what_is_no_address_is_refused(told: str) -> None:
    with pytest.raises(ConfigError, match="expected PORT or HOST:PORT"):
        address_of(told)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(metrics_module) == (0, 2)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    running = MetricsServer(Metrics(), "0")
    yield running
    running.close()


def test_the_page_is_served_to_this_machine_alone(server: MetricsServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    server.metrics.begin("score", 5, 2, "images")
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        assert parsed(answer.read().decode()).of("tamis_stage_items", stage="score") == 5
    with urllib.request.urlopen(f"{server.url}?x=1", timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/metricsx"])
def test_there_is_no_other_page(path: str, server: MetricsServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url.replace("/metrics", path), timeout=30)
    assert refused.value.code == 404
    refused.value.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE"])
def test_nothing_can_be_changed(method: str, server: MetricsServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request(method, "/metrics")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_scraper_that_goes_away_is_no_news(server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    for sent in (b"", b"GET /metrics", b"\x00\xff" * 100 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets
            line.sendall(sent)
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert answer.status == 200
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_told(server: MetricsServer) -> None:
    port = server.server_address[1]
    with pytest.raises(ConfigError, match=f"--metrics {port}: Address already in use; give another"):
        MetricsServer(Metrics(), str(port))


def test_a_host_of_the_sixth_version_is_listened_at() -> None:
    server = MetricsServer(Metrics(), "[::1]:0")
    assert re.fullmatch(r"http://\[::1\]:\d+/metrics", server.url)
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert answer.read() == b""
    server.close()
