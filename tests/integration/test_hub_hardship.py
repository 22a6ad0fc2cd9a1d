"""The hub while its journal takes nothing, its database is away, it is stopped in a reload, or a record ends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from cdrhub.config import Config
from cdrhub.errors import IntakeRefused
from cdrhub.hub import hub as hub_module
from cdrhub.hub.hub import Hub
from cdrhub.hub.sweeper import FORGOTTEN_AFTER
from cdrhub.journal import SUSPECT_STARTS, Journal
from cdrhub.store import Store
from cdrhub.store.calls import one
from support.hubs import configured, written_of
from support.intake import until
from support.journal import everything
from support.plug_ins import install
from support.processes import python
from support.records import raw_record
from support.servers import PostgresServer, free_port, running
from support.sql import rows

VENDOR = '[sources.vendor]\ntype = "voicenter"\npath = "/ingest/voicenter/0123456789abcdef-secret"\n'
LEG1 = b'{"time":1595960400,"ivruniqueid":"c2c","type":"Click2Call leg1","status":"ANSWER","targetextension":"SIPSIP"}'

LINE = (
    "Call {n},{n:016X}_{n},00:00:10,2026/03/09 10:00:00,2026/03/09 10:00:05,2026/03/09 10:00:15,TerminatedBySrc,"
    "0266904995,Ext.114,10000,114,114,,,,,,,,Chain: 0266904995;Ext.114;\r\n"
)


def listening(port: int) -> str:
    return f'[sources.pbx]\ntype = "3cx"\nlisten = "127.0.0.1:{port}"\n'


@contextlib.contextmanager
def journal_that_takes_nothing(folder: Path) -> Iterator[None]:
    """A tool that copies the journal, or looks at it, and holds it."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def working(config: Config) -> AsyncIterator[Hub]:
    """A hub of which no part fails."""
    hub = await Hub.start(config, sweep_seconds=0.05)
    failed = asyncio.create_task(hub.failed())
    try:
        yield hub
        assert not failed.done(), failed.exception()
    finally:
        failed.cancel()
        await hub.stop()


async def test_a_stop_waits_for_a_reload_and_leaves_nothing_of_it_at_work(tmp_path: Path) -> None:
    port = free_port()
    hub = await Hub.start(configured(tmp_path, ""))
    reloading = asyncio.create_task(hub.reload(configured(tmp_path, listening(port))))
    await asyncio.sleep(0)
    await hub.stop()
    await reloading
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_reload_that_the_journal_refuses_leaves_no_port_open(tmp_path: Path) -> None:
    port = free_port()
    before, config = configured(tmp_path, ""), configured(tmp_path, listening(port))
    async with working(before) as hub:
        with journal_that_takes_nothing(tmp_path), pytest.raises(IntakeRefused):
            await hub.reload(config)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert hub.config is before
        await hub.reload(config)
        socket.create_connection(("127.0.0.1", port)).close()


async def test_a_conclusion_waits_for_a_journal_that_takes_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, VENDOR)
    store = Store.open(config.database.url.get_secret_value())
    await store.prepare()
    received_at = datetime.now(UTC) - FORGOTTEN_AFTER
    await store.write([written_of(config, "vendor", LEG1, content_type="application/json", received_at=received_at)])
    async with working(configured(tmp_path, "")):
        with capture_logs() as logs, journal_that_takes_nothing(tmp_path):
            await until(lambda: any(line["action"] == "sweep_waits" for line in logs), "the conclusion waits")
        async with asyncio.timeout(20):
            while (await one(store, "c2c"))["state"] != "ended":  # noqa: ASYNC110 - it happens in a database
                await asyncio.sleep(0.05)
    await store.close()


async def test_what_is_done_beside_the_records_waits_for_a_database_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RETENTION_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "RETENTION_EVERY_SECONDS", 0.05)
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        async with working(configured(tmp_path, VENDOR, database=server.url("hub"))):
            with capture_logs() as logs:
                server.stop()
                waits = {"retention_waits", "sweep_waits"}
                await until(lambda: waits <= {line["action"] for line in logs}, "both wait")
            server.start()


async def test_retention_does_not_wait_for_its_hour_after_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RETENTION_AFTER_SECONDS", 0.05)
    config = configured(tmp_path, VENDOR)
    store = Store.open(config.database.url.get_secret_value())
    await store.prepare()
    old = datetime.now(UTC) - timedelta(days=config.retention.raw_days + 1)
    await store.write([written_of(config, "vendor", LEG1, content_type="application/json", received_at=old)])
    recent = datetime.now(UTC) - timedelta(days=1)  # by which the clock is believed
    other = LEG1.replace(b"c2c", b"c2c2")
    await store.write([written_of(config, "vendor", other, content_type="application/json", received_at=recent)])
    await store.close()
    kept = "SELECT count(*) FROM records WHERE content_type = 'application/json' AND body IS NOT NULL"
    async with working(config):
        await until(lambda: rows(config.database.url.get_secret_value(), kept) == [(1,)], "the old one is emptied")


