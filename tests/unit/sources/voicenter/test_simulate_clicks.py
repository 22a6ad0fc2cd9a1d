"""Click2Call of the simulated account: the dialler orders, and the CDRs make the call that the ledger says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from cdrhub.model.call import Call
from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused
from cdrhub.model.disposition import Disposition
from cdrhub.model.fold import fold
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.voicenter.dial import DIALLER, VoicenterDiallerConfig
from cdrhub.sources.voicenter.simulate.account import Account
from cdrhub.sources.voicenter.simulate.clicks import MOST_VARIABLES, PATH, Click2Call
from support.dialling import ATTEMPT, order
from support.ordered import System, ordering, simulation_in
from support.truth import differences
from support.voicenter import decoded


async def dialled(
    fate: Disposition = Disposition.ANSWERED, *, agent: str = "SIPSIP101", number: str = "+972541234567"
) -> tuple[Answer, System[Push]]:
    """The answer to one order of the real dialler, and what the account told then."""
    simulation = simulation_in("IL")
    account = Account(simulation.centre)
    async with ordering(
        simulation, account.render, lambda ordered: Click2Call(ordered).handle, PATH, fate=fate
    ) as system:
        dialler = DIALLER.build("click2call", VoicenterDiallerConfig(url=system.url, code="any"))
        answer = await dialler.dial(order(agent=agent, number=number))
        await dialler.close()
    return answer, system


def told(system: System[Push]) -> Call:
    updates = [decoded(due.what.body, content_type=due.what.content_type) for due in system.told]
    return fold(updates)


@pytest.mark.parametrize(
    "fate",
    [
        Disposition.ANSWERED,
        Disposition.NO_ANSWER,
        Disposition.BUSY,
        Disposition.FAILED,
        Disposition.NOT_DIALLED,
    ],
)
async def test_an_ordered_call_is_what_the_ledger_says_and_carries_its_reference(fate: Disposition) -> None:
    answer, system = await dialled(fate)
    call = told(system)
    assert answer == Accepted(vendor_ref=call.call_key)
    (entry,) = system.entries
    assert differences(entry, call) == []
    assert call.disposition == fate
    assert ATTEMPT in orjson.dumps(dict(call.attributes), default=dict).decode()
    if fate is not Disposition.NOT_DIALLED:
        assert (call.external_number, call.agent_id) == ("+972541234567", "SIPSIP101")


@pytest.mark.parametrize(
    ("agent", "number", "refusal"),
    [("7001", "+972541234567", Refusal.AGENT), ("SIPSIP101", "9725", Refusal.CONFIGURATION)],
)
async def test_an_order_that_the_account_refuses(agent: str, number: str, refusal: Refusal) -> None:
    answer, system = await dialled(agent=agent, number=number)
    assert isinstance(answer, Refused)
    assert (answer.refusal, system.told) == (refusal, [])


async def test_orders_by_get_and_answers_in_xml_as_they_are_unless_json_is_asked_for() -> None:
    simulation = simulation_in("IL")
    account = Account(simulation.centre)
    asked: dict[str, Any] = {"code": "any", "phone": "SIPSIP101", "target": "0541234567", "action": "call"}
    asked |= {f"var_{place}": str(place) for place in range(MOST_VARIABLES + 1)}
    async with (
        ordering(simulation, account.render, lambda ordered: Click2Call(ordered).handle, PATH) as system,
        ClientSession() as client,
    ):
        async with client.get(system.url, params=asked) as answer:
            text = await answer.text()
        async with client.post(system.url, data=b"no JSON") as answer:
            refused = await answer.text()
    assert "<name>ERRORCODE</name><value><string>0</string></value>" in text
    assert f"<string>{told(system).call_key}</string>" in text
    assert "<name>ERRORCODE</name><value><string>1</string></value>" in refused
    custom = told(system).attributes["CustomData"]
    assert custom == {f"var_{place}": str(place) for place in range(MOST_VARIABLES)}
