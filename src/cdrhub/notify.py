"""What the daemon tells systemd: READY, RELOADING, STOPPING, STATUS, WATCHDOG (sd_notify(3)).

A datagram of `NAME=value` lines to the socket in $NOTIFY_SOCKET; without one, nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class SystemdNotifier:
    """Sends state to the service manager that started us, if one did."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds: float | None = int(watchdog) / 1e6 / 2 if watchdog.isdigit() else None
        self._caution = ""

    def ready(self, status: str, *, caution: str = "") -> None:
        """The daemon serves. `caution` stands behind this status and those of the beats, until it serves anew."""
        self._caution = f"; {caution}" if caution else ""
        self._send(f"READY=1\nSTATUS={status}{self._caution}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon drains and will exit."""
        self._send("STOPPING=1\nSTATUS=draining")

    def alive(self, status: str) -> None:
        """The watchdog's beat, with what `systemctl status` shows."""
        self._send(f"WATCHDOG=1\nSTATUS={status}{self._caution}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A manager that is away for a moment must neither take the daemon along nor miss the beats after it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect(self._address)
            notify.sendall(message.encode())
