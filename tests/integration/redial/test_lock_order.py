"""Results of numbers are written in the order in which numbers are locked: so no two hubs wait for each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from cdrhub.model.disposition import Disposition
from cdrhub.redial import cases as case_rows
from cdrhub.redial.changes import Changes
from cdrhub.redial.model import AttemptState

FIRST, SECOND = "+2348039100001", "+2348039100002"
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


async def settled(bench: Any, ids: list[str]) -> None:
    """The live attempts of these cases end, in this order, in one transaction that is not tried again."""
    async with bench.store.database.connect(writing=True) as connection:
        locked = await case_rows.locked(connection, ids)
        changes = Changes(now=bench.clock.now)
        for case_id in ids:
            (attempt,) = locked[case_id].attempts
            changes.settle(
                locked[case_id],
                attempt,
                state=AttemptState.ENDED,
                at=bench.clock.now,
                outcome=Disposition.NO_ANSWER,
            )
        await changes.write(connection)


async def test_whoever_claims_the_same_numbers_meanwhile_is_waited_for(bench: Any) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("one transaction writes at a time")
    waiting = text(WAITING[bench.store.database.kind])
    of_second = await bench.case("C-1", SECOND, agent="102")
    of_first = await bench.case("C-2", FIRST, agent="103")
    await bench.accepted(of_second, SECOND, agent="102")
    await bench.accepted(of_first, FIRST, agent="103")
    async with bench.store.database.connect(writing=True) as connection:
        await case_rows.numbers_locked(connection, {FIRST})
        settling = asyncio.create_task(settled(bench, [of_second, of_first]))
        async with asyncio.timeout(20), bench.store.database.connect() as other:
            while not await other.scalar(waiting):
                assert not settling.done()
                await asyncio.sleep(0.01)
        await case_rows.numbers_locked(connection, {SECOND})
    await settling
    for case_id, number in ((of_second, SECOND), (of_first, FIRST)):
        assert await bench.attempts(case_id) == [(number, AttemptState.ENDED, Disposition.NO_ANSWER)]
