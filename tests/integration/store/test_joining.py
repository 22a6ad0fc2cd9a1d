"""Two hubs that leave a record and its call apart: the record waits, the call is there, and later they are joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, text, update

from cdrhub.store import Store
from cdrhub.store.joining import AT_ONCE, LOOK_BACK
from cdrhub.store.tables import outbox, records, unopened
from support import ledger
from support.ledger import at, call_of, count, ended, item, message, newest_facts, rows, settled_rows

HOLD = (
    "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END'",
    "CREATE TRIGGER hold BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION hold()",
)


def early(key: str = "k", number: int = 1) -> bytes:
    """An agent's phone rings; nothing is known of the caller."""
    return message(key, f"agent{number}", values={"agent_id": "7"}, legs={f"a{number}": {"role": "agent"}}, opens=False)


def opener(key: str = "k") -> bytes:
    """The customer's call."""
    return message(key, values={"state": "ended", "started_at": 1.0, "ended_at": 9.0}, final=True)


async def apart(store: Store, *keys: str, records_of_each: int = 1) -> None:
    """What the race leaves behind: calls, and a record of each that waits nevertheless."""
    await store.write([item(early(key, 1 + number)) for key in keys for number in range(records_of_each)])
    async with store.database.connect(writing=True) as connection:
        waiting = [dict(row._mapping) for row in await connection.execute(unopened.select())]
        await connection.execute(delete(unopened))
    await store.write([item(opener(key)) for key in keys])
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(unopened), waiting)


async def to_be_held(store: Store, table: str) -> None:
    """On PostgreSQL: who writes into this table waits, until nobody holds the lock of `held`."""
    async with store.database.connect(writing=True) as connection:
        for statement in HOLD:
            await connection.execute(text(statement.format(table=table)))


@asynccontextmanager
async def held(store: Store) -> AsyncIterator[None]:
    """Meanwhile nobody gets past `to_be_held`."""
    async with store.database.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(7)"))
        yield


async def _wait(store: Store, *, writers: int = 1) -> None:
    """Until so many wait for a lock, of which only the server knows."""
    async with store.database.connect() as connection:
        while await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) < writers:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_record_whose_transaction_took_long_is_joined_all_the_same(store: Store) -> None:
    """It began before the last look and ended after it."""
    assert await store.join_unopened() == 0
    looked_at = store.clock()
    await apart(store, "k")
    async with store.database.connect(writing=True) as connection:
        await connection.execute(update(unopened).values(since=looked_at - LOOK_BACK / 2))
    assert await store.join_unopened() == 1
    assert (await call_of(store, "k"))["record_count"] == 2


async def test_two_hubs_that_do_not_see_each_other(postgres_url: str) -> None:
    one, other = (Store.open(postgres_url, redecode=ledger.decode) for _ in range(2))
    await one.prepare()
    await to_be_held(one, "unopened")
    assert await one.join_unopened() == 0
    async with held(other):
        writing = asyncio.create_task(one.write([item(early(), received=50.0)]))
        await _wait(other)
        await other.write([item(opener())])
    await writing
    assert await count(one, unopened) == 1
    assert (await call_of(one, "k"))["agent_id"] is None

    assert sum(await asyncio.gather(one.join_unopened(), other.join_unopened())) == 1
    call = await call_of(one, "k")
    assert (call["agent_id"], call["record_count"], call["first_received_at"]) == ("7", 2, at(50))
    assert {row["call_id"] for row in await rows(one, records)} == {call["id"]}
    assert await count(one, unopened) == 0
    assert await newest_facts(one) == {("lagos", "k"): "call.settled"}
    assert await one.join_unopened() == await other.join_unopened() == 0
    await one.close()
    await other.close()


