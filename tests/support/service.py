"""A daemon with one 3CX source, as a service manager has it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from support.daemon import Daemon

LINE = (
    b"Call %d,00000172FF10D141_%d,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\r\n"
)


def source(port: int, name: str = "pbx", extra: str = "") -> str:
    """The table of a source that listens."""
    return f'[sources.{name}]\ntype = "3cx"\nlisten = "127.0.0.1:{port}"\n{extra}\n'


@contextlib.contextmanager
def started(daemon: Daemon, *, fresh: bool = False) -> Iterator[Daemon]:
    """A daemon that runs while the context is open; `fresh`: with an interpreter of its own."""
    daemon.start(fresh=fresh)
    try:
        yield daemon
    finally:
        daemon.kill()


def calls(path: Path) -> int:
    """How many calls an SQLite file has."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM calls").fetchone()
        return int(count)


def wait_for_log(daemon: Daemon, text: str, *, times: int = 1, look_seconds: float = 0.02) -> None:
    """Wait until its log says that so many times."""
    deadline = time.monotonic() + 20
    while daemon.log.read_text().count(text) < times:
        assert time.monotonic() < deadline, daemon.log.read_text()[-2000:]
        time.sleep(look_seconds)
