"""A case worked through on a simulated FreeSWITCH, end to end: dialled by the hub, told by the switch, decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from cdrhub.hub.hub import Hub
from cdrhub.model.disposition import Disposition
from cdrhub.sources.freeswitch.simulate import Setup, listening
from cdrhub.sources.simulation.centre import Centre, staff
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.store.redial_tables import attempts, cases, redial_decisions
from cdrhub.store.tables import calls
from support.dialled import FIRST, SECOND, SOURCE, WAIT_SECONDS, dial, hub_that_dials, rows, until_state


@asynccontextmanager
async def working(folder: Path, *, redial: str = "", **fates: Disposition) -> AsyncIterator[tuple[Hub, str]]:
    """A hub, a switch in real time that nobody calls, and the extension of one of its agents. `fates` says what becomes
    of a call to the first and the second number; `redial` are further keys of that table."""
    now = datetime.now(UTC)
    simulation = Simulation(centre=Centre(seed=1, start=now, calls_per_hour=0.01), pace=Pace(start=now))
    setup = Setup(port=0, fate=lambda number: fates["first" if number == FIRST else "second"])
    async with listening(simulation, setup) as switch:
        playing = asyncio.create_task(switch.play())
        try:
            async with hub_that_dials(folder, redial + tables_for(switch.address[1])) as hub:
                yield hub, staff(simulation.centre)[0].extension
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


def tables_for(port: int) -> str:
    return f"""
[sources.{SOURCE}]
type = "freeswitch"
port = {port}
password = "ClueCon"
region = "FR"
dialler = "switch"

[redial.diallers.switch]
type = "freeswitch"
port = {port}
password = "ClueCon"
answer_seconds = 5
"""


async def test_a_case_is_worked_through_to_its_last_number(tmp_path: Path) -> None:
    async with working(tmp_path, first=Disposition.BUSY, second=Disposition.REJECTED) as (hub, agent):
        await dial(hub, agent=agent)
        await until_state(hub, "exhausted")
        tried, made = await rows(hub, attempts), await rows(hub, calls)
    assert [(one.match_key, one.state, one.outcome) for one in tried] == [
        (FIRST, "ended", "busy"),
        (SECOND, "ended", "rejected"),
    ]
    assert {one.call_key: one.attempt_id for one in made} == {one.id: one.id for one in tried}
    assert {one.id: one.call_id for one in tried} == {one.call_key: one.id for one in made}


async def test_an_agent_without_a_telephone_counts_for_no_number(tmp_path: Path) -> None:
    async with working(tmp_path) as (hub, _):
        await dial(hub, agent="999999")
        case = await until_state(hub, "waiting")
        (tried,) = await rows(hub, attempts)
    assert (tried.state, tried.refusal, tried.match_key) == ("refused", "agent", FIRST)
    assert "USER_NOT_REGISTERED" in tried.detail
    assert (case.state_reason, case.next_key) == ("agent_retry", FIRST)


async def test_a_call_that_is_not_wanted_any_more_is_dropped(tmp_path: Path) -> None:
    keys = "hangup_superseded = true\n"
    async with working(tmp_path, redial=keys, first=Disposition.ANSWERED) as (hub, agent):
        await dial(hub, agent=agent)
        async with asyncio.timeout(WAIT_SECONDS):
            while [one.state for one in await rows(hub, attempts)] != ["accepted"]:  # noqa: ASYNC110 - in a database
                await asyncio.sleep(0.05)
        await hub.orders().stop(tenant="", code="C-1")
        hub.ordered()
        async with asyncio.timeout(WAIT_SECONDS):
            while [one.state for one in await rows(hub, calls)] != ["ended"]:  # noqa: ASYNC110 - in a database
                await asyncio.sleep(0.05)
        (made,), (tried,) = await rows(hub, calls), await rows(hub, attempts)
    assert (made.call_key, made.cause, tried.state) == (tried.id, "ORIGINATOR_CANCEL", "superseded")


async def test_an_agent_who_does_not_pick_up_is_decided_once(tmp_path: Path) -> None:
    """The job's result and the channel's record tell the same."""
    async with working(tmp_path, first=Disposition.NOT_DIALLED) as (hub, agent):
        await dial(hub, agent=agent)
        await until_state(hub, "waiting")
        async with asyncio.timeout(WAIT_SECONDS):
            while not (made := await rows(hub, calls)) or made[0].attempt_id is None:  # noqa: ASYNC110 - in a database
                await asyncio.sleep(0.1)
        decided = await rows(hub, redial_decisions)
        (case,), (tried,) = await rows(hub, cases), await rows(hub, attempts)
    assert made[0].disposition == "not_dialled"
    assert [one.rule for one in decided if one.result != "nothing"] == ["first_untried", "agent_retry"]
    assert (case.state, case.state_reason, case.next_key) == ("waiting", "agent_retry", FIRST)
    assert tried.outcome in (None, "not_dialled")
