"""Addresses and networks as people write them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cdrhub.addresses import join_address, read_network, split_address
from cdrhub.sources.transports.request_body import allow_list


@pytest.mark.parametrize(("host", "written"), [("10.0.0.5", "10.0.0.5:5555"), ("fd00::1", "[fd00::1]:5555")])
def test_a_host_and_its_port(host: str, written: str) -> None:
    assert join_address(host, 5555) == written
    assert split_address(written) == (host, 5555)


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("fd00::/8", "fd00::/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network(written: str, network: str) -> None:
    assert read_network(written) == ip_network(network)


def test_a_list_of_mapped_addresses_lets_these_in() -> None:
    allows = allow_list([read_network("::ffff:10.0.0.0/104")])
    assert [allows(peer) for peer in ("::ffff:10.1.2.3", "10.1.2.3", "192.0.2.7")] == [True, True, False]
