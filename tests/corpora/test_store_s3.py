"""The store on a real S3 server."""

from __future__ import annotations

from tamis.corpora.store import Store

from ..s3_server import S3


def test_what_is_put_lies_in_the_bucket(s3: S3) -> None:
    store = Store(s3.url("corpus"))
    store.put_atomic("a/b c.txt", b"hello")
    assert s3.files("corpus") == {"a/b c.txt": b"hello"}
    assert store.read("a/b c.txt") == b"hello"
    assert s3.dangling_uploads() == []
