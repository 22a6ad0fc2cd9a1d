"""The hub in this process while its journal takes nothing, its database is away, or it is stopped in a reload."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdrhub import hub as hub_module
from cdrhub.config import Config
from cdrhub.errors import IntakeRefused
from cdrhub.hub import Hub
from cdrhub.store import Store
from cdrhub.store.calls import one
from cdrhub.sweeper import FORGOTTEN_AFTER
from support.hubs import configured, written_of
from support.intake import until
from support.servers import PostgresServer, free_port, running

VENDOR = '[sources.vendor]\ntype = "voicenter"\npath = "/ingest/voicenter/0123456789abcdef-secret"\n'
LEG1 = b'{"time":1595960400,"ivruniqueid":"c2c","type":"Click2Call leg1","status":"ANSWER","targetextension":"SIPSIP"}'


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
    monkeypatch.setattr(hub_module, "RETENTION_EVERY_SECONDS", 0.05)
    with running(PostgresServer) as server:
        server.execute('CREATE DATABASE "hub"')
        async with working(configured(tmp_path, VENDOR, database=server.url("hub"))):
            with capture_logs() as logs:
                server.stop()
                waits = {"retention_waits", "sweep_waits"}
                await until(lambda: waits <= {line["action"] for line in logs}, "both wait")
            server.start()
