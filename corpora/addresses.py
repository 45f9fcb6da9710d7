"""Which network addresses may be asked: a table of our own, judged on the address that is really connected to.

URLs come from strangers, and a crawler sits inside somebody's network: a link to the cloud's metadata service, to a
database on the loopback or to a printer must never be followed (server-side request forgery). Names prove nothing,
since a name may resolve to anything, and to something else a second later; so the verdict is on the address, at the
moment the socket is opened. IPv6 addresses that carry an IPv4 one inside are judged by what they carry.

The table follows the IANA special-purpose registries (RFC 6890 and its successors). It is ours because the answers of
``ipaddress.is_global`` have changed between Python releases. In IPv6 only 2000::/3 is global unicast: all else is denied.

Price: 10 us for a new address, 0.1 us for one seen lately.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from .errors import ConfigError

_DENIED_V4 = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),  # carrier-grade NAT (RFC 6598); Alibaba's metadata service is 100.100.100.200
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud_platform"),  # Azure's host channel: a public number that never leaves the machine
        ("169.254.0.0/16", "link_local"),  # 169.254.169.254: the metadata service of most clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),  # Oracle's metadata service is 192.0.0.192
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),  # 6to4 relays, withdrawn (RFC 7526)
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_DENIED_V6 = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),  # NAT64 of one site (RFC 8215)
        ("100::/64", "discard_only"),
        ("2001:2::/48", "benchmarking"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "reserved"),  # protocol assignments; Teredo, inside it, is unwrapped first
        ("3fff::/20", "documentation"),
        ("fc00::/7", "unique_local"),
        ("fe80::/10", "link_local"),
        ("fec0::/10", "site_local"),
        ("ff00::/8", "multicast"),
    )
)

_ENTRY = re.compile(
    r"(?:(?P<host>[a-z0-9._-]+)|\[(?P<bracketed>[0-9a-f:.]+)\])(?::(?P<port>[1-9][0-9]{0,4}))?|(?P<bare>[0-9a-f:.]+)"
)

_GLOBAL_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = IPv6Network("::/96")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


@lru_cache(maxsize=4096)
def verdict(address: str) -> str | None:
    """Say why this IP address may not be asked (``loopback``, ``private``, ...), or None when it is an ordinary public one.

    What is no address at all is ``not_an_address``: the caller refuses that too.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not_an_address"
    if isinstance(parsed, IPv4Address):
        return _first(parsed, _DENIED_V4)
    carried = _carried(parsed)
    for inner in carried:
        if why := _first(inner, _DENIED_V4):
            return why
    if parsed.ipv4_mapped or (carried and parsed in _NAT64) or parsed.teredo:
        return None
    return _first(parsed, _DENIED_V6) or (None if parsed in _GLOBAL_V6 else "not_global")


def _first(address: IPv4Address | IPv6Address, table: Iterable[tuple[IPv4Network | IPv6Network, str]]) -> str | None:
    return next((why for network, why in table if address in network), None)


def _carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses inside: mapped, NAT64, 6to4, Teredo (server and client), IPv4-compatible, ISATAP."""
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped or address in _NAT64:
        return (last,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _V4_COMPATIBLE and int(address) > 1:
        return (last,)
    return (last,) if int(address) >> 32 & 0xFFFFFFFF in _ISATAP else ()


@dataclass(frozen=True)
class AllowList:
    """Private or loopback servers that may be asked all the same, as ``host`` or ``host:port``.

    An entry that is an IP address speaks of the address that is connected to, an entry that is a name of the host in
    the URL. IPv6 addresses take brackets when a port follows: ``[::1]:8000``.

    A kept-alive connection is not judged again, so one list must hold for the whole life of a connection cache.
    """

    entries: frozenset[tuple[str, int | None]] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AllowList:
        """Read the recipe's ``fetch.allow_hosts``.

        Raises:
            ConfigError: an entry is neither ``host`` nor ``host:port``.
        """
        return cls(frozenset(_entry(text) for text in texts))

    def refusal(self, host: str, port: int, address: str) -> str | None:
        """Say why ``address``, to which the URL's ``host`` resolved, may not be asked, or None when it may."""
        why = verdict(address)
        if why is None:
            return None
        asked = {(host, None), (host, port), (address, None), (address, port)}
        return why if self.entries.isdisjoint(asked) else None


def _entry(text: str) -> tuple[str, int | None]:
    found = _ENTRY.fullmatch(text.strip().lower())
    host, port = "", int(found["port"] or 0) if found else 0
    if found:
        with suppress(ValueError):
            host = found["host"] or str(IPv6Address(found["bracketed"] or found["bare"]))
    if not host or port > 65535:
        raise ConfigError(
            f"fetch.allow_hosts has {text!r}; an entry is a host or host:port, such as images.internal:80 or [::1]:8000"
        )
    return host, port or None
