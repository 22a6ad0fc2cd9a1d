"""Since when hubs dial, as the hubs of one database tell each other, and one tells its next start.

A hub that starts must know whether what waits in the database waited because no hub was there, or for room at one that
was. So each hub that dials writes the row of `redial_watch`, a few times within the greatest age of news.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.store.engine import RacedError
from cdrhub.store.redial_tables import redial_watch

DIALLING = "dialling"


async def note(connection: AsyncConnection, *, began: datetime, now: datetime, max_age: timedelta) -> datetime:
    """Note in this write transaction that a hub which dials since `began` looked at `now`; since when hubs dial without
    a pause of more than `max_age`. Raises RacedError (try again)."""
    mine = redial_watch.c.name == DIALLING
    row = (await connection.execute(select(redial_watch).where(mine).with_for_update())).one_or_none()
    if row is None:
        try:
            await connection.execute(insert(redial_watch).values(name=DIALLING, since=began, looked_at=now))
        except IntegrityError as error:  # another hub made it in this moment
            raise RacedError from error
        return began
    if abs(now - row.looked_at) <= max_age:
        began = min(began, row.since)
    await connection.execute(update(redial_watch).where(mine).values(since=began, looked_at=now))
    return began


async def one_at_a_time(connection: AsyncConnection) -> None:
    """Let hubs claim one after the other: wait until no other transaction is past this point. Taken before any other
    lock."""
    await connection.execute(select(redial_watch.c.name).where(redial_watch.c.name == DIALLING).with_for_update())
