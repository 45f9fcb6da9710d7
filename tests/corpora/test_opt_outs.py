"""The opt-out list: hosts and what is below them, prefixes under either scheme, hashes; and nothing else."""

from __future__ import annotations

import hashlib

import pytest

from tamis.corpora.errors import ConfigError
from tamis.corpora.opt_outs import OptOuts
from tamis.corpora.urls import read_url

SHA = hashlib.sha256(b"mine").hexdigest()

LIST = f"""
# remarks and blank lines
example.com   # with a remark
*.wild.example
Bücher.example
198.51.100.7
https://gallery.example/anna/
http://shop.example:8080
https://page.example/a#b
sha256:{SHA.upper()}
{hashlib.sha256(b"bare").hexdigest()}
""".splitlines()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/x.jpg", True),
        ("https://EXAMPLE.com:8443/x.jpg", True),
        ("http://images.cdn.example.com/", True),
        ("http://notexample.com/", False),
        ("http://example.com.evil/", False),
        ("http://wild.example/", True),
        ("http://a.wild.example/", True),
        ("http://xn--bcher-kva.example/", True),
        ("http://198.51.100.7/", True),
        ("http://3325256711/", True),
        ("http://gallery.example/anna/1.jpg", True),
        ("https://gallery.example/anna/1.jpg", True),
        ("https://gallery.example/anna", False),
        ("https://gallery.example/bert/1.jpg", False),
        ("https://x.gallery.example/anna/1.jpg", False),
        ("http://shop.example:8080/any?x", True),
        ("http://shop.example/any", False),
        ("http://page.example/abc", True),
    ],
)
def test_a_url_is_named_or_not(url: str, expected: bool) -> None:
    assert OptOuts.parse(LIST).names(read_url(url)) is expected


def test_an_image_is_named_by_its_hash_alone() -> None:
    opt_outs = OptOuts.parse(LIST)
    named = [opt_outs.names_image(hashlib.sha256(data).hexdigest()) for data in (b"mine", b"bare", b"other")]
    assert named == [True, True, False]


def test_an_empty_list_names_nobody() -> None:
    assert not OptOuts().names(read_url("http://example.com/"))
    assert not OptOuts().names_image(SHA)


@pytest.mark.parametrize("line", ["exa mple.com", "ftp://a/", "a/b", "sha256:12", "a:80:90", "a@b", "a:81", "a?b"])
def test_a_line_that_is_not_understood_is_told_with_its_number(line: str) -> None:
    with pytest.raises(ConfigError, match=r"fetch\.opt_out, line 2: "):
        OptOuts.parse(["example.com", line])
