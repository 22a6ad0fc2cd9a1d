"""Whoever is cancelled in the middle of a transaction leaves nothing written and nothing locked."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from cdrhub.errors import StoreUnavailable
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


class Open:
    """How many connections are open of those that were made since."""

    def __init__(self, store: Store) -> None:
        self.number = 0
        for engine in (store.database._writer, store.database._reader):
            event.listen(engine.sync_engine, "connect", lambda *_: self._add(1))
            event.listen(engine.sync_engine, "close", lambda *_: self._add(-1))

    def _add(self, how_many: int) -> None:
        self.number += how_many


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


async def test_whoever_is_cancelled_while_he_is_being_cancelled_leaves_no_connection(store: Store) -> None:
    await store.close()
    opened = Open(store)
    ended_as: list[object] = []
    for turns in range(60):
        task = asyncio.create_task(count(store))
        for wait in (turns, turns % 7):
            for _ in range(wait):
                await asyncio.sleep(0)
            task.cancel()
        ended_as += await asyncio.gather(task, return_exceptions=True)
        if turns % 4 == 0:
            await store.close()  # the next one makes its connection
    assert [each for each in ended_as if not isinstance(each, asyncio.CancelledError | int)] == []
    await store.close()
    async with asyncio.timeout(FREE_SECONDS):
        while opened.number:  # noqa: ASYNC110 (what was cancelled ends by itself)
            await asyncio.sleep(0.01)


async def test_what_is_in_use_at_the_end_is_closed_when_it_is_given_back(store: Store) -> None:
    await store.close()
    opened = Open(store)
    async with store.database.connect() as connection:
        await connection.execute(select(1))
        await store.close()
    assert opened.number == 0


async def test_what_is_in_use_when_another_one_is_lost_is_closed_when_it_is_given_back(store: Store) -> None:
    if store.database.kind == "sqlite":
        pytest.skip("one connection writes")

    async def lose(_: Transaction) -> None:
        raise ConnectionResetError

    await store.close()
    opened = Open(store)
    async with store.database.connect(writing=True) as connection:
        await connection.execute(select(1))
        with pytest.raises(StoreUnavailable):
            await store.database.write(lose)
    await store.database.write(write)
    await store.close()
    assert opened.number == 0


async def test_whoever_is_cancelled_while_a_connection_is_made_leaves_none(store: Store) -> None:
    await store.close()
    for turns in range(0, 120, 3):
        task = asyncio.ensure_future(store.database._writer.connect().start())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for made in await asyncio.gather(task, return_exceptions=True):
            if not isinstance(made, BaseException):
                await made.close()
        await store.close()
    gc.collect()  # warns of what was left
