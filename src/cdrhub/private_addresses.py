"""Which addresses of the network are nobody's but ours, and clients that do not connect to them.

A URL that somebody else may influence (a webhook, a dialler, a look-up of a CRM) must not lead the hub into the private
network: to a cloud's metadata service, a router, the hub itself (server-side request forgery). The check is made on the
address that is then connected to, so that a name which changes its address between two look-ups gains nothing.
Redirects are not followed by the clients of this hub; a redirect is an answer like any other.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_IPV4_AT_THE_END = (
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    IPv6Network("64:ff9b:1::/48"),  # RFC 8215
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 2.5.5.1
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
)
_ISATAP = (0x00005EFE, 0x02005EFE)  #: the upper half of an interface's identifier (RFC 5214, 6.1)
_NOBODYS = (
    IPv6Network("fec0::/10"),  # site-local, RFC 3879: no more, but still routed inside
    IPv6Network("5f00::/16"),  # segment routing, RFC 9602
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
    IPv6Network("100:0:0:1::/64"),  # dummy, RFC 9780
)
"""What the registries took out and Python's own tables do not know."""


class PrivateAddress(OSError):
    """The name or the address lies in a private network; `allow_private = true` permits it."""


def is_public(address: str) -> bool:
    """Whether `address` (an IP literal) is reachable for everybody on the internet, by the registries of RFC 6890.

    IPv4 addresses inside IPv6 ones (mapped, compatible, translated, 6to4, Teredo, NAT64, ISATAP) count as what they
    lead to. What is no address is not public.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(parsed in network for network in _NOBODYS):
        return False
    return all(one.is_global and not one.is_multicast for one in (parsed, *_inside(parsed)))


def _inside(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _IPV4_AT_THE_END) or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
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


class PublicResolver(AbstractResolver):
    """Looks names up like the system does and refuses those that lead to a private address.

    For `aiohttp.TCPConnector(resolver=…)`. Raises PrivateAddress where any of a name's addresses is private.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if any(not is_public(one["host"]) for one in found):
            raise PrivateAddress(f"{host} lies in a private network")
        return found

    async def close(self) -> None:
        await self._inner.close()
