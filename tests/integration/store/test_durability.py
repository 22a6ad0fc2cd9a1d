"""A commit is on the disk before it returns: what the connections are told about it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from cdrhub.errors import StoreUnavailable
from cdrhub.store import Store
from cdrhub.store.tables import calls
from support.ledger import count, ended, item
from support.servers import PostgresServer

READERS = 4  #: connections for reading that a database of SQLite has


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


async def test_a_file_that_is_removed_or_replaced_below_is_written_no_more(tmp_path: Path) -> None:
    """What was written into it nobody found again."""
    file, elsewhere = tmp_path / "cdrhub.db", tmp_path / "elsewhere"
    store = Store.open(f"sqlite:///{file}")
    try:
        await store.prepare()
        await store.write([item(ended("before", 1))])
        file.rename(elsewhere)
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await store.write([item(ended("removed", 2))])
        file.touch()
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await store.write([item(ended("replaced", 3))])
        elsewhere.rename(file)
        await store.write([item(ended("after", 4))])
        assert await count(store, calls) == 2
    finally:
        await store.close()


async def test_a_file_that_is_put_back_has_what_was_committed_before(tmp_path: Path) -> None:
    """A connection that was made meanwhile began another file in its place and removed the log: those that were made
    later failed, and what was committed was lost with the process."""
    file, elsewhere = tmp_path / "cdrhub.db", tmp_path / "elsewhere"
    store = Store.open(f"sqlite:///{file}")
    try:
        await store.prepare()
        await store.write([item(ended("before", 1))])
        file.rename(elsewhere)
        for there in (False, True):
            with pytest.raises(StoreUnavailable, match="removed or replaced"):
                await seen_by_all(store)
            assert file.exists() == there
            file.touch()
        elsewhere.rename(file)
        assert await seen_by_all(store) == {1}
        await store.write([item(ended("after", 2))])
        assert await seen_by_all(store) == {2}
        assert rows_as_after_a_kill(file, copied_to=tmp_path / "copy") == [("after",), ("before",)]
    finally:
        await store.close()


async def seen_by_all(store: Store) -> set[int | None]:
    """How many calls the connections of the pool see, also those that are made for it."""
    async with contextlib.AsyncExitStack() as held:
        connections = [await held.enter_async_context(store.database.connect()) for _ in range(READERS)]
        return {await each.scalar(select(func.count()).select_from(calls)) for each in connections}


def rows_as_after_a_kill(file: Path, *, copied_to: Path) -> list[tuple[str]]:
    """The calls of a file and its log as they are on the disk now."""
    copied_to.mkdir()
    for one in (file, file.with_name(f"{file.name}-wal")):
        shutil.copy(one, copied_to / one.name)
    with contextlib.closing(sqlite3.connect(copied_to / file.name)) as database:
        return database.execute("SELECT call_key FROM calls ORDER BY call_key").fetchall()
