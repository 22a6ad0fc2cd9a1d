"""A case worked through on a simulated 3CX, end to end: dialled over its API, told by its CDR lines, decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdrhub.hub.hub import Hub
from cdrhub.model.disposition import Disposition
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.dialled import Ordering, Timing
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.sources.threecx.simulate import MIX, PBX, simulate
from cdrhub.store.redial_tables import attempts
from cdrhub.store.tables import calls
from support.dialled import FIRST, SECOND, SOURCE, dial, hub_that_dials, rows, until_state
from support.servers import free_port

APIS = {
    "call_control": 'client_id = "900"\nclient_secret = "any"',
    "make_call": 'api = "make_call"\npins = { 101 = "1234" }',
}


@asynccontextmanager
async def working(folder: Path, *, api: str, fates: dict[str, Disposition]) -> AsyncIterator[Hub]:
    """A hub, and a PBX in real time that nobody calls and that takes orders."""
    now, lines, orders = datetime.now(UTC), free_port(), free_port()
    centre = Centre(seed=1, start=now, calls_per_hour=0.01, mix=MIX)
    simulation = Simulation(centre=centre, pace=Pace(start=now))
    taken = asyncio.Event()
    ordering = Ordering(
        host="127.0.0.1",
        port=orders,
        fate=fates.__getitem__,
        timing=Timing(picked_up=1, talk=(1, 1)),
        ready=lambda _address: taken.set(),
    )
    tables = f"""
[sources.{SOURCE}]
type = "3cx"
listen = "127.0.0.1:{lines}"
region = "FR"
settle_seconds = 0.5
dialler = "pbx"

[redial.diallers.pbx]
type = "3cx"
url = "http://127.0.0.1:{orders}"
number_form = "national"
region = "FR"
{APIS[api]}
"""
    async with hub_that_dials(folder, tables) as hub:
        pbx = PBX(centre, version="v20")
        playing = asyncio.create_task(simulate(simulation, pbx, host="127.0.0.1", port=lines, ordering=ordering))
        try:
            async with asyncio.timeout(20):
                await taken.wait()
            yield hub
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


@pytest.mark.parametrize("api", APIS)
async def test_a_case_is_worked_through_until_somebody_answers(tmp_path: Path, api: str) -> None:
    fates = {FIRST: Disposition.BUSY, SECOND: Disposition.ANSWERED}
    async with working(tmp_path, api=api, fates=fates) as hub:
        await dial(hub, agent="101")
        await until_state(hub, "contacted")
        tried, made = await rows(hub, attempts), await rows(hub, calls)
    assert [(one.match_key, one.state, one.outcome) for one in tried] == [
        (FIRST, "ended", "busy"),
        (SECOND, "ended", "answered"),
    ]
    assert {one.attempt_id: one.id for one in made} == {one.id: one.call_id for one in tried}
    assert {one.vendor_ref for one in tried} == ({"101:1", "101:2"} if api == "call_control" else {""})


async def test_an_extension_that_the_pbx_does_not_have_counts_for_no_number(tmp_path: Path) -> None:
    async with working(tmp_path, api="call_control", fates={}) as hub:
        await dial(hub, agent="nobody")
        case = await until_state(hub, "waiting")
        (tried,) = await rows(hub, attempts)
    assert (tried.state, tried.refusal, tried.match_key) == ("refused", "agent", FIRST)
    assert "HTTP 404" in tried.detail
    assert (case.state_reason, case.next_key) == ("agent_retry", FIRST)
