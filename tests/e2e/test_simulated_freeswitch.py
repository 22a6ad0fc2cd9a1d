"""The real daemon beside a simulated FreeSWITCH: the calls table is the ledger, also when the daemon dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cdrhub.sources.simulation.comparison import Difference, Found, compared, extra, missing, people_of
from cdrhub.sources.simulation.ledger import Entry, read
from support.daemon import Daemon
from support.servers import free_port
from support.sql import rows_by_name

SECRET_PATH = "/ingest/freeswitch/0123456789abcdef"
SECONDS = 120.0  #: until what was told to end has ended
RECORDS = 2_000  #: those of some hundred calls


class SimulatedSwitch:
    """`cdrhub simulate freeswitch` as a process."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = free_port()
        self.ledger = directory / "ledger.jsonl"
        listen = ("--listen", f"127.0.0.1:{self.port}", "--ledger", str(self.ledger))
        self.log = directory / "switch.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cdrhub", "simulate", "freeswitch", *listen, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "CDRHUB_SIMULATE_PASSWORD": "s3cret"},
            )

    def finished(self) -> dict[str, Entry]:
        """Let it bring what it began to its end; the ledger."""
        self._process.terminate()
        assert self._process.wait(SECONDS) == 0, self.log.read_text()
        return {key: entry for (_, key), entry in read(self.ledger).items()}

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def sources(port: int, *, documents: bool) -> str:
    listening = f"""
[sources.callcentre]
type = "freeswitch"
port = {port}
password = "s3cret"
region = "FR"
calls = "all"
"""
    posted = f"""
[sources.documents]
type = "freeswitch-cdr"
path = "{SECRET_PATH}"
into = "callcentre"
region = "FR"
"""
    return listening + (posted if documents else "")


def differences(database: Path, ledger: dict[str, Entry]) -> list[Difference]:
    """What the calls table and the ledger tell differently."""
    calls = {row["call_key"]: row for row in rows_by_name(database, "SELECT * FROM calls")}
    legs: dict[str, list[Any]] = {row["id"]: [] for row in calls.values()}
    for leg in rows_by_name(database, "SELECT * FROM call_legs"):
        legs[leg["call_id"]].append(leg)
    told = [missing(entry) for key, entry in ledger.items() if key not in calls]
    for key, row in calls.items():
        if key not in ledger:
            told.append(extra("freeswitch", key, disposition=row["disposition"]))
            continue
        columns = {
            name: datetime.fromisoformat(value) if name.endswith("_at") and value else value
            for name, value in row.items()
        }
        told += compared(ledger[key], Found(columns=columns, people=people_of(legs[row["id"]])))
    return told


@pytest.mark.parametrize("documents", [False, True])
def test_the_calls_are_those_of_the_ledger(tmp_path: Path, *, documents: bool) -> None:
    daemon, switch = started(tmp_path, documents=documents)
    try:
        daemon.wait_for("cdrhub_records_stored_total", RECORDS)
        ledger = switch.finished()
        daemon.drained()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
        switch.stop()
    assert len(ledger) > 50
    assert differences(tmp_path / "hub.db", ledger) == []


def test_what_a_killed_daemon_did_not_hear_the_documents_tell(tmp_path: Path) -> None:
    daemon, switch = started(tmp_path, documents=True)
    try:
        for _ in range(3):
            daemon.wait_for("cdrhub_records_stored_total", 100)
            daemon.kill()
            daemon.start()
        daemon.wait_for("cdrhub_records_stored_total", RECORDS)
        ledger = switch.finished()
        daemon.drained()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
        switch.stop()
    assert len(ledger) > 50
    assert differences(tmp_path / "hub.db", ledger) == []


def started(directory: Path, *, documents: bool) -> tuple[Daemon, SimulatedSwitch]:
    daemon = Daemon(directory / "hub", database=f"sqlite:///{directory}/hub.db", sources="")
    switch = SimulatedSwitch(
        directory,
        *("--rate", "30", "--speed", "60", "--calls", "all"),
        *(("--cdr-to", f"http://127.0.0.1:{daemon.http_port}{SECRET_PATH}") if documents else ()),
    )
    daemon.config.write_text(daemon.config.read_text() + sources(switch.port, documents=documents))
    daemon.start()
    return daemon, switch