async def test_what_a_fail_over_lost_below_a_running_hub_is_told(tmp_path: Path, postgres_url: str) -> None:
    """The standby lacked the last commits, and at the next start a later record was there."""
    port = free_port()
    lines = "SELECT received_at FROM records WHERE content_type = 'text/csv' ORDER BY id"
    gaps = "SELECT since, until FROM coverage WHERE detail LIKE 'the database lacks%'"
    async with working(configured(tmp_path, listening(port), database=postgres_url)) as hub:
        with (
            psycopg.connect(postgres_url, autocommit=True) as other,
            socket.create_connection(("127.0.0.1", port)) as pbx,
        ):

            async def stored(number: int) -> list[Any]:
                pbx.sendall(LINE.format(n=number).encode())
                await until(lambda: len(other.execute(lines).fetchall()) == number, "it is stored")
                await until(lambda: hub.status().endswith(", 0 records in the journal"), "the hub knows")
                return other.execute(lines).fetchall()

            await stored(1)
            (kept,), (lost,) = await stored(2)
            hubs = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            other.execute(f"SELECT pg_terminate_backend(pid) FROM ({hubs}) AS hubs")
            other.execute("DELETE FROM records WHERE received_at = %s", (lost,))
            with capture_logs() as logs:
                pbx.sendall(LINE.format(n=3).encode())
                await until(lambda: bool(other.execute(gaps).fetchall()), "it is told")
            ((since, end),) = other.execute(gaps).fetchall()
    assert [line["action"] for line in logs].count("database_older") == 1
    assert kept <= since < lost < end


async def test_what_is_in_the_database_is_noted_as_it_comes_there(tmp_path: Path) -> None:
    """It was each minute, and of a database that lost its last commits while the hub was killed the next start said
    nothing."""
    port = free_port()
    noted = "SELECT value FROM positions WHERE key = 'in_database'"
    async with working(configured(tmp_path, listening(port))):
        with (
            contextlib.closing(sqlite3.connect(tmp_path / "data" / "journal.db")) as journal,
            socket.create_connection(("127.0.0.1", port)) as pbx,
        ):
            seen: set[tuple[str, ...]] = {()}

            def found() -> tuple[str, ...]:
                return tuple(value for (value,) in journal.execute(noted))

            for number in (1, 2):
                pbx.sendall(LINE.format(n=number).encode())
                await until(lambda: found() not in seen, "it is noted")
                seen.add(found())


async def test_a_suspect_is_tried_before_the_sources_are_at_work(tmp_path: Path, postgres_url: str) -> None:
    """Beside a flood it would stand marked for long, and whoever kills the daemon meanwhile would accuse it."""
    config = configured(tmp_path, listening(free_port()), database=postgres_url)
    await (await Hub.start(config)).stop()
    suspect = raw_record(b"something\r\n", source="pbx", config_revision=config.revision("pbx"))
    for start in range(SUSPECT_STARTS + 2):
        journal = await Journal.open(tmp_path / "data")
        if not start:
            await journal.append([suspect])
        if await journal.begin_run() >= SUSPECT_STARTS:
            (entry,) = await everything(journal)
            await journal.mark_in_flight(entry.seq)
        await journal.close(clean=False)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE records IN SHARE MODE")
        starting = asyncio.create_task(Hub.start(config))
        await until(lambda: any(other.execute("SELECT 1 FROM pg_locks WHERE NOT granted")), "it is being written")
        await asyncio.sleep(0.2)
        assert not starting.done()
        other.rollback()
    hub = await starting
    assert (suspect.digest,) in rows(postgres_url, "SELECT digest FROM records")
    await hub.stop()


PLUG_IN = """
from typing import Literal

from cdrhub.sources.threecx import SYSTEM as THREECX

class Config(THREECX.config_model):
    type: Literal["acme"] = "acme"

class Acme(type(THREECX)):
    name = "acme"
    config_model = Config

    def decoder(self, settings):
        decode = super().decoder(settings)

        def decoded(record):
            if b"Ext.666" in record.body:
                raise MemoryError
            return decode(record)

        return decoded

SYSTEM = Acme()
"""
STARTS = """
import asyncio, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))

from cdrhub.hub.hub import Hub
from support.hubs import configured
from support.records import raw_record
from support.servers import free_port

LINE = (
    "Call %d,00000172FF10D141_%d,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    "Ext.%d,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;\\r\\n"
)
TAKEN = b'cdrhub_records_acknowledged_total{source="pbx"} 3.0'

async def main():
    port = free_port()
    config = configured(folder, f'[sources.pbx]\\ntype = "acme"\\nlisten = "127.0.0.1:{port}"\\n')
    for start in range(20):
        hub = await Hub.start(config)
        failed = asyncio.create_task(hub.failed())
        if not start:
            _, pbx = await asyncio.open_connection("127.0.0.1", port)
            pbx.write("".join(LINE % said for said in ((1, 1, 114), (2, 2, 666), (3, 3, 114))).encode())
            while TAKEN not in hub.metrics.text():
                await asyncio.sleep(0.01)
            pbx.close()
        while not failed.done() and not hub.status().endswith(" 0 records in the journal"):
            await asyncio.sleep(0.01)
        died = failed.done()
        failed.cancel()
        await asyncio.gather(failed, return_exceptions=True)
        await hub.stop()
        if not died:
            return

asyncio.run(main())
"""


def test_a_record_that_ends_the_hub_at_each_start_is_in_suspense_at_last(tmp_path: Path) -> None:
    """One that takes all memory, say. Each stop after it comes soon: nothing can be drained."""
    install(tmp_path, PLUG_IN)
    done = python(STARTS, str(tmp_path))
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database:
        assert database.execute("SELECT count(*) FROM calls").fetchone() == (2,)
        kept = database.execute("SELECT reason FROM records WHERE state = 'suspended'").fetchall()
    assert kept == [("poison",)]
