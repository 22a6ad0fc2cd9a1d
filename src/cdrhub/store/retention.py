"""Retention: bodies of old records are emptied, told facts are purged; keys, digests and calls stay.

Records in suspense keep their bodies: somebody is to repair them. A call whose records were emptied is *sealed*: what
comes later fills its empty columns and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Protocol

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.store import request_keys
from cdrhub.store.engine import Database
from cdrhub.store.event_tables import DISABLED, deliveries, webhook_endpoints
from cdrhub.store.rows import SUSPENDED
from cdrhub.store.tables import outbox, record_audit, records, unopened

AT_ONCE = 1_000  #: rows in one transaction
GONE_AFTER = timedelta(days=7)  #: that nobody delivered to a webhook; its events are kept no longer
CLOCK_AHEAD = timedelta(days=1)  #: a fact from further in the future says nothing of its age: some clock was wrong

_TO_EMPTY = (records.c.state != SUSPENDED, records.c.body.is_not(None))  # beside which a repaired one may stand


class Limits(Protocol):
    """How many days what is kept; 0 is for ever."""

    @property
    def raw_days(self) -> int:
        """Bodies of records."""

    @property
    def facts_days(self) -> int:
        """Facts that were told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retained:
    """What one run took away."""

    bodies: int = 0
    facts: int = 0


class Retention:
    """Goes over the records once, remembers how far it came, and goes on from there at the next run. What was in
    suspense when it passed is looked for by the audit of its repair."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._emptied_to = 0

    async def apply(self, limits: Limits, *, now: datetime) -> Retained:
        """One run, in many small transactions. Raises StoreUnavailable; what was done until then stays done."""
        bodies = facts = 0
        if limits.raw_days:
            bodies = await self._empty_bodies(before=now - timedelta(days=limits.raw_days))
            bodies += await self._empty_repaired(before=now - timedelta(days=limits.raw_days))
            await self._forget_unopened(before=now - timedelta(days=limits.raw_days))
        if limits.facts_days:
            facts = await self._purge_facts(before=now - timedelta(days=limits.facts_days), now=now)
        await request_keys.forget(self._database, now=now)
        return Retained(bodies=bodies, facts=facts)

    async def _empty_bodies(self, *, before: datetime) -> int:
        emptied = 0
        while True:
            async with self._database.connect(writing=True) as connection:
                window = (
                    await connection.execute(
                        select(records.c.id, records.c.received_at)
                        .where(records.c.id > self._emptied_to)
                        .order_by(records.c.id)
                        .limit(AT_ONCE)
                    )
                ).all()
                # Numbers rise with the time of receipt but for what waited in a journal, so the first stretch
                # without an old record is where the old ones end.
                if not any(row.received_at < before for row in window):
                    return emptied
                emptied += await self._empty(connection, [row.id for row in window if row.received_at < before])
            if any(row.received_at >= before for row in window):
                return emptied
            self._emptied_to = window[-1].id

    async def _empty_repaired(self, *, before: datetime) -> int:
        """Records that were in suspense when the others of their time were emptied. The audit names all of those."""
        emptied = 0
        while True:
            async with self._database.connect(writing=True) as connection:
                ids = (
                    await connection.scalars(
                        select(records.c.id)
                        .where(
                            records.c.id.in_(select(record_audit.c.record_id)),
                            records.c.received_at < before,
                            *_TO_EMPTY,
                        )
                        .limit(AT_ONCE)
                    )
                ).all()
                if ids:
                    emptied += await self._empty(connection, list(ids))
            if len(ids) < AT_ONCE:
                return emptied

    async def _empty(self, connection: AsyncConnection, ids: list[int]) -> int:
        done = await connection.execute(
            update(records).where(records.c.id.in_(ids), *_TO_EMPTY).values(body=None, repaired_body=None)
        )
        return done.rowcount

    async def _purge_facts(self, *, before: datetime, now: datetime) -> int:
        """Purge facts that were told: from the oldest position to the first that is not old yet, so that the log has no
        holes whatever the clocks said, and no further than every live receiver has come. The newest fact stays, for the
        next position follows from it."""

        def is_old(due_at: datetime) -> bool:
            return due_at < before or due_at > now + CLOCK_AHEAD

        purged = 0
        while True:
            async with self._database.connect(writing=True) as connection:
                newest = await connection.scalar(select(func.max(outbox.c.position))) or 0
                told_to = await connection.scalar(
                    select(func.min(webhook_endpoints.c.cursor)).where(
                        webhook_endpoints.c.state != DISABLED, webhook_endpoints.c.updated_at > now - GONE_AFTER
                    )
                )
                last = newest - 1 if told_to is None else min(told_to, newest - 1)
                window = (
                    await connection.execute(
                        select(outbox.c.position, outbox.c.due_at)
                        .where(outbox.c.position <= last)
                        .order_by(outbox.c.position)
                        .limit(AT_ONCE)
                    )
                ).all()
                old = [row.position for row in takewhile(lambda row: is_old(row.due_at), window)]
                if old:
                    await connection.execute(delete(outbox).where(outbox.c.position.in_(old)))
                    await connection.execute(delete(deliveries).where(deliveries.c.position.in_(old)))
            purged += len(old)
            if len(old) < AT_ONCE:
                return purged

    async def _forget_unopened(self, *, before: datetime) -> None:
        async with self._database.connect(writing=True) as connection:
            await connection.execute(delete(unopened).where(unopened.c.since < before))
