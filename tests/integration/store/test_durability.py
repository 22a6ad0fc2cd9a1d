"""A commit is on the disk before it returns: what the connections are told about it, and are not told."""

from __future__ import annotations

from sqlalchemy import text

from cdrhub.store import Store


async def test_sqlite_waits_for_the_disk(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    await store.prepare()
    for writing in (True, False):
        async with store.database.connect(writing=writing) as connection:
            assert await connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
    await store.close()


async def test_postgresql_is_left_to_its_own_settings(postgres_url: str) -> None:
    store = Store.open(postgres_url)
    await store.prepare()
    of_ours = text(
        "SELECT count(*) FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes') "
        "AND source IN ('client', 'session', 'database', 'user', 'database user')"
    )
    for writing in (True, False):
        async with store.database.connect(writing=writing) as connection:
            assert await connection.scalar(of_ours) == 0
            assert await connection.scalar(
                text("SELECT setting = reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
            )
    await store.close()
