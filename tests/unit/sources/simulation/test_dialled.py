"""Calls that a simulated system is asked to place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession, web

from cdrhub.errors import AddressUnavailable
from cdrhub.model.disposition import Disposition
from cdrhub.sources.simulation.dialled import CHANCES, Handler, Ordered, Ordering, taking_orders
from cdrhub.sources.simulation.planned import PlannedCall, Side
from cdrhub.sources.simulation.simulation import Due
from support.ordered import ordering, simulation_in

PATH = "/dial"


def whole(call: PlannedCall) -> Iterable[Due[PlannedCall]]:
    """A system that tells of a call when it is over."""
    return [Due(at=call.ended_at, what=call)]


def placing(ordered: Ordered[PlannedCall]) -> Handler:
    """Places a call to the number in the query."""

    async def handle(request: web.Request) -> web.Response:
        customer = ordered.number(request.query["number"])
        placed = customer and ordered.place(extension="101", customer=customer, back={"ref": "R-1"})
        return web.Response(text="yes" if placed else "no")

    return handle


async def asked(url: str, number: str) -> str:
    async with ClientSession() as client, client.get(url, params={"number": number}) as answer:
        return await answer.text()


async def call_that(fate: Disposition) -> PlannedCall:
    simulation = simulation_in("IL")
    async with ordering(simulation, whole, placing, PATH, fate=fate) as system:
        assert await asked(system.url, "972541234567") == "yes"
    (due,) = system.told
    return due.what


async def test_an_ordered_call_happens_now_and_gives_back_what_the_order_said() -> None:
    call = await call_that(Disposition.ANSWERED)
    assert timedelta() <= datetime.now(UTC) - call.started_at < timedelta(minutes=1)
    assert call.customer is not None
    assert (call.customer.e164, call.customer.dialled) == ("+972541234567", "972541234567")
    assert call.caller is not None
    assert (call.caller.extension, call.ordered) == ("101", {"ref": "R-1"})
    assert call.answered_at is not None
    assert (call.talk_seconds, call.hung_up) == (7, Side.CALLEE)


@pytest.mark.parametrize(
    ("fate", "disposition", "rings"),
    [
        (Disposition.NO_ANSWER, Disposition.NO_ANSWER, True),
        (Disposition.BUSY, Disposition.BUSY, False),
        (Disposition.FAILED, Disposition.FAILED, False),
        (Disposition.NOT_DIALLED, Disposition.CANCELLED, False),
    ],
)
async def test_a_call_that_reaches_nobody(fate: Disposition, disposition: Disposition, *, rings: bool) -> None:
    call = await call_that(fate)
    assert (call.disposition, call.ringing_at is not None, call.answered_at) == (disposition, rings, None)


async def test_without_a_fate_all_chances_come_up() -> None:
    simulation = simulation_in("IL")
    told: list[Due[PlannedCall]] = []

    async def send(due: Due[PlannedCall]) -> None:
        told.append(due)

    ordered = Ordered(simulation, Ordering(host="127.0.0.1", port=0), render=whole, send=send)
    customer = ordered.number("0541234567")
    assert customer is not None
    async with taking_orders(ordered, PATH, placing(ordered)):
        for _ in range(300):
            assert ordered.place(extension="101", customer=customer, back={}) is not None
        simulation.pace.finish()
        assert ordered.place(extension="101", customer=customer, back={}) is None  # it is to finish
    assert ordered.place(extension="101", customer=customer, back={}) is None  # nobody takes orders any more
    assert len(told) == len({due.what.number for due in told}) == 300
    assert len(Counter(due.what.disposition for due in told)) == len(CHANCES)


async def test_what_is_no_number_is_not_dialled() -> None:
    simulation = simulation_in("IL")
    async with ordering(simulation, whole, placing, PATH) as system:
        assert await asked(system.url, "12") == "no"
        assert await asked(system.url, "a number") == "no"
    assert system.told == []


async def test_an_address_that_is_taken_is_said() -> None:
    async with await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def send(_: Due[PlannedCall]) -> None:
            raise AssertionError("nothing was ordered")

        ordered = Ordered(simulation_in("IL"), Ordering(host="127.0.0.1", port=port), render=whole, send=send)
        with pytest.raises(AddressUnavailable, match=f"127.0.0.1:{port}"):
            async with taking_orders(ordered, PATH, placing(ordered)):
                raise AssertionError("it listens")


async def test_a_system_that_fails_to_tell_ends_the_simulation() -> None:
    def broken(_: PlannedCall) -> Iterable[Due[PlannedCall]]:
        raise LookupError("no such team")

    async def order_and_wait() -> None:
        async with ordering(simulation_in("IL"), broken, placing, PATH) as system:
            await asked(system.url, "0541234567")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await order_and_wait()
    assert caught.group_contains(LookupError)
