"""Whose wait a clock that was set back by an hour shortens, and whose it does not, on each database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from cdrhub.redial.decision import Timing
from cdrhub.redial.set_back import wait_anew
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.tables import calls, outbox
from support import ledger

NOW = ledger.at(110)
HOUR = 3_600
WAITS = {
    "number_in_call": 15,
    "number_requested": 15,
    "agent_busy": 15,
    "source_unhealthy": 30,
    "redial_paused": 30,
    "agent_retry": 70,
    "network_retry": 80,
}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def anew(bench: Any) -> None:
    timing = Timing(agent_retry=timedelta(seconds=70), network_retry=timedelta(seconds=80))
    async with bench.store.database.connect(writing=True) as connection:
        await wait_anew(connection, now=NOW, timing=timing)


async def test_a_case_that_looks_again_in_a_moment(bench: Any) -> None:
    expected = {}
    for reason in (*WAITS, "calling_window", "callback"):
        for seconds in (5, HOUR):
            code = f"{reason} {seconds}"
            waiting = {"state": "waiting", "state_reason": reason, "next_action_at": after(seconds)}
            await bench.case(code, "+2348039100001", **waiting)
            expected[code] = after(min(seconds, WAITS.get(reason, HOUR)))
    await anew(bench)
    async with bench.store.database.connect() as connection:
        found = await connection.execute(select(cases.c.code, cases.c.next_action_at))
        assert {row.code: row.next_action_at for row in found} == expected


async def test_an_attempt_that_was_requested_before(bench: Any) -> None:
    expected = {}
    for place, (state, requested, deadline, becomes) in enumerate(
        (
            ("requested", HOUR, HOUR + 120, 120),
            ("accepted", HOUR, HOUR + 14_400, 14_400),
            ("superseded", HOUR, HOUR + 120, 120),
            ("ended", HOUR, HOUR + 120, HOUR + 120),
            ("accepted", -60, 14_340, 14_340),
        )
    ):
        case_id = await bench.case(f"C-{place}")
        moments = {"requested_at": after(requested), "deadline_at": after(deadline)}
        attempt_id = await bench.accepted(case_id, agent=f"{200 + place}", state=state, **moments)
        expected[attempt_id] = after(becomes)
    await anew(bench)
    async with bench.store.database.connect() as connection:
        found = await connection.execute(select(attempts.c.id, attempts.c.deadline_at))
        assert {row.id: row.deadline_at for row in found} == expected


async def test_a_call_that_settles(bench: Any) -> None:
    await bench.call("before", received=110 + HOUR)
    await bench.call("since", received=100)
    async with bench.store.database.connect(writing=True) as connection:
        ids = {row.call_key: row.id for row in await connection.execute(select(calls.c.call_key, calls.c.id))}
        for key, seconds in (("before", HOUR + 3), ("since", 50)):
            due = update(outbox).where(outbox.c.call_id == ids[key])
            await connection.execute(due.values(due_at=after(seconds)))
        told = {"call_id": ids["before"], "source": "lagos", "revision": 1, "snapshot": {}}
        await connection.execute(insert(outbox).values(type="call.ended", due_at=after(HOUR + 3), **told))
    await anew(bench)
    async with bench.store.database.connect() as connection:
        found = await connection.execute(select(outbox.c.call_id, outbox.c.type, outbox.c.due_at))
        assert {(row.call_id, row.type): row.due_at for row in found} == {
            (ids["before"], "call.settled"): after(3),
            (ids["since"], "call.settled"): after(50),
            (ids["before"], "call.ended"): after(HOUR + 3),
        }
