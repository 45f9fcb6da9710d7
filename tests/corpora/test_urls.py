"""URLs as lists have them: made askable, or refused without an accident."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.corpora.errors import DataError
from tamis.corpora.urls import MAX_URL_CHARACTERS, read_url


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://EXAMPLE.com:80/A", "http://example.com/A"),
        ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://example.com:80/", "https://example.com:80/"),
        (" http://a_b.example/x y.jpg\n", "http://a_b.example/x%20y.jpg"),
        ("http://example.com/a\tb\nc", "http://example.com/abc"),
        ("http://example.com/a[1]|{2}.jpg", "http://example.com/a[1]|%7B2%7D.jpg"),
        ("http://example.com/%E4%BD%A0%20", "http://example.com/%E4%BD%A0%20"),
        ("http://example.com/100%.jpg", "http://example.com/100%25.jpg"),
        ("http://example.com/图.jpg?名=值", "http://example.com/%E5%9B%BE.jpg?%E5%90%8D=%E5%80%BC"),
        ("https://例え.jp/x", "https://xn--r8jz45g.jp/x"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://example.com./x", "http://example.com/x"),
        ("http:\\\\example.com\\x", "http://example.com/x"),
        ("http://example.com/?q=a\\b", "http://example.com/?q=a%5Cb"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_listed_url_gets_its_one_spelling(listed: str, asked: str) -> None:
    assert read_url(listed).url == asked


@pytest.mark.parametrize(
    "disguise",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1"),
        *("127.0.0.1.", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1"),
    ],
)
def test_disguised_ipv4_host_is_unmasked(disguise: str) -> None:
    target = read_url(f"http://{disguise}:81/")
    assert (target.host, target.port, target.literal, target.url) == ("127.0.0.1", 81, True, "http://127.0.0.1:81/")


def test_ipv6_host_loses_its_brackets_and_disguise() -> None:
    target = read_url("http://[0:0:0:0:0:FFFF:127.0.0.1]/")
    assert (target.host, target.literal) == ("::ffff:7f00:1", True)


@pytest.mark.parametrize(
    "listed",
    [
        *("", "   ", "cat.jpg", "//example.com/x", "http:///x", "http://", "mailto:a@b.c", "javascript:alert(1)"),
        *("file:///etc/passwd", "gopher://example.com/_x", "ftp://example.com/x", "data:image/png;base64,AAAA"),
        *("http://user:word@example.com/", "http://user@example.com/", "http://example.com@10.0.0.1/", "http://@a/"),
        *("http://example.com:99999/", "http://example.com:0/", "http://example.com:x/", "http://example.com:٣/"),
        *("http://a..b/", "http://exa mple.com/", "http://exa%6dple.com/", "http://a%00b/", "http://a,b/"),
        *("http://1.2.3.256/", "http://1.2.3.4.5/", "http://0x/", "http://09/", "http://example.1/"),
        *(
            "http://[::1/",
            "http://[::g]/",
            "http://[fe80::1%25eth0]/",
            "http://[v1.x]/",
            "http://\ud800/",
            "http://a/\ud800",
        ),
        *("http://" + "a" * 64 + ".com/", "http://" + "a." * 127 + "com/", "http://a/" + "x" * MAX_URL_CHARACTERS),
    ],
)
def test_url_that_cannot_be_asked_is_refused(listed: str) -> None:
    with pytest.raises(DataError) as refused:
        read_url(listed)
    assert refused.value.reason == "bad_url"


URLS = st.one_of(
    st.text(max_size=60),
    st.text(max_size=40).map("http://{}".format),
    st.text(max_size=40).map("https://example.com/{}".format),
    st.from_regex(r"http://(\[[0-9a-f:.%]*\]|[0-9a-fx.]*)(:[0-9]*)?[/\\?#@].{0,10}", fullmatch=True),
)


@given(URLS)
@example("http://a:b@c@d/")
@example("http://a/?@b#c")
def test_any_text_is_either_refused_or_askable(text: str) -> None:
    try:
        target = read_url(text)
    except DataError:  # and nothing else
        return
    assert target.url.isascii()
    assert not set(target.url) & set(' \t\r\n\\"<>`{}^')
    assert read_url(target.url) == target
    parts = urlsplit(target.url)
    assert (parts.scheme, parts.hostname, parts.port or target.port) == (target.scheme, target.host, target.port)
