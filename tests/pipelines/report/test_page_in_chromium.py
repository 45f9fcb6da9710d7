"""What a browser makes of hostile text: nothing runs and nothing is asked for.

Escaping and the content security policy are tried apart, and a page with neither shows that the text is dangerous.
"""

from __future__ import annotations

import html
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tamis.pipelines.report.contents import (
    Box,
    Card,
    Copies,
    Duplicates,
    Failure,
    Fault,
    Funnel,
    Gallery,
    Histogram,
    Judgement,
    Loss,
    Page,
    SlowTask,
    Step,
    Strip,
    Threshold,
    Throughput,
    Thumbnail,
    Truth,
)
from tamis.pipelines.report.page import POLICY, render
from tamis.pipelines.report.thumbnails import thumbnail

from .generated import jpeg

pytestmark = pytest.mark.needs_chromium

COMMAND = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--virtual-time-budget=2000",
    "--dump-dom",
]


@dataclass
class Listener:
    """A web server that remembers what it was asked for."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def payload(self) -> str:
        """Text that, taken for HTML, changes the title in three ways and asks this server for two files."""
        address = f"http://127.0.0.1:{self.port}"
        return (
            f"</title></style></textarea><script>document.title='owned'</script>"
            f"<img src='{address}/picture' onerror=\"document.title='owned'\"><svg onload=\"document.title='owned'\">"
            f"</svg><link rel=stylesheet href='{address}/style'>\" onmouseover='x' autofocus {{{{ 7 * 7 }}}}"
        )


@pytest.fixture
def listener() -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard = Listener(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()


def title_in_browser(page: str, folder: Path) -> str:
    """The title of a page after Chromium has loaded it and run whatever it would."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [*COMMAND, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.partition("<title>")[2].partition("</title>")[0]


def hostile_page(text: str) -> Page:
    """A page in which everything that may come from outside is ``text``."""
    pixel = Thumbnail("data:image/jpeg;base64,", 16, 16, (16, 16), (Box(text, "0,0 9,0 9,9 0,9"),))
    card = Card(text, "00000", 0, text, text, pixel, ((text, text),), (Judgement((text,), False, (text,)),))
    line = Threshold(text, ">=", 0.5, text)
    broken = replace(card, thumbnail=replace(pixel, fault=text))
    return Page(
        name=text,
        corpus=text,
        made="today",
        recipe_digest="0" * 8,
        decision_digest="0" * 8,
        account={"asked": 2, "fetched": 1, "failed": {text: 1}, "exports": [_export(text)]},
        recipe=text,
        truth=(Truth(text, text, text, text, holds=False),),
        surprises=({"kind": text, "url": text},),
        funnels=(
            Funnel(
                text, text, (Step("asked for", 2, 0, "asked"), Step(text, 1, 1)), (Loss(text, text, 1, 0, 1),), 1, 0
            ),
        ),
        histograms=(Histogram(text, text, text, (0, 1), (1,), (0,), 0, 1, 0, 0, "linear", text, text, (line,)),),
        galleries=(Gallery(text, text, (text,), 1, 1, (Strip(text, "dropped", (card, broken)),)),),
        duplicates=(Duplicates(text, text, 1, 2, ((2, 1),), (Copies(text, 2, (card, card)),)),),
        failures=(Failure(text, 1, text),),
        throughput=Throughput((), (SlowTask(text, text, 1.0, 1),), (Fault(text, text, text),)),
    )


def _export(text: str) -> dict[str, Any]:
    return {"policy": text, "path": text, "shards": 1, "samples": 1, "bytes": 1}


def test_escaping_alone_keeps_hostile_text_from_running_and_asking(listener: Listener, tmp_path: Path) -> None:
    page = render(hostile_page(listener.payload))
    bare = re.sub(r"<meta http-equiv=[^>]*>", "", page)
    assert len(bare) < len(page)
    assert html.unescape(title_in_browser(bare, tmp_path)) == f"{listener.payload} · tamis report"
    assert listener.asked == []


def test_the_same_text_unescaped_runs_and_asks(listener: Listener, tmp_path: Path) -> None:
    bare = f"<!doctype html><title>calm</title><body>{listener.payload}</body>"
    assert title_in_browser(bare, tmp_path) == "owned"
    assert set(listener.asked) == {"/picture", "/style"}


def test_the_policy_alone_keeps_unescaped_text_from_running_and_asking(listener: Listener, tmp_path: Path) -> None:
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    guarded = f"<!doctype html>{meta}<title>calm</title><body>{listener.payload}</body>"
    assert title_in_browser(guarded, tmp_path) == "calm"
    assert listener.asked == []


def test_a_picture_of_ours_is_let_through_by_the_policy(tmp_path: Path) -> None:
    uri, width, height = thumbnail(jpeg(0, 0), 200, 200, "jpeg")
    loaded = "<script>document.images[0].decode().then(() => { document.title = 'seen' })</script>"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}; script-src \'unsafe-inline\'">'
    page = f"<!doctype html>{meta}<title>calm</title><img src='{uri}' width={width} height={height}>{loaded}"
    assert title_in_browser(page, tmp_path) == "seen"
