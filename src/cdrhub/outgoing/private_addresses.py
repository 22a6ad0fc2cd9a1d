"""Which addresses of the network are nobody's but ours.

A URL that somebody else may influence (a webhook, a dialler, a look-up of a CRM) must not lead the hub into the private
network: to a cloud's metadata service, a router, the hub itself (server-side request forgery). What names lead to is
checked by public_resolver.py. Redirects are not followed by the clients of this hub; a redirect is an answer like any
other.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from yarl import URL

_NOBODYS_BUT_OURS, _EVERYBODYS = False, True
_BLOCKS: Final = {
    "0.0.0.0/0": _EVERYBODYS,
    "0.0.0.0/8": _NOBODYS_BUT_OURS,  # "this network", RFC 791
    "10.0.0.0/8": _NOBODYS_BUT_OURS,  # private use, RFC 1918
    "100.64.0.0/10": _NOBODYS_BUT_OURS,  # shared address space, RFC 6598
    "127.0.0.0/8": _NOBODYS_BUT_OURS,  # loopback, RFC 1122
    "169.254.0.0/16": _NOBODYS_BUT_OURS,  # link-local, RFC 3927
    "172.16.0.0/12": _NOBODYS_BUT_OURS,  # private use, RFC 1918
    "192.0.0.0/24": _NOBODYS_BUT_OURS,  # protocol assignments, RFC 6890
    "192.0.0.9/32": _EVERYBODYS,  # Port Control Protocol, RFC 7723
    "192.0.0.10/32": _EVERYBODYS,  # TURN, RFC 8155
    "192.0.2.0/24": _NOBODYS_BUT_OURS,  # documentation, RFC 5737
    "192.88.99.0/24": _NOBODYS_BUT_OURS,  # relays of 6to4 that are no more, RFC 7526
    "192.168.0.0/16": _NOBODYS_BUT_OURS,  # private use, RFC 1918
    "198.18.0.0/15": _NOBODYS_BUT_OURS,  # benchmarks, RFC 2544
    "198.51.100.0/24": _NOBODYS_BUT_OURS,  # documentation, RFC 5737
    "203.0.113.0/24": _NOBODYS_BUT_OURS,  # documentation, RFC 5737
    "224.0.0.0/4": _NOBODYS_BUT_OURS,  # multicast, RFC 5771
    "240.0.0.0/4": _NOBODYS_BUT_OURS,  # reserved, RFC 1112, and broadcast
    "::/0": _NOBODYS_BUT_OURS,  # loopback, local, site-local, multicast, and what nobody was given
    "::ffff:0:0/96": _EVERYBODYS,  # IPv4-mapped, RFC 4291: as what they lead to
    "64:ff9b::/96": _EVERYBODYS,  # NAT64, RFC 6052: as what they lead to
    "2000::/3": _EVERYBODYS,  # global unicast, RFC 4291; 6to4 (RFC 3056) in it: as what they lead to
    "2001::/23": _NOBODYS_BUT_OURS,  # protocol assignments, RFC 2928
    "2001::/32": _EVERYBODYS,  # Teredo, RFC 4380: as what they lead to
    "2001:1::1/128": _EVERYBODYS,  # Port Control Protocol, RFC 7723
    "2001:1::2/128": _EVERYBODYS,  # TURN, RFC 8155
    "2001:1::3/128": _EVERYBODYS,  # DNS-SD, RFC 9665
    "2001:3::/32": _EVERYBODYS,  # AMT, RFC 7450
    "2001:4:112::/48": _EVERYBODYS,  # AS112, RFC 7535
    "2001:20::/28": _EVERYBODYS,  # ORCHIDv2, RFC 7343
    "2001:30::/28": _EVERYBODYS,  # DRIP, RFC 9374
    "2001:db8::/32": _NOBODYS_BUT_OURS,  # documentation, RFC 3849
    "3fff::/20": _NOBODYS_BUT_OURS,  # documentation, RFC 9637
}
"""What IANA's registries of special-purpose addresses (RFC 6890, as of 2025) say is reachable globally; the smallest
block that holds an address decides. Not Python's own tables: those differ from one of its versions to the next."""
_SMALLEST_FIRST: Final = sorted(
    ((ip_network(block), everybodys) for block, everybodys in _BLOCKS.items()),
    key=lambda one: one[0].prefixlen,
    reverse=True,
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  #: the upper half of an interface's identifier (RFC 5214, 6.1)


class PrivateAddress(OSError):
    """The name or the address lies in a private network; `allow_private = true` permits it."""


def is_public(address: str) -> bool:
    """Whether `address` (an IP literal) is reachable for everybody on the internet.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64, ISATAP) count as what they lead to. What is no address
    is not public.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_everybodys(one) for one in (parsed, *_inside(parsed)))


def _is_everybodys(address: IPv4Address | IPv6Address) -> bool:
    return next(everybodys for block, everybodys in _SMALLEST_FIRST if address in block)


def _inside(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def leads_inside(url: str) -> bool:
    """Whether the host of `url` is written as a private address, or is this machine by name. A client asks its resolver
    about names only: an address in the URL itself must be checked here."""
    host = (URL(url).host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return _is_legacy_address(host)
    return not is_public(host)


def _is_legacy_address(host: str) -> bool:
    """Whether the C library reads `host` as an address though it is not written as one: `127.1`, `0x7f000001`."""
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return False
    return not is_public(socket.inet_ntoa(packed))
