"""Others write while calls are being decided about: the numbers of a case change, a call is written anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from cdrhub.store.redial_tables import case_numbers, cases
from cdrhub.store.tables import calls
from support.locks import waits_for_a_lock

FIRST, OTHER = "+2348039100001", "+2348039100009"


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
async def test_a_call_concerns_who_has_its_number_when_the_case_is_locked(bench: Any, direction: str) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    case_id = await bench.case("C-1", FIRST, round=0)
    said = {} if direction == "outbound" else {"direction": "inbound", "disposition": "answered", "caller_e164": FIRST}
    await bench.call("k1", **said)
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(select(cases.c.id).where(cases.c.id == case_id).with_for_update())
        new = update(case_numbers).where(case_numbers.c.case_id == case_id)
        await connection.execute(new.values(number=OTHER, match_key=OTHER, e164=OTHER))
        deciding = asyncio.create_task(bench.decide())
        await waits_for_a_lock(deciding, bench.store.database)
    await deciding
    assert (await bench.of_case(case_id))["state"] == "open"
    assert await bench.decisions() == []
    assert await bench.told() == ["call.ended"]


async def test_a_call_that_another_writer_holds_is_not_asked_for_again_and_again(bench: Any) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    await bench.call("k1")
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(select(calls.c.id).with_for_update())
        done = await bench.engine().decide(at_most=1)
        assert (done.settled, done.more) == (0, False)
    assert (await bench.engine().decide(at_most=1)).settled == 1
    assert await bench.told() == ["call.ended"]


async def test_a_case_that_another_writer_stops_when_it_is_due_stays_stopped(bench: Any) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    case_id = await bench.case("C-1", FIRST, state="waiting", next_action_at=bench.clock.now)
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(select(cases.c.id).where(cases.c.id == case_id).with_for_update())
        stopped = update(cases).where(cases.c.id == case_id)
        await connection.execute(stopped.values(state="cancelled", next_action_at=None))
        deciding = asyncio.create_task(bench.dialling().due())
        await waits_for_a_lock(deciding, bench.store.database)
    await deciding
    assert (await bench.of_case(case_id))["state"] == "cancelled"
    assert await bench.attempts(case_id) == []
    assert await bench.decisions() == []
