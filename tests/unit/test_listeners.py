"""Listening sockets survive a reload, are closed when no longer wanted, and refuse with a sentence."""

import socket

import pytest

from cdrhub.errors import AddressUnavailable, ConfigError
from cdrhub.listeners import Listeners, bind, parse_address
from support.descriptors import no_free_descriptor


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:5555", ("127.0.0.1", 5555)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["5555", ":5555", "host:", "host:x", "host:70000", ""])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        parse_address(text)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def connects(address: str) -> bool:
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(parse_address(address)) == 0


def test_a_source_that_stops_leaves_the_port_open_for_its_successor() -> None:
    address, listeners = free_address(), Listeners()
    listeners.expect({address: "sources.a.listen"})
    listeners.socket(address).close()
    assert connects(address)
    listeners.expect({address: "sources.a.listen"})
    listeners.release_unused()
    assert connects(address)
    listeners.expect({})
    listeners.release_unused()
    assert not connects(address)


def test_a_socket_of_our_own_that_is_in_the_way_is_named() -> None:
    address, listeners = free_address(), Listeners()
    everything = f"0.0.0.0:{address.rpartition(':')[2]}"
    try:
        listeners.expect({address: "sources.a.listen"})
        with pytest.raises(AddressUnavailable, match=f"sources.a.listen: .* while this daemon listens on {address}"):
            listeners.expect({everything: "sources.a.listen"})
        assert connects(address)
    finally:
        listeners.close()


def test_a_taken_port_changes_nothing_and_says_so() -> None:
    taken, free = free_address(), free_address()
    holder, listeners = bind(taken, key="http.listen"), Listeners()
    try:
        with pytest.raises(AddressUnavailable, match=f"sources.b.listen: cannot listen on {taken}: .*ss -ltnp"):
            listeners.expect({free: "sources.a.listen", taken: "sources.b.listen"})
        assert not connects(free)
    finally:
        holder.close()
        listeners.close()


def test_an_address_that_cannot_be_had_for_want_of_a_descriptor_is_refused_with_a_sentence() -> None:
    """A reload met an error that it did not know, and the daemon ended."""
    address = free_address()
    with no_free_descriptor(), pytest.raises(AddressUnavailable, match="Too many open files"):
        bind(address, key="sources.a.listen")


def test_an_address_of_another_machine_is_in_nobodys_use() -> None:
    """`ss -ltnp` was to show who listens there."""
    with pytest.raises(
        AddressUnavailable, match=r"cannot listen on 192\.0\.2\.1:5555: .*; this machine has no such address$"
    ):
        bind("192.0.2.1:5555", key="sources.a.listen")
