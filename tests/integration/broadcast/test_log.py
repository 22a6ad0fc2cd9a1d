"""The log as one process knows it: nothing is missed and nothing told twice, from memory or from the database."""

from __future__ import annotations

import asyncio

from sqlalchemy import delete

from cdrhub.broadcast.log import EventLog
from cdrhub.store.tables import outbox
from support.broadcasting import Bench, until


async def test_a_purge_that_overtakes_a_hub_shifts_nothing(bench: Bench) -> None:
    """A hub that did not see the database for long finds a gap in the log; what is after it is at its own place."""
    log, sequencer = EventLog(bench.store.database), bench.sequencer()
    await bench.tell((0, 1))
    await sequencer.step()
    following = asyncio.create_task(log.follow())
    await until(lambda: log.newest == 1)
    await bench.tell((1, 1), (2, 1))
    await sequencer.step()
    await until(lambda: log.newest == 3)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await bench.tell(*((call, 1) for call in range(3, 9)))
    await sequencer.step()
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(delete(outbox).where(outbox.c.position < 7))
    following = asyncio.create_task(log.follow())
    await until(lambda: log.newest == 9)
    await bench.tell(*((call, 1) for call in range(9, 12)))
    await sequencer.step()
    await until(lambda: log.newest == 12)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for position in range(6, 12):
        found = await log.after(position)
        assert [event.position for event in found] == list(range(position + 1, 13))