async def test_what_waited_is_counted_once_where_two_hubs_open_its_call(postgres_url: str) -> None:
    """Both see that the record waits; the second one then meets the call of the first, with that record in it."""
    one, other, third = (Store.open(postgres_url, redecode=ledger.decode) for _ in range(3))
    await one.prepare()
    assert [(await hub.write([item(early())])).new for hub in (one, other)] == [1, 0]  # so that the other one asks
    await to_be_held(one, "outbox")
    async with held(third):
        first = asyncio.create_task(one.write([item(opener())]))
        await _wait(third)
        second = asyncio.create_task(other.write([item(message("k", "later", values={"queue": "800"}))]))
        await _wait(third, writers=2)
    await asyncio.gather(first, second)
    call = await call_of(one, "k")
    assert (call["agent_id"], call["queue"], call["record_count"]) == ("7", "800", 3)
    assert await count(one, records) == 3
    assert await count(one, unopened) == 0
    for store in (one, other, third):
        await store.close()


@pytest.mark.parametrize("remembered", [0, 1000])
async def test_the_rows_are_those_of_one_writer(store: Store, store_url: str, tmp_path: Path, remembered: int) -> None:
    writer = Store.open(store_url, redecode=ledger.decode, remembered=remembered)
    await apart(writer, "k", "l")
    assert await writer.join_unopened() == 2
    await writer.write([item(early("k", 2))])
    alone = Store.open(f"sqlite:///{tmp_path}/alone.db", redecode=ledger.decode)
    await alone.prepare()
    await alone.write([item(body) for body in (early("k"), early("l"), opener("k"), opener("l"), early("k", 2))])
    assert await settled_rows(store) == await settled_rows(alone)
    assert await newest_facts(store) == await newest_facts(alone)
    await alone.close()
    await writer.close()


async def test_more_than_one_transaction_takes(store: Store) -> None:
    keys = [f"k{number:04}" for number in range(2 * AT_ONCE + 1)]
    await store.write([item(early(f"z{number}")) for number in range(AT_ONCE)])  # nobody opens these
    await apart(store, *keys)
    assert await store.join_unopened() == len(keys)
    assert await count(store, unopened) == AT_ONCE
    assert await count(store, outbox) == 2 * len(keys)


async def test_later_passes_look_at_what_is_new(store: Store) -> None:
    await apart(store, "k")
    async with store.database.connect(writing=True) as connection:
        await connection.execute(unopened.update().values(since=at(0)))
        waiting = [dict(row._mapping) for row in await connection.execute(unopened.select())]
    assert await store.join_unopened() == 1  # the first one looks at everything
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(unopened), waiting)
    assert await store.join_unopened() == 0


async def test_a_waiting_record_whose_body_is_gone_waits_no_longer(store: Store) -> None:
    await apart(store, "k")
    async with store.database.connect(writing=True) as connection:
        await connection.execute(records.update().values(body=None))
    assert await store.join_unopened() == 0
    assert (await call_of(store, "k"))["flags"] == []
    assert await count(store, unopened) == 0


async def test_one_that_reads_otherwise_today_is_of_its_call_until_a_replay(store: Store) -> None:
    await apart(store, "k", records_of_each=2)
    async with store.database.connect(writing=True) as connection:
        second = records.c.digest == item(early("k", 2)).record.digest
        await connection.execute(records.update().where(second).values(repaired_body=early("z")))
    assert await store.join_unopened() == 1
    call = await call_of(store, "k")
    assert {row["call_id"] for row in await rows(store, records)} == {call["id"]}
    assert call["record_count"] == 3
    assert await count(store, unopened) == 0


async def test_one_that_cannot_join_holds_nobody_up(store: Store) -> None:
    await apart(store, "bad", "k", "l")
    bad = message("bad", "x", values={"state": "exploded"}, opens=False)
    async with store.database.connect(writing=True) as connection:
        await connection.execute(
            records.update().where(records.c.digest == item(early("bad")).record.digest).values(repaired_body=bad)
        )
    assert await store.join_unopened() == 2
    assert await count(store, unopened) == 1
    await store.write([item(ended("z"))])
