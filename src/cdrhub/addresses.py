"""Addresses, `host:port` with an IPv6 host in brackets (RFC 3986, 3.2.2), and networks, as people write them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96  #: before an IPv4 address in IPv6 (RFC 4291, 2.5.5.2)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; ValueError that says how to write it."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host and not bracketed) or not port.isascii() or not port.isdigit():
        raise ValueError(f"{address!r} is not an address: write host:port, e.g. '127.0.0.1:8080' or '[::1]:8080'")
    if int(port[:6]) > 65_535 or len(port) > 5:
        raise ValueError(f"{address!r} is not an address: a port is a number up to 65535")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """`host:port` or `[v6]:port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that `text` is, if it is one. An IPv4 peer of a socket that listens on `[::]` is written
    `::ffff:192.0.2.7` (RFC 4291, 2.5.5.2) and is that IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_network(value: Any) -> Network:
    """The network of `10.0.0.0/8`, or of one address; ValueError that says how to write it. One of IPv4 addresses in
    IPv6 (`::ffff:10.0.0.0/104`) is that of IPv4: so are those that come over a socket of IPv6 read."""
    try:
        network = ip_network(value, strict=False)
        mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
        return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{value!r} is not a network: write e.g. '10.0.0.0/8', '192.0.2.7' or 'fd00::/8'") from error
