"""A database that lost what was in it: restored from an older backup, or exchanged for another one."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from support.daemon import Daemon
from support.servers import free_port
from support.sql import rows

LINE = (
    b"Call %d,00000172FF10D141_%d,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)


class Hub:
    """A daemon with one source; each run ends in order."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.database = directory / "hub.db"
        source = f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{self.port}"\n'
        self.daemon = Daemon(directory, database=f"sqlite:///{self.database}", sources=source)

    def runs(self, *numbers: int) -> None:
        """Start, take these lines, stop."""
        self.daemon.start()
        try:
            if numbers:
                with socket.create_connection(("127.0.0.1", self.port)) as pbx:
                    pbx.sendall(b"".join(LINE % (number, number) for number in numbers))
                    self.daemon.wait_for("cdrhub_records_stored_total", len(numbers))
            assert self.daemon.stop() == 0
        finally:
            self.daemon.kill()

    def copy(self, target: Path) -> None:
        """A backup as SQLite makes it."""
        with (
            contextlib.closing(sqlite3.connect(self.database)) as here,
            contextlib.closing(sqlite3.connect(target)) as to,
        ):
            here.backup(to)

    def restore(self, backup: Path) -> None:
        """Put a backup in the place of the database."""
        for file in self.database.parent.glob("hub.db*"):
            file.unlink()
        backup.rename(self.database)

    def rows(self, statement: str) -> list[Any]:
        return list(rows(f"sqlite:///{self.database}", statement))

    def told(self) -> list[dict[str, Any]]:
        """Every line of the log that says so."""
        lines = [orjson.loads(line) for line in self.daemon.log.read_bytes().splitlines()]
        return [line for line in lines if line.get("action") == "database_older"]

    def lost(self) -> list[tuple[datetime, datetime]]:
        """What the coverage says is lost."""
        rows = self.rows(
            "SELECT since, until FROM coverage WHERE state = 'blind' AND detail LIKE 'the database lacks%'"
        )
        return [(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in rows]


def received(hub: Hub) -> list[datetime]:
    """When each record of the phone system was received, in order."""
    rows = hub.rows("SELECT received_at FROM records WHERE content_type = 'text/csv' ORDER BY id")
    return [datetime.fromisoformat(moment) for (moment,) in rows]


def test_what_a_restored_database_has_lost_is_told_once_and_is_blind(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub.runs(1)
    hub.copy(tmp_path / "backup")
    hub.runs(2, 3)
    hub.runs()
    kept, *gone = received(hub)
    assert hub.told() == []
    hub.restore(tmp_path / "backup")
    hub.runs(4)
    assert [moment for moment in received(hub) if moment in gone] == []
    (line,) = hub.told()
    ((since, until),) = hub.lost()
    assert datetime.fromisoformat(line["since"]) == since
    assert kept <= since < gone[0]
    assert gone[-1] < until
    hub.runs(5)
    assert len(hub.told()) == len(hub.lost()) == 1


def test_another_database_is_told_as_well(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub.runs(1)
    (gone,) = received(hub)
    for file in tmp_path.glob("hub.db*"):
        file.unlink()
    hub.runs()
    assert len(hub.told()) == 1
    ((since, until),) = hub.lost()
    assert gone <= since < until
    hub.runs(2)
    assert len(hub.told()) == 1
