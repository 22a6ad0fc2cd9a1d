"""Notice a dead peer of a connection on which nothing is sent: half-open TCP behind NAT or a firewall lost the first
records after a night on a real PBX (tcp(7))."""

from __future__ import annotations

import socket

INTERVAL_SECONDS = 10  #: between two probes
PROBES = 3  #: without an answer, after which the connection is lost


def keep_alive(connection: socket.socket, *, idle_seconds: int, timeout_seconds: int) -> None:
    """Probe the peer after `idle_seconds` of silence; give it up when it has not answered for `timeout_seconds`."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_seconds * 1000)
