"""Calls that were told as answered and turn out not to have been, on each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update

from cdrhub.redial.model import Reported
from cdrhub.store.tables import calls, outbox

FIRST, SECOND = "+2348039100001", "+2348039100002"
INBOUND = {"direction": "inbound", "caller_number": FIRST, "caller_e164": FIRST, "agent_id": "105"}


async def corrected(bench: Any, key: str, disposition: str) -> None:
    """A replay with a corrected decoder made another call of the same records."""
    async with bench.store.database.connect(writing=True) as connection:
        row = (await connection.execute(select(calls).where(calls.c.call_key == key))).one()
        changed = {"disposition": disposition, "revision": row.revision + 1}
        await connection.execute(update(calls).where(calls.c.id == row.id).values(changed))
        fact = {"call_id": row.id, "source": row.source, "type": "call.settled", "revision": row.revision + 1}
        await connection.execute(insert(outbox).values(fact | {"due_at": bench.clock.now, "snapshot": None}))
    await bench.decide()


async def stands(bench: Any, case_id: str) -> tuple[str, str]:
    row = await bench.of_case(case_id)
    return row["state"], row["state_reason"]


async def test_of_an_attempt(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", disposition="answered")
    await bench.decide()
    await corrected(bench, "k1", "voicemail")
    assert await stands(bench, case_id) == ("paused", "contradiction")
    assert await bench.claim() == []
    assert await bench.told() == ["call.ended", "case.contacted", "call.corrected", "case.paused"]
    await corrected(bench, "k1", "answered")
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_of_a_call_elsewhere(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    await corrected(bench, "in1", "voicemail")
    assert await stands(bench, case_id) == ("paused", "contradiction")
    assert (await bench.decisions())[-1] == ("paused", "contradiction")


async def test_of_a_call_elsewhere_before_a_new_round(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    await corrected(bench, "in1", "voicemail")
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]
    attempt_id = await bench.live_attempt(case_id)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CONTACTED)
    await corrected(bench, "in1", "ivr")
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_of_an_earlier_round(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", disposition="answered")
    await bench.decide()
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    await corrected(bench, "k1", "voicemail")
    assert [state for _, state, _ in await bench.attempts(case_id)] == ["ended", "requested"]
