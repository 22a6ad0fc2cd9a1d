"""Gives committed public facts their place in the log: a dense, rising `position`, in the order of their ids.

Ids are taken before the commit, so a reader by id would skip a row that commits late. Here one hub at a time, under a
lease whose fence is checked in every transaction, numbers what it sees committed; whoever reads by position misses
nothing. Facts of one call are written by one transaction after the other, so their ids rise, and so do their positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.broadcast.bell import Bell, look_seconds
from cdrhub.broadcast.events import Event
from cdrhub.broadcast.rows import COLUMNS, event_of
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.store import leases
from cdrhub.store.engine import Database, RefusedError
from cdrhub.store.outbox import SETTLED
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction
from cdrhub.throttle import Throttle

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
        numbered: Callable[[Sequence[Event]], None] = lambda _events: None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """`numbered` is told of the events that this hub gave their place, in order, when that was committed."""
        self._database = database
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._numbered = numbered
        self._lease: leases.Lease | None = None
        self._last: int | None = None  #: the newest place, while nobody else can have given one
        self._throttle = Throttle()
        self.committed = Bell()  #: rung by whoever committed facts in this process

    async def run(self) -> None:
        """Work until cancelled."""
        rung = False
        while True:
            try:
                if rung or await self._anything():
                    while await self.step() == AT_ONCE:
                        pass
            except StoreUnavailable as error:
                if self._throttle.allows("away"):
                    log.warning("events wait for the database", action="events_wait", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                rung = await self.committed.wait(look_seconds(self._database))

    async def _anything(self) -> bool:
        """Whether facts wait for their place. Costs no transaction that writes."""
        async with self._database.connect() as connection:
            return (await connection.execute(select(outbox.c.id).where(*_WAITING).limit(1))).first() is not None

    async def step(self) -> int:
        """Number some of the facts that wait; how many. 0 also where another hub does it. Raises StoreUnavailable."""
        last, self._last = self._last, None
        try:
            events = await self._database.write(partial(self._number, last=last))
        except leases.LeaseLost:
            self._lease = None
            return 0
        except RefusedError:  # two hubs made the lease's row at the same moment
            return 0
        if events:
            self._last = events[-1].position
            self._metrics.events_numbered.inc(len(events))
            self._metrics.event_lag.set(max((self._clock() - events[0].stored_at).total_seconds(), 0.0))
            self._numbered(events)
        elif self._lease is not None:
            self._last = last
        return len(events)

    async def stop(self) -> None:
        """Let another hub go on at once. Raises StoreUnavailable."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await leases.release(self._database, lease)

    async def _number(self, tx: Transaction, *, last: int | None) -> list[Event]:
        connection = tx.connection
        if self._lease is None or self._lease.wants_renewal:
            before = self._lease
            self._lease = await leases.take(connection, LEASE, holder=self._holder, life=self._lease_seconds)
            if self._lease is None:
                return []
            if before is None or before.fence != self._lease.fence:
                last = None
        else:
            await leases.guard(connection, self._lease)
        waiting = select(outbox.c.id, *COLUMNS).where(*_WAITING).order_by(outbox.c.id).limit(AT_ONCE)
        rows = (await connection.execute(waiting)).all()
        if not rows:
            return []
        if last is None:  # retention keeps the newest one, so that this is the last that was ever given
            last = await connection.scalar(select(func.max(outbox.c.position))) or 0
        await _give(connection, [row.id for row in rows], first=last + 1)
        return [event_of(row, position=place) for place, row in enumerate(rows, start=last + 1)]


async def _give(connection: AsyncConnection, ids: Sequence[int], *, first: int) -> None:
    """Number the rising `ids` from `first` on, with one statement for each run of ids without a gap."""
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
