"""Every address that leads inside is denied, however it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.addresses import AllowList, verdict
from tamis.corpora.errors import ConfigError

DENIED_V4 = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "shared",
    "100.100.100.200": "shared",
    "127.0.0.1": "loopback",
    "127.255.0.1": "loopback",
    "168.63.129.16": "cloud_platform",
    "169.254.169.254": "link_local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
}

PUBLIC_V4 = (
    *(
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
    ),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255"),
)

DENIED_V6 = {
    "::": "unspecified",
    "::1": "loopback",
    "64:ff9b:1::1": "private",
    "100::1": "discard_only",
    "2001:2::1": "benchmarking",
    "2001:db8::1": "documentation",
    "2001:20::1": "reserved",
    "3fff::1": "documentation",
    "4000::1": "not_global",
    "5f00::1": "not_global",
    "::808:808": "not_global",
    "fc00::1": "unique_local",
    "fd00:ec2::254": "unique_local",
    "fe80::1": "link_local",
    "fe80::1%eth0": "link_local",
    "fec0::1": "site_local",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize(("address", "why"), [*DENIED_V4.items(), *DENIED_V6.items()])
def test_special_addresses_are_denied_by_name(address: str, why: str) -> None:
    assert verdict(address) == why


@pytest.mark.parametrize("address", [*PUBLIC_V4, "2001:4860:4860::8888", "2606:4700::1111", "2a00::1", "2400::1"])
def test_public_addresses_are_asked(address: str) -> None:
    assert verdict(address) is None


def carriers(inner: str) -> dict[str, str]:
    """The ways to write an IPv4 address inside an IPv6 one."""
    number = int(IPv4Address(inner))
    high, low = number >> 16, number & 0xFFFF
    return {
        "mapped": f"::ffff:{inner}",
        "nat64": f"64:ff9b::{high:x}:{low:x}",
        "6to4": f"2002:{high:x}:{low:x}::1",
        "teredo client": str(IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF))),
        "teredo server": str(IPv6Address((0x20010000 << 96) | (number << 64) | (0x08080808 ^ 0xFFFFFFFF))),
        "isatap": f"2606:4700::5efe:{high:x}:{low:x}",
    }


@pytest.mark.parametrize(("inner", "why"), DENIED_V4.items())
def test_ipv6_that_carries_a_denied_ipv4_address_is_denied_like_it(inner: str, why: str) -> None:
    assert {name: verdict(outer) for name, outer in carriers(inner).items()} == dict.fromkeys(carriers(inner), why)


@pytest.mark.parametrize("inner", PUBLIC_V4)
def test_ipv6_that_carries_a_public_ipv4_address_is_asked(inner: str) -> None:
    assert {name: verdict(outer) for name, outer in carriers(inner).items()} == dict.fromkeys(carriers(inner))


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_asked(address: IPv4Address | IPv6Address) -> None:
    if verdict(str(address)) is None:
        facts = ("is_loopback", "is_link_local", "is_multicast", "is_unspecified")
        assert [fact for fact in facts if getattr(address, fact)] == []
        assert not address.is_private or (isinstance(address, IPv6Address) and address.ipv4_mapped)


@pytest.mark.parametrize(
    "text", ["", "localhost", "1.2.3", "010.1.1.1", "1.1.1.1 ", "0x08080808", "::g", "%", "[::1]", "\0"]
)
def test_what_is_no_address_is_denied(text: str) -> None:
    assert verdict(text) == "not_an_address"


def test_name_entry_speaks_of_the_host_in_the_url() -> None:
    allow = AllowList.parse(["images.internal", "db.internal:8080"])
    assert allow.refusal("images.internal", 443, "10.0.0.5") is None
    assert allow.refusal("db.internal", 8080, "10.0.0.6") is None
    assert allow.refusal("db.internal", 80, "10.0.0.6") == "private"
    assert allow.refusal("evil.example", 443, "10.0.0.5") == "private"


def test_address_entry_speaks_of_the_address_connected_to() -> None:
    allow = AllowList.parse(["127.0.0.1:8000", "[0:0::1]:8000", "fd00::7"])
    assert allow.refusal("anything.example", 8000, "127.0.0.1") is None
    assert allow.refusal("127.0.0.1", 8001, "127.0.0.1") == "loopback"
    assert allow.refusal("localhost", 8000, "::1") is None
    assert allow.refusal("localhost", 8001, "::1") == "loopback"
    assert allow.refusal("nas", 80, "fd00::7") is None


def test_empty_list_allows_what_is_public_and_nothing_else() -> None:
    assert AllowList().refusal("example.org", 80, "93.184.216.34") is None
    assert AllowList().refusal("example.org", 80, "127.0.0.1") == "loopback"


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "http://a",
        "a:",
        "a:b",
        "a:0",
        "a:65536",
        "a b",
        "*",
        "1:2:3",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[::g]:1",
        "[1.2.3.4]",
    ],
)
def test_broken_entry_is_told(entry: str) -> None:
    with pytest.raises(ConfigError, match="allow_hosts"):
        AllowList.parse([entry])
