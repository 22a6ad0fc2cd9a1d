"""Two hubs on one database, on the same and on different calls: the rows of one writer, whatever the interleaving."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from sqlalchemy import event, text

from cdrhub.errors import StoreUnavailable
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.tables import calls, outbox
from support import ledger
from support.ledger import batches, ended, item, newest_facts, rows, settled_rows, story


def mixture(seed: int) -> list[Item]:
    """One-record calls and queue calls, shuffled."""
    items = [item(ended(f"one{n}", n)) for n in range(60)]
    items += [item(body) for n in range(30) for body in story(f"many{n}", n)]
    random.Random(seed).shuffle(items)
    return items


async def feed(store: Store, items: Sequence[Item], size: int) -> int:
    """Write everything; says how many records were new."""
    return sum([(await store.write(batch)).new for batch in batches(items, size)])


@pytest.mark.parametrize("size", [5, 40])
async def test_both_write_the_same_calls(store: Store, second: Store, size: int) -> None:
    new = await asyncio.gather(feed(store, mixture(1), size), feed(second, mixture(2), size))
    assert sum(new) == len(mixture(1))
    told = await settled_rows(store)
    assert len(told["calls"]) == 90
    assert {call["state"] for call in told["calls"].values()} == {"ended"}
    assert {call["record_count"] for key, call in told["calls"].items() if key[1].startswith("many")} == {5}
    assert len(told["legs"]) == 60 + 60
    assert None not in {record["call"] for record in told["records"].values()}


async def test_the_rows_are_those_of_one_writer(
    store: Store, second: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await asyncio.gather(feed(store, mixture(3), 11), feed(second, mixture(4), 13))
    alone = Store.open(f"sqlite:///{tmp_path_factory.mktemp('alone')}/alone.db", redecode=ledger.decode)
    await alone.prepare()
    await feed(alone, mixture(5), 1000)
    assert await settled_rows(store) == await settled_rows(alone)
    assert await newest_facts(store) == await newest_facts(alone)
    await alone.close()


async def test_different_calls_at_once(store: Store, second: Store) -> None:
    items = mixture(6)
    by_key = {one: index % 2 for index, one in enumerate(sorted({ledger_key(one) for one in items}))}
    mine = [one for one in items if by_key[ledger_key(one)] == 0]
    yours = [one for one in items if by_key[ledger_key(one)] == 1]
    await asyncio.gather(feed(store, mine, 10), feed(second, yours, 10))
    assert len((await settled_rows(store))["calls"]) == 90


def ledger_key(one: Item) -> str:
    """The key of the call that an item is of."""
    return str(getattr(one.outcome, "call_key"))  # noqa: B009 (mypy: the outcome is a union)


async def test_two_batches_in_flight_of_one_store(store: Store) -> None:
    items = mixture(7)
    lanes = [[one for one in items if hash(ledger_key(one)) % 2 == lane] for lane in (0, 1)]
    await asyncio.gather(*(feed(store, lane, 10) for lane in lanes))
    told = await settled_rows(store)
    assert len(told["calls"]) == 90
    assert {call["state"] for call in told["calls"].values()} == {"ended"}


async def test_each_call_has_one_fact_of_its_newest_revision(store: Store, second: Store) -> None:
    await asyncio.gather(feed(store, mixture(8), 9), feed(second, mixture(9), 9))
    revisions = {row["id"]: row["revision"] for row in await rows(store, calls)}
    newest = [row["call_id"] for row in await rows(store, outbox) if row["revision"] == revisions[row["call_id"]]]
    assert sorted(newest) == sorted(revisions)


async def test_a_deadlock_is_tried_again(postgres_url: str) -> None:
    """A transaction of somebody else's that locks against the order makes a real deadlock."""
    store = Store.open(postgres_url, redecode=ledger.decode)
    await store.prepare()
    await store.write([item(story(key)[0]) for key in ("a", "b")])
    deadlocks = 0

    def count(*_: object) -> None:
        nonlocal deadlocks
        deadlocks += 1

    event.listen(store.database._writer.sync_engine, "rollback", count)
    async with store.database.connect() as connection:
        lock = "SELECT id FROM calls WHERE call_key = '{}' FOR UPDATE"
        await connection.execute(text("SET LOCAL deadlock_timeout = '10s'"))
        await connection.execute(text(lock.format("b")))
        writing = asyncio.create_task(store.write([item(story(key)[1]) for key in ("a", "b")]))
        while not await _waits(store):  # noqa: ASYNC110 (the lock is in the server)
            await asyncio.sleep(0.02)
        await connection.execute(text(lock.format("a")))
    await writing
    await store.close()
    reader = Store.open(postgres_url)
    assert {row["record_count"] for row in await rows(reader, calls)} == {2}
    await reader.close()
    assert deadlocks >= 1


async def _waits(store: Store) -> bool:
    async with store.database.connect() as other:
        return bool(await other.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


async def test_where_all_connections_are_taken_the_database_is_away(database_url: str) -> None:
    store = Store.open(database_url, connections=1, seconds=4.0)
    try:
        await store.prepare()
        async with store.database.connect(writing=True) as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(StoreUnavailable, match="no connection was free in time"):
                await store.write([item(ended("k", 1))])
            with pytest.raises(StoreUnavailable, match="no connection was free in time"):
                async with store.database.connect(writing=True):
                    pass
        assert (await store.write([item(ended("k", 1))])).new == 1
    finally:
        await store.close()
