"""What no hub, receiver or operator does on purpose: numbers that no JSON writer takes, clocks that go back, names that
come and go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from cdrhub.broadcast import deliveries
from cdrhub.broadcast.deliveries import DeliveryState
from cdrhub.broadcast.health import SCHEDULE, EndpointState
from cdrhub.broadcast.sequencer import LEASE
from cdrhub.broadcast.service import Broadcast
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.store import Store, leases
from cdrhub.store.event_tables import leases as lease_rows
from cdrhub.store.event_tables import webhook_endpoints
from cdrhub.store.trouble import IDLE_SECONDS
from support.broadcast import receiving
from support.broadcasting import PACE, Bench, crm, until
from support.proxy import Proxy

STOP_SECONDS = 40.0  #: less than a statement may take, more than connections need to be given up


async def test_a_number_beyond_64_bits_is_told_like_any_other(bench: Bench) -> None:
    """PostgreSQL keeps 1e30 as 31 digits, which read as a whole number could not be written again."""
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)):
        await bench.tell((1, 1), snapshot={"tenant": "", "attributes": {"huge": 1e30, "largest": 1.7e308}})
        await bench.tell((2, 1))
        await until(lambda: len(receiver.taken) >= 2, seconds=8)
        assert receiver.taken[0].document["data"]["attributes"] == {"huge": 1e30, "largest": 1.7e308}


async def test_an_event_that_cannot_be_written_is_set_aside_and_takes_no_other_along(bench: Bench) -> None:
    if bench.store.database.kind == "postgresql":
        pytest.skip("the engine itself refuses an id that is none")
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1), (1, 2), (1, 3), (2, 1))
        await bench.tell((1, 4), call_id="n" * 36)
        await bench.tell((1, 5), (2, 2))
        await until(lambda: len(receiver.taken) >= 6)
        assert receiver.in_order()
        assert len({one.id for one in receiver.asked}) == len(receiver.asked)
        assert hub.problems == []
    rows = [(row.position, row.state, row.last_error) for row in await bench.deliveries()]
    assert rows == [(5, DeliveryState.REFUSED, "cannot be written: ValueError")]
    assert (await bench.endpoint()).cursor == 7


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is stopped"])
async def test_a_clock_that_is_set_back_keeps_no_webhook_waiting(bench: Bench, running: bool) -> None:
    await bench.known()
    async with receiving() as receiver:
        receiver.answer = lambda _received: 500
        async with bench.hub(crm(receiver)):
            await bench.tell((1, 1))
            await until(lambda: failing(bench))
            if running:
                bench.clock.now -= timedelta(hours=1)
                await until(lambda: next_at_is(bench, bench.clock.now + SCHEDULE[1]))
        if not running:
            bench.clock.now -= timedelta(hours=1)
        receiver.answer = lambda _received: 204
        async with bench.hub(crm(receiver)):
            if not running:
                await until(lambda: next_at_is(bench, bench.clock.now + SCHEDULE[1]))
            assert receiver.taken == []
            bench.clock.now += SCHEDULE[1]
            await until(lambda: len(receiver.taken) == 1)


async def failing(bench: Bench) -> bool:
    """Whether the webhook failed once, and that is written."""
    return (await bench.endpoint()).health.attempt == 1


async def next_at_is(bench: Bench, moment: datetime) -> bool:
    """Whether the webhook is tried then, as it is written."""
    return (await bench.endpoint()).health.next_at == moment


async def test_a_webhook_that_is_taken_out_and_put_in_again_has_one_worker(bench: Bench) -> None:
    """The first still waits for an answer when the second could begin: each event would be sent by both."""
    await bench.known()
    async with receiving(answer=None) as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1), (2, 1))
        await until(lambda: len(receiver.asked) == 2)
        hub.take_over([])
        hub.take_over([crm(receiver)])
        await asyncio.sleep(PACE.landing_seconds / 2)
        assert len(receiver.asked) == 2
        receiver.answer = lambda _received: 204
        await until(lambda: len(receiver.taken) >= 2)


async def test_a_stop_waits_for_no_database_that_is_silent(bench: Bench) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("a file answers")
    url = bench.store.database.url
    async with Proxy((url.host or "", url.port or 0)) as proxy, receiving() as receiver:
        far = Store.open(url.set(port=proxy.port).render_as_string(hide_password=False), connections=4)
        broadcast = Broadcast(database=far.database, metrics=Metrics(), holder="far", endpoints=[crm(receiver)])
        broadcast.begin()
        await bench.tell((1, 1))
        broadcast.wake()
        await until(lambda: broadcast.events.newest == 1)
        proxy.go_deaf()
        async with asyncio.timeout(STOP_SECONDS):
            await broadcast.stop(seconds=0.5)
        await far.close()


async def test_a_hub_that_is_suspended_in_a_transaction_holds_up_no_other_for_long(bench: Bench) -> None:
    """It holds the lease's row; the others go on when the server has ended its transaction."""
    if bench.store.database.kind == "sqlite":
        pytest.skip("hubs do not share a file")
    database = bench.store.database
    suspended = await leases.taken(database, LEASE, holder="suspended", life=0.1)
    assert suspended is not None
    await bench.tell((1, 1))

    async def sleep_in_the_middle() -> None:
        async with database.connect(writing=True) as connection:
            await leases.guard(connection, suspended)
            async with asyncio.timeout(2 * IDLE_SECONDS):
                assert await bench.sequencer("other").step() == 1
            await leases.guard(connection, suspended)

    with pytest.raises(StoreUnavailable):
        await sleep_in_the_middle()


