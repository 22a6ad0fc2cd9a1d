"""Whoever is cancelled in the middle of a transaction leaves nothing written and nothing locked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from cdrhub.store import Store
from cdrhub.store.tables import config_revisions as table
from cdrhub.store.transaction import Transaction

FREE_SECONDS = 8.0  #: less than a locked SQLite file is waited for
MOMENT = datetime(2026, 11, 18, tzinfo=UTC)
ROW = {
    "revision": "r",
    "source": "s",
    "system": "3cx",
    "settings": {},
    "first_seen_at": datetime(2026, 11, 18, tzinfo=UTC),
}


async def count(store: Store) -> int:
    async with store.database.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def write(tx: Transaction) -> None:
    await tx.connection.execute(insert(table).values(ROW))


async def cancelled(store: Store, *, held: list[Any]) -> None:
    """A transaction that is cancelled when it has written, with a statement that was begun and not read to its end."""
    begun = asyncio.Event()

    async def work(tx: Transaction) -> None:
        await write(tx)
        if store.database.kind == "sqlite":
            driver = (await tx.connection.get_raw_connection()).driver_connection
            assert driver is not None
            held.append(await driver.execute("SELECT value FROM json_each('[1, 2, 3]')"))
            await held[-1].fetchone()
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(store.database.write(work))
    await asyncio.wait({task, asyncio.create_task(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_next_one_writes_at_once(store: Store) -> None:
    held: list[Any] = []
    await cancelled(store, held=held)
    assert await count(store) == 0
    async with asyncio.timeout(FREE_SECONDS):
        await store.database.write(write)
    assert await count(store) == 1


async def test_whoever_is_cancelled_at_any_moment_leaves_it_free(store: Store) -> None:
    async def work(tx: Transaction) -> None:
        for _ in range(3):
            (await tx.connection.execute(select(table).limit(2))).all()
        await write(tx)
        raise LookupError

    for turns in range(120):
        task = asyncio.create_task(store.database.write(work))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, LookupError)):
            await task
    async with asyncio.timeout(FREE_SECONDS):
        await store.database.write(write)
    assert await count(store) == 1


async def test_whoever_is_cancelled_goes_no_further(store: Store) -> None:
    async def look() -> None:
        async with store.database.connect() as connection:
            (await connection.execute(select(table).limit(2))).all()

    met = 0
    for turns in [*range(60)] * 10:
        task = asyncio.create_task(look())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            met += 1
            await asyncio.wait({task})
            assert task.cancelled()
    assert met > 100
