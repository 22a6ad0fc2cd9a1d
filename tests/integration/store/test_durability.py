"""A commit is on the disk before it returns: what the connections are told about it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from cdrhub.store import Store
from support.servers import PostgresServer


async def test_sqlite_waits_for_the_disk(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    await store.prepare()
    for writing in (True, False):
        async with store.database.connect(writing=writing) as connection:
            assert await connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
    await store.close()


@pytest.mark.parametrize(
    ("configured", "used"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_write", "remote_write")]
)
async def test_postgresql_waits_for_the_disk_and_else_for_what_it_is_told_to(
    postgres_url: str, postgres_server: PostgresServer, configured: str, used: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {configured}')
    store = Store.open(postgres_url)
    await store.prepare()
    async with store.database.connect(writing=True) as connection:
        assert await connection.scalar(text("SHOW synchronous_commit")) == used
    await store.close()
