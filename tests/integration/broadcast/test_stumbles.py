"""Webhooks: an event at which a receiver fails while it takes others holds up its own call only."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from aiohttp import web

from cdrhub.broadcast import deliveries
from cdrhub.broadcast.deliveries import DeliveryState
from cdrhub.broadcast.health import SCHEDULE, EndpointState
from cdrhub.broadcast.stumbles import TRIES
from cdrhub.metrics import Metrics
from support.broadcast import NOON, Received, Receiver, call_id, receiving
from support.broadcasting import Bench, crm, until


def program_that_stumbles(one: Received) -> int:
    """Over the first fact of call 1, each time."""
    return 500 if (one.call, one.number) == (call_id(1), 1) else 204


async def stumbled(bench: Bench, receiver: Receiver, metrics: Metrics, *, at: int) -> None:
    """Let time pass until the event is due again; another one is taken meanwhile."""
    wait = SCHEDULE[at].total_seconds()
    bench.pass_time(wait - 1)
    asked = len(receiver.asked)
    await bench.tell((2, 10 + at))
    await until(lambda: any(one.number == 10 + at for one in receiver.taken))
    assert all(one.call != call_id(1) for one in receiver.asked[asked:]), "not before its time, nor what waits for it"
    bench.pass_time(1)
    await until(lambda: failures(metrics) == at + 1)


def failures(metrics: Metrics) -> float:
    """How many requests failed."""
    return (
        metrics.registry.get_sample_value("cdrhub_webhook_requests_total", {"webhook": "crm", "answer": "failed"}) or 0
    )


async def test_an_event_at_which_it_fails_while_it_takes_others_holds_up_its_call_and_is_refused(bench: Bench) -> None:
    await bench.known()
    metrics = Metrics()
    async with receiving(answer=program_that_stumbles) as receiver, bench.hub(crm(receiver), metrics=metrics) as hub:
        await bench.tell((1, 1), (1, 2), (2, 3))
        await until(lambda: failures(metrics) == 1)
        for at in range(1, TRIES):
            await stumbled(bench, receiver, metrics, at=at)
        await until(lambda: has_state(bench, 1, DeliveryState.REFUSED))
        await until(lambda: receiver.taken[-1].call == call_id(1))
        assert (receiver.taken[-1].number, failures(metrics), hub.problems) == (2, TRIES, [])
        assert [(row.attempts, row.last_status) for row in await bench.deliveries()] == [(TRIES, 500)]
        receiver.answer = lambda _received: 204
        await deliveries.ask_refused(bench.store.database, "crm", [], now=bench.clock.now)
        await until(lambda: receiver.taken[-1].number == 1)


async def test_an_event_that_was_asked_for_again_and_at_which_it_fails_is_refused(bench: Bench) -> None:
    await bench.known()
    metrics = Metrics()
    async with receiving() as receiver, bench.hub(crm(receiver), metrics=metrics) as hub:
        await bench.tell((1, 1), (2, 2))
        await until(lambda: bench.has_come_to(2))
        receiver.answer = program_that_stumbles
        await deliveries.ask_again(bench.store.database, "crm", await hub.events.after(0, limit=2), now=bench.clock.now)
        await until(lambda: failures(metrics) == 1)
        for at in range(1, TRIES):
            await stumbled(bench, receiver, metrics, at=at)
        await until(lambda: has_state(bench, 1, DeliveryState.REFUSED))
        assert await has_state(bench, 2, DeliveryState.DELIVERED)


async def test_where_it_takes_nothing_else_the_endpoint_is_to_blame(bench: Bench) -> None:
    """Also at the event with which that began: it is not refused."""
    await bench.known()
    metrics = Metrics()
    async with receiving(answer=lambda _received: 500) as receiver, bench.hub(crm(receiver), metrics=metrics):
        await bench.tell((1, 1))
        await until(lambda: failures(metrics) == 1)
        for at in range(1, TRIES + 1):
            bench.pass_time(SCHEDULE[at].total_seconds())
            await until(lambda at=at: failures(metrics) == at + 1)  # type: ignore[misc]
        health = (await bench.endpoint()).health
        assert (health.state, await bench.deliveries()) == (EndpointState.FAILING, [])


@pytest.mark.parametrize(
    ("said", "state", "waits"),
    [
        (500, EndpointState.FAILING, SCHEDULE[1]),
        (429, EndpointState.FAILING, timedelta(hours=1)),
        (410, EndpointState.DISABLED, None),
    ],
)
async def test_what_is_asked_early_counts_where_it_says_more_than_that_it_failed(
    bench: Bench, said: int, state: EndpointState, waits: timedelta | None
) -> None:
    await bench.known()
    metrics = Metrics()
    async with receiving(answer=partial(fails, said)) as receiver, bench.hub(crm(receiver), metrics=metrics):
        await bench.tell((1, 1))
        await until(lambda: failures(metrics) == 1)
        await bench.tell((2, 2))
        await until(lambda: len(receiver.asked) == 2)
        await until(lambda: stands(bench, state, waits))
    assert await stands(bench, state, waits)
    assert len(receiver.asked) == 2


@pytest.mark.parametrize(
    ("said", "state", "waits"),
    [(429, EndpointState.FAILING, timedelta(hours=1)), (410, EndpointState.DISABLED, None)],
)
async def test_of_several_that_fail_together_each_is_listened_to(
    bench: Bench, said: int, state: EndpointState, waits: timedelta | None
) -> None:
    await bench.known()
    async with receiving(answer=partial(fails, said)) as receiver, bench.hub(crm(receiver)):
        await bench.tell((1, 1), (2, 1))
        await until(lambda: stands(bench, state, waits))
    assert len(receiver.asked) == 2


def fails(said: int, one: Received) -> web.Response:
    """500 at call 1, and `said` at every other; of 429 with an hour to wait."""
    if one.call == call_id(1):
        return web.Response(status=500)
    return web.Response(status=said, headers={"Retry-After": "3600"} if said == 429 else {})


async def stands(bench: Bench, state: EndpointState, waits: timedelta | None) -> bool:
    """Whether this is how the endpoint stands, and how long it waits from the first failure on."""
    health = (await bench.endpoint()).health
    return (health.state, health.next_at) == (state, NOON + waits if waits is not None else None)


async def has_state(bench: Bench, position: int, state: DeliveryState) -> bool:
    """Whether this is what is remembered of an event."""
    return (position, state) in [(row.position, row.state) for row in await bench.deliveries()]