async def test_a_hub_that_lost_its_lease_and_does_not_know_moves_no_cursor(bench: Bench) -> None:
    """It may send once more what the other one sends; the other one's place in the log stays as it is."""
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver), pace=replace(PACE, lease_seconds=60.0)):
        await bench.tell((1, 1))
        await until(lambda: bench.has_come_to(1))
        async with bench.store.database.connect(writing=True) as connection:
            await give_to_other(connection, seconds=60)
        await bench.tell((1, 2))
        await until(lambda: len(receiver.taken) >= 2)
        await asyncio.sleep(5 * PACE.save_seconds)
        assert await bench.has_come_to(1)
    assert await bench.has_come_to(1)


async def test_a_hub_whose_lease_was_another_ones_meanwhile_goes_on_from_where_that_one_came_to(bench: Bench) -> None:
    await bench.known()
    brief = replace(PACE, lease_seconds=2.0, request_seconds=0.9)
    async with (
        receiving(answer=lambda one: 204 if one.number == 1 else 500) as receiver,
        bench.hub(crm(receiver), pace=brief),
    ):
        await bench.tell((1, 1), (1, 2), (1, 3))
        await until(lambda: fails(bench))
        async with bench.store.database.connect(writing=True) as connection:
            await give_to_other(connection, seconds=0)
            came_to = webhook_endpoints.c.name == "crm"
            await connection.execute(update(webhook_endpoints).where(came_to).values(cursor=3))
        await until(lambda: is_held_by(bench, "one"))
        receiver.answer = lambda _received: 204
        bench.pass_time(5)
        await bench.tell((1, 4))
        await until(lambda: 4 in [one.number for one in receiver.taken])
    assert [one.number for one in receiver.taken] == [1, 4]


async def test_nothing_is_sent_under_a_lease_that_another_hub_may_have_before_the_answer(bench: Bench) -> None:
    await bench.known()
    over = replace(PACE, lease_seconds=0.0)
    async with receiving() as receiver:
        async with bench.hub(crm(receiver), pace=over) as hub:
            await bench.tell((1, 1))
            await until(lambda: hub.events.newest == 1)
            await asyncio.sleep(0.2)
        assert receiver.asked == []
        async with bench.hub(crm(receiver)) as hub:
            await until(lambda: len(receiver.taken) == 1)
            again = await hub.events.after(0, limit=1)
            await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now)
            await until(lambda: len(receiver.taken) == 2)
            await until(lambda: _delivered(bench))
        await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now)
        async with bench.hub(crm(receiver), pace=over) as hub:
            await until(lambda: hub.events.newest == 1)
            await asyncio.sleep(0.2)
        assert len(receiver.asked) == 2


async def _delivered(bench: Bench) -> bool:
    """Whether it is written down that what was asked for again was taken."""
    return [one.state for one in await bench.deliveries()] == [DeliveryState.DELIVERED]


async def test_a_webhook_is_left_to_the_hub_that_holds_its_lease_until_that_one_is_gone(bench: Bench) -> None:
    await bench.known()
    brief = replace(PACE, lease_seconds=2.0, request_seconds=0.9)
    with capture_logs() as logs:
        async with receiving() as receiver, bench.hub(crm(receiver), pace=brief):
            await bench.tell((1, 1))
            await until(lambda: bench.has_come_to(1))
            async with bench.store.database.connect(writing=True) as connection:
                await give_to_other(connection, seconds=60)
            await until(lambda: any(line["action"] == "lease_lost" for line in logs))
            await bench.tell((1, 2))
            async with bench.store.database.connect(writing=True) as connection:
                await give_to_other(connection, seconds=0)
            await until(lambda: len(receiver.taken) == 2)


async def give_to_other(connection: AsyncConnection, *, seconds: float) -> None:
    """Another hub has the webhook's lease for so long from now on."""
    until_then = await leases.database_now(connection) + timedelta(seconds=seconds)
    values = {"holder": "other", "fence": lease_rows.c.fence + 1, "until": until_then}
    await connection.execute(update(lease_rows).where(lease_rows.c.name == "webhook/crm").values(values))


async def fails(bench: Bench) -> bool:
    """Whether the webhook is known to fail."""
    return (await bench.endpoint()).health.state is EndpointState.FAILING


async def is_held_by(bench: Bench, holder: str) -> bool:
    """Whether this hub holds the webhook's lease."""
    async with bench.store.database.connect() as connection:
        its = lease_rows.c.name == "webhook/crm"
        return bool(await connection.scalar(select(lease_rows.c.holder).where(its)) == holder)
