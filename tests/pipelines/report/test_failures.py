from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tamis.corpora.plan import REFUSED
from tamis.corpora.store import Store
from tamis.corpora.tables import write_table
from tamis.pipelines.report.contents import Failure
from tamis.pipelines.report.failures import failures


def ledger(store: Store, path: str, *rows: tuple[str | None, str]) -> None:
    write_table(store, path, pa.table({"reason": [r for r, _ in rows], "url": [u for _, u in rows]}), {})


def test_each_reason_has_its_count_and_its_first_url(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ledger(store, "fetch/00000.parquet", (None, "http://a/"), ("http_404", "http://b/"), ("http_404", "http://c/"))
    ledger(store, "fetch/00001.parquet", ("dns", "http://d/" + "x" * 500), ("http_404", "http://e/"))
    ledger(store, REFUSED, ("duplicate_uid", "http://a/"))
    counts = {"dns": 1, "duplicate_uid": 1, "http_404": 3}
    told = failures(store, ["00000", "00001"], counts)
    assert [(one.reason, one.count) for one in told] == [("http_404", 3), ("dns", 1), ("duplicate_uid", 1)]
    assert told[0].example == "http://b/"
    assert len(told[1].example) == 160
    assert told[2].example == "http://a/"


def test_a_reason_that_no_ledger_shows_has_no_example(tmp_path: Path) -> None:
    assert failures(Store(str(tmp_path)), [], {"dns": 2}) == (Failure("dns", 2, ""),)
