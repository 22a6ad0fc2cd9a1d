"""systemd hears what sd_notify(3) specifies; without a socket nothing happens."""

import socket
from pathlib import Path

from cdrhub.notify import SystemdNotifier


def test_the_manager_hears_ready_status_and_watchdog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
        notifier.ready("2 sources")
        notifier.reloading()
        notifier.alive("fine")
        notifier.stopping()
        heard = [manager.recv(512).decode() for _ in range(4)]
    assert notifier.watchdog_seconds == 10
    assert heard[0] == "READY=1\nSTATUS=2 sources"
    assert heard[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[2] == "WATCHDOG=1\nSTATUS=fine"
    assert heard[3].startswith("STOPPING=1")


def test_a_manager_that_is_away_for_a_moment_hears_the_next_beat(tmp_path: Path) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notifier.ready("nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier.alive("back")
        assert manager.recv(512) == b"WATCHDOG=1\nSTATUS=back"
    assert SystemdNotifier({}).watchdog_seconds is None
