"""MAKECALL of the simulated asterCC: the dialler orders, and the events make the call that the ledger says."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from cdrhub.model.call import Call
from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused
from cdrhub.model.disposition import Disposition, State
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.sources.astercc.dial import DIALLER, AsterCCDiallerConfig
from cdrhub.sources.astercc.simulate.events import Team
from cdrhub.sources.astercc.simulate.makecall import PATH, MakeCall
from cdrhub.sources.simulation.pushing import Push
from support.astercc import decoded
from support.dialling import ATTEMPT, order
from support.ordered import System, ordering, simulation_in
from support.truth import differences

ZONE = "Asia/Shanghai"


async def dialled(
    fate: Disposition = Disposition.ANSWERED,
    *,
    agent: str = "7101",
    number: str = "+8613912345678",
    model_type: str = "Campaign",
) -> tuple[Answer, System[Push]]:
    """The answer to one order of the real dialler, and what the server told then."""
    simulation = simulation_in("CN")
    team = Team(simulation.centre, timezone=ZONE)
    async with ordering(simulation, team.render, lambda ordered: MakeCall(ordered).handle, PATH, fate=fate) as system:
        config = AsterCCDiallerConfig(
            url=system.url,
            team="demo",
            password="any",
            model_id="10",
            region="CN",
            model_type=model_type,
        )
        dialler = DIALLER.build("makecall", config)
        answer = await dialler.dial(order(agent=agent, number=number))
        await dialler.close()
    return answer, system


def told(system: System[Push]) -> Call:
    updates = [decoded(due.what.body, region="CN", agent_phones={}) for due in system.told if not due.what.silent]
    return fold(update for update in updates if isinstance(update, CallUpdate))


@pytest.mark.parametrize(
    "fate", [Disposition.ANSWERED, Disposition.NO_ANSWER, Disposition.FAILED, Disposition.NOT_DIALLED]
)
async def test_an_ordered_call_is_what_the_ledger_says_and_carries_its_reference(fate: Disposition) -> None:
    answer, system = await dialled(fate)
    assert answer == Accepted()
    call = told(system)
    (entry,) = system.entries
    assert call.opened
    assert differences(entry, call) == []
    assert (call.state, call.disposition, call.contact_ref) == (State.ENDED, fate, ATTEMPT)
    assert (call.external_number, call.agent_id) == ("+8613912345678", "7101")


async def test_other_models_than_campaigns_give_nothing_back() -> None:
    _, system = await dialled(model_type="BusinessApp")
    call = told(system)
    assert differences(system.entries[0], call) == []
    assert call.contact_ref is None


@pytest.mark.parametrize(
    ("agent", "number", "refusal", "message"),
    [
        ("SIPSIP101", "+8613912345678", Refusal.AGENT, "BackMsg_24"),
        ("7101", "861", Refusal.CONFIGURATION, "BackMsg_28"),
    ],
)
async def test_an_order_that_the_server_refuses(agent: str, number: str, refusal: Refusal, message: str) -> None:
    answer, system = await dialled(agent=agent, number=number)
    assert isinstance(answer, Refused)
    assert (answer.refusal, system.told) == (refusal, [])
    assert message in answer.detail


async def test_an_order_without_what_it_needs() -> None:
    simulation = simulation_in("CN")
    team = Team(simulation.centre, timezone=ZONE)
    async with (
        ordering(simulation, team.render, lambda ordered: MakeCall(ordered).handle, PATH) as system,
        ClientSession() as client,
        client.get(system.url, params={"EVENT": "MAKECALL", "targetdn": "13912345678"}) as answer,
    ):
        assert await answer.text() == "|Retuen|2|Retuen|BackMsg_01"
