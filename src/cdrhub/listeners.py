"""Listening sockets that outlive a reload: a phone system that reconnects meanwhile finds the port open.

A changed source inherits the socket of its address; the sockets that nobody asked for again after a reload are
closed by `release_unused`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from cdrhub.addresses import split_address
from cdrhub.errors import AddressUnavailable, ConfigError

BACKLOG = 128
_WHAT_TO_DO = {
    errno.EADDRINUSE: "; `ss -ltnp` shows who does (a daemon that runs already has it)",
    errno.EACCES: "; a port below 1024 wants root or CAP_NET_BIND_SERVICE: take a higher one",
    errno.EADDRNOTAVAIL: "; this machine has no such address",
}


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port`; ConfigError if it is neither."""
    try:
        return split_address(address)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def bind(address: str, *, key: str) -> socket.socket:
    """A new listening, non-blocking socket for `host:port`, which the configuration has under `key`. Raises
    AddressUnavailable that says why it cannot be had."""
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening: socket.socket | None = None
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise AddressUnavailable(
            f"{key}: cannot listen on {address}: {error.strerror or error}{_WHAT_TO_DO.get(error.errno or 0, '')}"
        ) from error
    return listening


class Listeners:
    """The listening sockets of this process, by address."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self._asked: set[str] = set()

    def socket(self, address: str) -> socket.socket:
        """A duplicate of the listening socket of `address`; the caller closes it, the original stays open."""
        self._asked.add(address)
        if address not in self._sockets:
            self._sockets[address] = bind(address, key="listen")
        return self._sockets[address].dup()

    def expect(self, addresses: Mapping[str, str]) -> None:
        """Bind what a new configuration needs and is not open yet (address → its key); on AddressUnavailable nothing
        has changed. A socket of our own may be in the way: `127.0.0.1:5555` of `0.0.0.0:5555`."""
        opened: dict[str, socket.socket] = {}
        try:
            for address in sorted(addresses - self._sockets.keys()):
                opened[address] = bind(address, key=addresses[address])
        except (AddressUnavailable, ConfigError) as error:
            for listening in opened.values():
                listening.close()
            if isinstance(error, AddressUnavailable) and (ours := self._same_port(address)) is not None:
                raise AddressUnavailable(
                    f"{addresses[address]}: {address} cannot be had while this daemon listens on {ours}: restart it"
                ) from error
            raise
        self._sockets.update(opened)
        self._asked = set(addresses)

    def _same_port(self, address: str) -> str | None:
        return next((ours for ours in self._sockets if ours.rpartition(":")[2] == address.rpartition(":")[2]), None)

    def release_unused(self) -> None:
        """Close the sockets that nobody asked for since the last `expect`."""
        for address in self._sockets.keys() - self._asked:
            self._sockets.pop(address).close()

    def close(self) -> None:
        """Close all of them."""
        for listening in self._sockets.values():
            listening.close()
        self._sockets.clear()
