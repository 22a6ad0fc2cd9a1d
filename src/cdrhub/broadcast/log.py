"""The log of public facts, read by position: the newest from memory, all others from the database.

One reader per process follows the log and keeps the newest events, so that a hundred live readers and webhooks cost the
database one query. The log is also the live feed's buffer: it reaches as far back as retention lets it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import Select, func, select

from cdrhub.broadcast.bell import Bell, look_seconds
from cdrhub.broadcast.events import Event
from cdrhub.broadcast.rows import COLUMNS, event_of
from cdrhub.errors import StoreUnavailable
from cdrhub.store.engine import Database
from cdrhub.store.tables import outbox
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

AT_ONCE = 500  #: events of one query
REMEMBERED = 2_000  #: newest events kept in memory; some 2 KB each
RETRY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How far the log reaches: the oldest and the newest position that are there; 0 where it is empty."""

    oldest: int = 0
    newest: int = 0


class EventLog:
    """The log as one process knows it. `newest` is 0 until `follow` has looked for the first time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: deque[Event] = deque(maxlen=REMEMBERED)
        self._throttle = Throttle()
        self._missed = Bell()
        self.newest = 0
        self.readers: set[Bell] = set()  #: rung at every news

    def numbered(self, events: Sequence[Event]) -> None:
        """This process gave these their place, in order. They need not be read if they follow what is known."""
        if self.newest and events[0].position == self.newest + 1:
            self._came(events)
        else:
            self._missed.ring()

    async def follow(self) -> None:
        """Read what others numbered, until cancelled."""
        while True:
            try:
                if not self.newest:
                    self.newest = (await self.reach()).newest
                    self._ring()
                await self._catch_up()
            except StoreUnavailable as error:
                if self._throttle.allows("away"):
                    log.warning("the log waits for the database", action="log_waits", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._missed.wait(look_seconds(self._database))

    async def _catch_up(self) -> None:
        found = await self._from_database(self.newest, limit=AT_ONCE)
        while found:
            self._came([event for event in found if event.position > self.newest])
            if len(found) < AT_ONCE:
                return
            found = await self._from_database(self.newest, limit=AT_ONCE)

    def _came(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if events[-1].position - self.newest == len(events):
            self._recent.extend(events)
        else:
            self._recent.clear()  # what was between was purged meanwhile, and `after` counts on there being no gap
        self.newest = events[-1].position
        self._ring()

    def _ring(self) -> None:
        for bell in self.readers:
            bell.ring()

    async def after(self, position: int, *, limit: int = AT_ONCE) -> Sequence[Event]:
        """The events after `position`, in order, at most `limit`. Raises StoreUnavailable.

        They begin at the very next position unless it was purged.
        """
        recent = self._recent
        if recent and recent[0].position <= position + 1:
            skip = position + 1 - recent[0].position
            return list(islice(recent, skip, skip + limit))
        return await self._from_database(position, limit=limit)

    async def at(self, positions: Sequence[int]) -> Sequence[Event]:
        """The events at these positions, in order; those that were purged are left out. Raises StoreUnavailable."""
        query = select(*COLUMNS).where(outbox.c.position.in_(positions)).order_by(outbox.c.position)
        return await self._read(query)

    async def reach(self) -> Reach:
        """How far the log reaches at the moment. Raises StoreUnavailable."""
        async with self._database.connect() as connection:
            oldest = await connection.scalar(select(func.min(outbox.c.position)))
            newest = await connection.scalar(select(func.max(outbox.c.position)))
        return Reach(oldest=oldest or 0, newest=newest or 0)

    async def between(self, since: datetime | None, until: datetime | None) -> Reach:
        """The positions of what was stored in [since, until). Raises StoreUnavailable."""
        query = select(func.min(outbox.c.position), func.max(outbox.c.position))
        if since is not None:
            query = query.where(outbox.c.due_at >= since)
        if until is not None:
            query = query.where(outbox.c.due_at < until)
        async with self._database.connect() as connection:
            oldest, newest = (await connection.execute(query)).one()
        return Reach(oldest=oldest or 0, newest=newest or 0)

    async def _from_database(self, position: int, *, limit: int) -> list[Event]:
        query = select(*COLUMNS).where(outbox.c.position > position).order_by(outbox.c.position).limit(limit)
        return await self._read(query)

    async def _read(self, query: Select[Any]) -> list[Event]:
        async with self._database.connect() as connection:
            rows = await connection.execute(query)
            return [event_of(row) for row in rows]
