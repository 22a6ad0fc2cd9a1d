"""Places in the log: dense, rising, each once, whoever commits when and however many hubs number."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from cdrhub.broadcast.sequencer import runs
from cdrhub.store import leases
from cdrhub.store.event_tables import leases as lease_rows
from cdrhub.store.tables import outbox
from support.broadcast import NOON
from support.broadcasting import Bench


async def test_facts_get_dense_places_in_the_order_in_which_they_were_written(bench: Bench) -> None:
    sequencer = bench.sequencer()
    await bench.tell((1, 1), (2, 2), (1, 3))
    assert await sequencer.step() == 3
    await bench.tell((1, 4))
    assert await sequencer.step() == 1
    assert await sequencer.step() == 0
    assert await bench.log() == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_what_is_not_for_the_public_gets_none(bench: Bench) -> None:
    await bench.tell((1, 1))
    await bench.tell((1, 2), type="call.settled")
    await bench.tell((1, 3))
    assert await bench.sequencer().step() == 2
    assert await bench.log() == [(1, 1), (None, 2), (2, 3)]


async def test_a_fact_that_commits_late_is_not_skipped(bench: Bench) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("one writer at a time")
    sequencer = bench.sequencer()
    late = {"source": "lagos", "type": "call.ended", "revision": 1, "due_at": NOON, "snapshot": {}}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(insert(outbox).values(late))
        await bench.tell((2, 2))
        assert await sequencer.step() == 1
    assert await sequencer.step() == 1
    assert await bench.log() == [(2, 1), (1, 2)]


async def test_two_hubs_number_each_fact_once(bench: Bench) -> None:
    one, other = bench.sequencer("one"), bench.sequencer("other")

    async def tell() -> None:
        for number in range(40):
            await bench.tell((number, number), (number, number))

    async def number_all() -> None:
        while len([None for place, _ in await bench.log() if place is not None]) < 80:
            await asyncio.gather(one.step(), other.step())

    await asyncio.gather(tell(), number_all())
    assert sorted(place or 0 for place, _ in await bench.log()) == list(range(1, 81))


async def test_when_one_hub_dies_the_other_goes_on_when_its_lease_is_over(bench: Bench) -> None:
    dead, other = bench.sequencer("dead", lease_seconds=0.3), bench.sequencer("other")
    await bench.tell((1, 1))
    assert await dead.step() == 1
    await bench.tell((1, 2))
    assert await other.step() == 0
    async with asyncio.timeout(10):
        while not await other.step():  # noqa: ASYNC110 - the lease ends without an event
            await asyncio.sleep(0.02)
    assert await bench.log() == [(1, 1), (2, 2)]


async def test_a_hub_that_was_away_while_another_took_over_changes_nothing(bench: Bench) -> None:
    sleeper, other = bench.sequencer("sleeper", lease_seconds=0.2), bench.sequencer("other")
    await bench.tell((1, 1))
    assert await sleeper.step() == 1
    await asyncio.sleep(0.3)
    await bench.tell((1, 2))
    assert await other.step() == 1
    await bench.tell((1, 3))
    assert await sleeper.step() == 0
    assert await other.step() == 1
    assert await bench.log() == [(1, 1), (2, 2), (3, 3)]


async def test_a_hub_that_stops_lets_another_go_on_at_once(bench: Bench) -> None:
    one, other = bench.sequencer("one", lease_seconds=600), bench.sequencer("other")
    await bench.tell((1, 1))
    assert await one.step() == 1
    await one.stop()
    await bench.tell((1, 2))
    assert await other.step() == 1


async def test_a_place_that_was_purged_does_not_come_again(bench: Bench) -> None:
    sequencer = bench.sequencer()
    await bench.tell((1, 1), (1, 2), (1, 3))
    await sequencer.step()

    class Limits:
        raw_days, facts_days = 0, 1

    bench.pass_time(10 * 86_400)
    assert (await bench.store.apply_retention(Limits(), now=bench.clock.now)).facts == 2
    await bench.tell((1, 4))
    await sequencer.step()
    assert await bench.log() == [(3, 3), (4, 4)]


async def test_more_facts_than_one_transaction_takes_with_gaps_in_their_ids(bench: Bench) -> None:
    for begin in range(0, 2_400, 400):
        await bench.tell(*((1, number) for number in range(begin, begin + 400)))
        await bench.tell((1, 0), type="call.settled")
    sequencer = bench.sequencer()
    while await sequencer.step():
        pass
    told = [(place, number) for place, number in await bench.log() if place is not None]
    assert told == [(number + 1, number) for number in range(2_400)]


def test_runs() -> None:
    assert list(runs([])) == []
    assert list(runs([4])) == [range(4, 5)]
    assert list(runs([1, 2, 3, 7, 9, 10])) == [range(1, 4), range(7, 8), range(9, 11)]


async def test_a_lease_goes_by_the_clock_of_the_database(bench: Bench) -> None:
    database = bench.store.database
    first = await leases.taken(database, "x", holder="one", life=60)
    assert first is not None
    assert await leases.taken(database, "x", holder="other", life=60) is None
    async with database.connect(writing=True) as connection:
        now = await leases.database_now(connection)
        until = (await connection.execute(select(lease_rows.c.until))).scalar_one()
        assert 50 < (until - now).total_seconds() <= 60
        await connection.execute(update(lease_rows).values(until=now))
    second = await leases.taken(database, "x", holder="other", life=60)
    assert second is not None
    assert second.fence > first.fence
    async with database.connect(writing=True) as connection:
        await leases.guard(connection, second)
        with pytest.raises(leases.LeaseLost):
            await leases.guard(connection, first)


async def test_a_lease_that_was_given_back_by_its_former_holder_stays(bench: Bench) -> None:
    database = bench.store.database
    first = await leases.taken(database, "x", holder="one", life=0.0)
    second = await leases.taken(database, "x", holder="other", life=60)
    assert first is not None
    assert second is not None
    await leases.release(database, first)
    assert await leases.taken(database, "x", holder="third", life=60) is None


async def test_a_clock_that_is_set_back_keeps_a_dead_holder_no_longer_than_its_life(bench: Bench) -> None:
    database = bench.store.database
    dead = await leases.taken(database, "x", holder="dead", life=0.2)
    async with database.connect(writing=True) as connection:
        now = await leases.database_now(connection)
        await connection.execute(update(lease_rows).values(until=now + timedelta(hours=1)))
    assert await leases.taken(database, "x", holder="other", life=0.2) is None
    await asyncio.sleep(0.25)
    other = await leases.taken(database, "x", holder="other", life=0.2)
    assert dead is not None
    assert other is not None
    assert other.fence > dead.fence


async def test_a_hub_that_did_not_hear_of_its_own_commit_goes_on_behind_it(bench: Bench) -> None:
    sequencer = bench.sequencer()
    await bench.tell((1, 1))
    assert await sequencer.step() == 1
    await bench.tell((1, 2))
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(update(outbox).where(outbox.c.position.is_(None)).values(position=2))
    await bench.tell((1, 3))
    assert [await sequencer.step() for _ in range(2)] == [0, 1]
    assert await bench.log() == [(1, 1), (2, 2), (3, 3)]


async def test_of_two_hubs_that_make_a_lease_at_once_one_has_it(bench: Bench) -> None:
    database = bench.store.database
    if database.kind == "sqlite":
        pytest.skip("one writer at a time")
    async with database.connect(writing=True) as connection:
        assert await leases.take(connection, "x", holder="one", life=60) is not None
        other = asyncio.create_task(leases.taken(database, "x", holder="other", life=60))
        await asyncio.sleep(0.2)  # until it waits for the row; were it later, it would find it
    assert await other is None


async def test_what_a_lease_was_waited_for_does_not_lengthen_it(bench: Bench) -> None:
    database = bench.store.database
    if database.kind == "sqlite":
        pytest.skip("one writer at a time")
    first = await leases.taken(database, "x", holder="one", life=60)
    assert first is not None
    async with database.connect(writing=True) as connection:
        await leases.guard(connection, first)
        renewal = asyncio.create_task(leases.taken(database, "x", holder="one", life=60))
        await asyncio.sleep(0.2)  # until it waits for the row
        locked_until = time.monotonic()
    renewed = await renewal
    assert renewed is not None
    assert renewed.taken < locked_until


async def test_a_fence_of_a_database_that_was_put_back_guards_nothing_of_another_hub(bench: Bench) -> None:
    """Fences rise in one table; where an older copy of it was put back, two hubs have had the same one."""
    database = bench.store.database
    first = await leases.taken(database, "x", holder="one", life=60)
    assert first is not None
    async with database.connect(writing=True) as connection:
        await connection.execute(delete(lease_rows))
    second = await leases.taken(database, "x", holder="other", life=60)
    assert second is not None
    assert second.fence == first.fence
    async with database.connect(writing=True) as connection:
        with pytest.raises(leases.LeaseLost):
            await leases.guard(connection, first)
    await leases.release(database, first)
    assert await leases.taken(database, "x", holder="third", life=60) is None


async def lease_ends(bench: Bench) -> None:
    """Its holder does not know that its time is over."""
    async with bench.store.database.connect(writing=True) as connection:
        now = await leases.database_now(connection)
        await connection.execute(update(lease_rows).values(until=now - timedelta(seconds=1)))


async def test_a_hub_whose_own_clock_stood_still_numbers_nothing(bench: Bench) -> None:
    """A machine that was suspended thinks that its lease has just begun; the fence knows better."""
    one, other = bench.sequencer("one", lease_seconds=60), bench.sequencer("other", lease_seconds=60)
    await bench.tell((1, 1))
    assert await one.step() == 1
    await lease_ends(bench)
    await bench.tell((1, 2))
    assert await other.step() == 1
    await bench.tell((1, 3))
    assert [await one.step() for _ in range(3)] == [0, 0, 0]
    assert await other.step() == 1
    assert await bench.log() == [(1, 1), (2, 2), (3, 3)]
    await other.stop()
    await bench.tell((1, 4))
    assert await one.step() == 1, "it thinks that it holds a lease still"


async def test_a_hub_that_gets_its_lease_back_goes_on_where_the_other_one_was(bench: Bench) -> None:
    life = 0.6
    one, other = bench.sequencer("one", lease_seconds=life), bench.sequencer("other", lease_seconds=life)
    await bench.tell((1, 1))
    assert await one.step() == 1
    await lease_ends(bench)
    await bench.tell((1, 2))
    assert await other.step() == 1
    await lease_ends(bench)
    await asyncio.sleep(life / 6)
    await bench.tell((1, 3))
    assert await one.step() == 1
    assert await bench.log() == [(1, 1), (2, 2), (3, 3)]
