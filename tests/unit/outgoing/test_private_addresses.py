"""Which addresses are everybody's, and that a name which leads to another is not connected to."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cdrhub.outgoing.private_addresses import PrivateAddress, is_public, leads_inside
from cdrhub.outgoing.public_resolver import PublicResolver


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


#: IANA's registries of special-purpose addresses, each row of them: whether it is globally reachable. `None` is what
#: they call not applicable: 6to4 and Teredo lead to IPv4 addresses, 6to4's relays are no more.
REGISTRIES = {
    "0.0.0.0/8": False,
    "0.0.0.0/32": False,
    "10.0.0.0/8": False,
    "100.64.0.0/10": False,
    "127.0.0.0/8": False,
    "169.254.0.0/16": False,
    "172.16.0.0/12": False,
    "192.0.0.0/24": False,
    "192.0.0.0/29": False,
    "192.0.0.8/32": False,
    "192.0.0.9/32": True,
    "192.0.0.10/32": True,
    "192.0.0.170/32": False,
    "192.0.0.171/32": False,
    "192.0.2.0/24": False,
    "192.31.196.0/24": True,
    "192.52.193.0/24": True,
    "192.88.99.0/24": None,
    "192.88.99.2/32": False,
    "192.168.0.0/16": False,
    "192.175.48.0/24": True,
    "198.18.0.0/15": False,
    "198.51.100.0/24": False,
    "203.0.113.0/24": False,
    "240.0.0.0/4": False,
    "255.255.255.255/32": False,
    "::1/128": False,
    "::/128": False,
    "64:ff9b:1::/48": False,
    "100::/64": False,
    "100:0:0:1::/64": False,
    "2001::/23": False,
    "2001::/32": None,
    "2001:1::1/128": True,
    "2001:1::2/128": True,
    "2001:1::3/128": True,
    "2001:2::/48": False,
    "2001:3::/32": True,
    "2001:4:112::/48": True,
    "2001:10::/28": False,
    "2001:20::/28": True,
    "2001:30::/28": True,
    "2001:db8::/32": False,
    "2002::/16": None,
    "2620:4f:8000::/48": True,
    "3fff::/20": False,
    "5f00::/16": False,
    "fc00::/7": False,
    "fe80::/10": False,
}
#: Blocks that have a meaning elsewhere, and what of IPv6 nobody was given: global unicast is 2000::/3.
ELSEWHERE = {
    "224.0.0.0/4": False,
    "::/96": False,
    "200::/7": False,
    "400::/6": False,
    "800::/5": False,
    "1000::/4": False,
    "4000::/4": False,
    "6000::/3": False,
    "8000::/1": False,
    "fec0::/10": False,
    "ff00::/8": False,
}
BLOCKS = REGISTRIES | ELSEWHERE


@pytest.mark.parametrize("block", [block for block, reachable in BLOCKS.items() if reachable is not None])
def test_the_registries_say_so(block: str) -> None:
    network = ip_network(block)
    for address in (network[0], network[network.num_addresses // 2], network[-1]):
        inner = {one for one in BLOCKS if address in ip_network(one) and ip_network(one).prefixlen > network.prefixlen}
        assert inner or is_public(str(address)) is BLOCKS[block], address


@pytest.mark.parametrize("block", BLOCKS)
def test_what_lies_beside_a_block_is_not_of_it(block: str) -> None:
    network = ip_network(block)
    for beside in (int(network[0]) - 1, int(network[-1]) + 1):
        if not 0 <= beside < 2**network.max_prefixlen:
            continue
        address = ip_address(beside.to_bytes(network.max_prefixlen // 8, "big"))
        if not any(address in ip_network(one) for one in BLOCKS):
            assert is_public(str(address)) is (address.version == 4 or address in ip_network("2000::/3")), address


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("::ffff:{four}", None),
        ("64:ff9b::{four}", None),
        ("2002:{hex}::1", None),
        ("2001:0:{hex}::{teredo}", None),
        ("2001:0:101:101::{teredo}", None),
        ("2001:0:{hex}::fefe:fefe", None),  # a client that has 1.1.1.1
        ("2600::5efe:{four}", None),
        ("2600::200:5efe:{four}", None),
        ("64:ff9b:1::{four}", False),  # NAT64 of one's own (RFC 8215)
        ("::{four}", False),
        ("::ffff:0:{four}", False),
        ("fd00::5efe:{four}", False),
    ],
)
@pytest.mark.parametrize(
    ("four", "its"), [("1.1.1.1", True), ("192.0.0.9", True), ("10.0.0.1", False), ("192.0.0.11", False)]
)
def test_an_address_inside_another_is_what_it_leads_to(address: str, public: bool | None, four: str, its: bool) -> None:
    number = int(ip_address(four))
    turned = number ^ 0xFFFFFFFF
    said = address.format(
        four=four,
        hex=f"{number >> 16:x}:{number & 0xFFFF:x}",
        teredo=f"{turned >> 16:x}:{turned & 0xFFFF:x}",
    )
    assert is_public(said) is (its if public is None else public)


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
