"""3CX lines over TCP to committed rows: PostgreSQL beside rsyslog, SQLite beside a commit-per-record script."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from bench import load
from bench.machine import cpu_seconds, program_version
from bench.peers import rsyslog
from bench.peers.listening import listening
from support.daemon import Daemon
from support.servers import PostgresServer, free_port, running

AHEAD = 20_000  #: records between the sender and the database at most: the journal's depth stays flat
FLOOD = 200_000  #: rsyslog starts its second worker only when far more than AHEAD records wait: measured besides
SCRIPT_AHEAD = 2_000  #: for the script, which no queue makes faster
LOOK_SECONDS = 60.0  #: that counting the script's rows may wait for the script
WARM_UP_SECONDS = 5.0
MEMORY_SAMPLES = 12

_TIMES = b"2026/03/09 10:%02d:%02d"
_SHAPES = (
    # answered by an extension
    b"Call %(id)d,%(callid)s,00:03:14,%(start)s,%(answered)s,%(end)s,TerminatedBySrc,0%(number)d,Ext.%(agent)d,10000,"
    b"%(agent)d,%(agent)d,,,,,,,,Chain: 0%(number)d;Ext.%(agent)d;\r\n",
    # dialled out and answered
    b"Call %(id)d,%(callid)s,00:03:14,%(start)s,%(answered)s,%(end)s,TerminatedByDst,Ext.%(agent)d,0%(number)d,"
    b"%(agent)d,10001,0%(number)d,,,,,1,0.95,default,Chain: Ext.%(agent)d;0%(number)d;\r\n",
    # through a queue to an agent
    b"Call %(id)d,%(callid)s,00:03:14,%(start)s,%(answered)s,%(end)s,TerminatedBySrc,0%(number)d,Ext.611,10000,611,611,"
    b"ReplacedDst,Ext.%(agent)d,%(agent)d,,,,,Chain: 0%(number)d;Ext.611;Ext.%(agent)d;\r\n",
    # nobody answered
    b"Call %(id)d,%(callid)s,,%(start)s,,%(end)s,Failed_Cancelled,0%(number)d,Ext.%(agent)d,10000,%(agent)d,%(agent)d,"
    b",,,,,,,\r\n",
)
_DAY = 1_773_050_400_000  #: 2026-03-09 10:00:00 UTC in milliseconds, as callid holds it


def lines() -> Iterator[bytes]:
    """Endless 20-field records, each another call: 40,000 numbers, 200 agents, one hour of starts."""
    for number in count(1):
        second = number % 3_000
        yield _SHAPES[number % len(_SHAPES)] % {
            b"id": number,
            b"callid": b"%016X_%d" % (_DAY + second * 1000, number),
            b"start": _TIMES % divmod(second, 60),
            b"answered": _TIMES % divmod(second + 7, 60),
            b"end": _TIMES % divmod(second + 201, 60),
            b"number": 266_900_000 + number % 40_000,
            b"agent": 100 + number % 200,
        }


def _source(port: int) -> str:
    return f"""
[sources.pbx]
type = "3cx"
mode = "listen"
listen = "127.0.0.1:{port}"
region = "FR"
"""


def _measure_daemon(*, database: str, seconds: float, work: Path) -> dict[str, Any]:
    port = free_port()
    daemon = Daemon(work / "daemon", database=database, sources=_source(port))
    daemon.start()
    memory: list[float] = []
    depths: list[float] = []
    looked = time.monotonic()

    def committed() -> int:
        nonlocal looked
        if time.monotonic() - looked > seconds / MEMORY_SAMPLES:
            looked = time.monotonic()
            memory.append(daemon.resident_megabytes())
            depths.append(daemon.metric("cdrhub_journal_records"))
        return int(daemon.metric("cdrhub_records_stored_total", result="applied"))

    try:
        cpu_before = cpu_seconds(daemon.pid)
        began = time.monotonic()
        rate = load.lines(port, lines(), committed=committed, warm_up=WARM_UP_SECONDS, seconds=seconds, ahead=AHEAD)
        cpu = (cpu_seconds(daemon.pid) - cpu_before) / (time.monotonic() - began)
        daemon.drained()
        stored = int(daemon.metric("cdrhub_records_stored_total", result="applied"))
        received = int(daemon.metric("cdrhub_records_received_total"))
    finally:
        status = daemon.stop()
    return {
        "per_second": rate.per_second,
        "records": rate.records,
        "seconds": rate.seconds,
        "received": received,
        "stored": stored,
        "lost": received - stored,
        "cpu_share_of_a_core": cpu,
        "journal_depth_min": min(depths, default=None),
        "journal_depth_max": max(depths, default=None),
        "memory_mb_first": memory[0] if memory else None,
        "memory_mb_last": memory[-1] if memory else None,
        "memory_mb_max": max(memory, default=None),
        "exit_status": status,
    }


def postgresql(seconds: float) -> dict[str, Any]:
    """cdrhub and rsyslog into the same PostgreSQL server (fsync on), one after the other."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, running(PostgresServer, durable=True) as server:
        work = Path(folder)
        server.execute('CREATE DATABASE "hub"')
        server.execute('CREATE DATABASE "peer"')
        url = server.url("peer")
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(rsyslog.TABLE)

            def committed() -> int:
                row = database.execute("SELECT max(id) FROM lines").fetchone()
                return (row[0] or 0) if row else 0

            with rsyslog.running(url=url, work=work) as port:
                rate = load.lines(
                    port, lines(), committed=committed, warm_up=WARM_UP_SECONDS, seconds=seconds, ahead=AHEAD
                )
                flooded = load.lines(
                    port, lines(), committed=committed, warm_up=WARM_UP_SECONDS, seconds=seconds / 4, ahead=FLOOD
                )
        peer = {
            "per_second": rate.per_second,
            "flooded_per_second": flooded.per_second,
            "version": program_version(rsyslog.program() or "", "-v"),
        }
        hub = _measure_daemon(database=server.url("hub"), seconds=seconds, work=work)
    return {
        "cdrhub": hub,
        "rsyslog": peer,
        "ratio": hub["per_second"] / peer["per_second"],
        "ratio_to_flooded_peer": hub["per_second"] / peer["flooded_per_second"],
    }


def sqlite(seconds: float) -> dict[str, Any]:
    """cdrhub and a commit-per-record script, each into an SQLite file of its own, one after the other. The script is
    measured with SQLite's default journal, which is the one the gate is about, and with WAL."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder:
        work = Path(folder)
        default = _commit_per_record("DELETE", seconds=seconds, work=work)
        wal = _commit_per_record("WAL", seconds=seconds, work=work)
        hub = _measure_daemon(database=f"sqlite:///{work / 'hub.db'}", seconds=seconds, work=work)
    return {
        "cdrhub": hub,
        "commit per record": {"per_second": default.per_second},
        "commit per record, WAL": {"per_second": wal.per_second},
        "ratio": hub["per_second"] / default.per_second,
        "ratio_to_wal_peer": hub["per_second"] / wal.per_second,
    }


def _commit_per_record(journal: str, *, seconds: float, work: Path) -> load.Rate:
    file = work / f"peer-{journal}.db"
    with (
        listening("commit_per_record", str(file), journal) as port,
        closing(sqlite3.connect(file, timeout=LOOK_SECONDS)) as database,
    ):

        def committed() -> int:
            row = database.execute("SELECT max(id) FROM lines").fetchone()
            return row[0] or 0

        return load.lines(
            port, lines(), committed=committed, warm_up=WARM_UP_SECONDS, seconds=seconds, ahead=SCRIPT_AHEAD
        )
