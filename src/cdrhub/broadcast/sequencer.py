"""Gives committed public facts their place in the log: a dense, rising `position`, in the order of their ids.

Ids are taken before the commit, so a reader by id would skip a row that commits late. Here one hub at a time, under a
lease whose fence is checked in every transaction, numbers what it sees committed; whoever reads by position misses
nothing. Facts of one call are written by one transaction after the other, so their ids rise, and so do their positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.broadcast.bell import Bell, look_seconds
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.sometimes import Sometimes
from cdrhub.store import leases
from cdrhub.store.engine import Database, RefusedError
from cdrhub.store.outbox import SETTLED
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

log = structlog.get_logger(__name__)

LEASE = "sequencer"
LEASE_SECONDS = 5.0
AT_ONCE = 1_000  #: facts numbered in one transaction
RETRY_SECONDS = 1.0

_WAITING = (outbox.c.position.is_(None), outbox.c.type != SETTLED)


class Sequencer:
    """Numbers facts while it holds the lease. Any number of hubs may run one."""

    def __init__(
        self,
        database: Database,
        *,
        holder: str,
        metrics: Metrics,
        clock: Callable[[], datetime],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._lease: leases.Lease | None = None
        self._sometimes = Sometimes()
        self.committed = Bell()  #: rung by whoever committed facts in this process
        self.numbered = Bell()  #: rung when there are new positions

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                while await self.step():
                    self.numbered.ring()
            except StoreUnavailable as error:
                if self._sometimes.now("away"):
                    log.warning("events wait for the database", action="events_wait", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self.committed.wait(look_seconds(self._database))

    async def step(self) -> int:
        """Number some of the facts that wait; how many. 0 also where another hub does it. Raises StoreUnavailable."""
        async with self._database.connect() as connection:
            waiting = select(outbox.c.id).where(*_WAITING).limit(1)
            if (await connection.execute(waiting)).first() is None:
                return 0
        try:
            numbered = await self._database.write(self._number)
        except leases.LeaseLost:
            self._lease = None
            return 0
        except RefusedError:  # two hubs made the lease's row at the same moment
            return 0
        self._metrics.events_numbered.inc(numbered)
        return numbered

    async def stop(self) -> None:
        """Let another hub go on at once. Raises StoreUnavailable."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await leases.release(self._database, lease)

    async def _number(self, tx: Transaction) -> int:
        connection = tx.connection
        if self._lease is None or not self._lease.safe or self._lease.wants_renewal:
            self._lease = await leases.take(connection, LEASE, holder=self._holder, life=self._lease_seconds)
            if self._lease is None:
                return 0
        else:
            await leases.guard(connection, self._lease)
        waiting = select(outbox.c.id, outbox.c.due_at).where(*_WAITING).order_by(outbox.c.id).limit(AT_ONCE)
        rows = (await connection.execute(waiting)).all()
        if not rows:
            return 0
        waited = (self._clock() - rows[0].due_at).total_seconds()
        self._metrics.event_lag.set(max(waited, 0.0))
        # Retention keeps the newest one, so that this is the last that was ever given.
        last = await connection.scalar(select(func.max(outbox.c.position))) or 0
        await _give(connection, [row.id for row in rows], first=last + 1)
        return len(rows)


async def _give(connection: AsyncConnection, ids: Sequence[int], *, first: int) -> None:
    """Give `ids`, which rise, the positions from `first` on: a statement for each run of ids without a gap."""
    for run in runs(ids):
        shift = first - run.start
        await connection.execute(
            update(outbox).where(outbox.c.id >= run.start, outbox.c.id < run.stop).values(position=outbox.c.id + shift)
        )
        first += len(run)


def runs(numbers: Sequence[int]) -> Iterator[range]:
    """Rising numbers as ranges without gaps."""
    begin = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield range(numbers[begin], numbers[at - 1] + 1)
            begin = at
