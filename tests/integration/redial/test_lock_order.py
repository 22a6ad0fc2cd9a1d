"""Results of numbers are written in the order in which numbers are locked: so no two hubs wait for each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cdrhub.model.disposition import Disposition
from cdrhub.redial import case_rows
from cdrhub.redial.changes import Changes
from cdrhub.redial.model import AttemptState
from support.locks import waits_for_a_lock

FIRST, SECOND = "+2348039100001", "+2348039100002"


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
    of_second = await bench.case("C-1", SECOND, agent="102")
    of_first = await bench.case("C-2", FIRST, agent="103")
    await bench.accepted(of_second, SECOND, agent="102")
    await bench.accepted(of_first, FIRST, agent="103")
    async with bench.store.database.connect(writing=True) as connection:
        await case_rows.numbers_locked(connection, {FIRST})
        settling = asyncio.create_task(settled(bench, [of_second, of_first]))
        await waits_for_a_lock(settling, bench.store.database)
        await case_rows.numbers_locked(connection, {SECOND})
    await settling
    for case_id, number in ((of_second, SECOND), (of_first, FIRST)):
        assert await bench.attempts(case_id) == [(number, AttemptState.ENDED, Disposition.NO_ANSWER)]
