"""Which addresses are everybody's, and that a name which leads to another is not connected to."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cdrhub.private_addresses import PrivateAddress, PublicResolver, is_public, leads_inside


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "::ffff:1.1.1.1",  # IPv4-mapped
        "2002:0101:0101::1",  # 6to4 of 1.1.1.1
        "2600::5efe:1.1.1.1",  # ISATAP
    ],
)
def test_addresses_of_everybody(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # RFC 6598
        "169.254.169.254",  # the metadata service of clouds
        "192.0.2.1",  # RFC 5737
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:0001::1",  # 6to4 of 127.0.0.1
        "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
        "64:ff9b:1::7f00:1",
        "2001:0:1:2:3:4:80ff:fffe",  # Teredo of 127.0.0.1
        "::127.0.0.1",  # IPv4-compatible
        "::a9fe:a9fe",
        "::ffff:0:127.0.0.1",  # IPv4-translated
        "2600::5efe:10.0.0.1",  # ISATAP
        "2600::200:5efe:10.0.0.1",
        "fec0::1",  # site-local
        "5f00::1",
        "3fff::1",
        "100:0:0:1::1",
        "crm.example",
        "",
    ],
)
def test_addresses_of_ours(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://localhost:8443/x",
        "http://LocalHost./",
        "http://crm.localhost/",
        "http://[::1]:80/",
        "http://[::ffff:10.0.0.1]/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
    ],
)
def test_urls_that_lead_inside_as_they_are_written(url: str) -> None:
    assert leads_inside(url)


@pytest.mark.parametrize(
    "url", ["https://crm.example/", "http://1.1.1.1/", "http://[2606:4700:4700::1111]/", "http://1.1/"]
)
def test_other_urls_are_for_the_resolver(url: str) -> None:
    assert not leads_inside(url)


class Names(AbstractResolver):
    """A resolver of one name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        self.closed = True


async def test_a_name_is_looked_up_and_its_addresses_are_checked() -> None:
    names = Names("1.1.1.1", "2606:4700:4700::1111")
    resolver = PublicResolver(names)
    assert [one["host"] for one in await resolver.resolve("crm.example", 443)] == ["1.1.1.1", "2606:4700:4700::1111"]
    await resolver.close()
    assert names.closed


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("1.1.1.1", "127.0.0.1")])
async def test_a_name_with_a_private_address_among_its_own_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(PrivateAddress, match=r"crm\.example"):
        await PublicResolver(Names(*addresses)).resolve("crm.example", 443)
