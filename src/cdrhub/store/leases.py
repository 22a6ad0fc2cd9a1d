"""Leases: what only one hub does at a time, by the database's clock.

A lease has a holder, a time until which it is held, and a *fence* that rises with every change of holder. Whoever holds
one checks the fence in the transaction of each guarded write (`guard`), so that a hub which was suspended for a while
and does not know that its time is over changes nothing. What is done outside a transaction (a request that leaves the
hub) is done only while `Lease.safe`: the holder drops a lease locally at half its life, long before another may take
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import StoreError
from cdrhub.store.engine import Database, RefusedError
from cdrhub.store.event_tables import leases
from cdrhub.store.transaction import Transaction

_NOW = {
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'",
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT utc_timestamp(6)",
    "mariadb": "SELECT utc_timestamp(6)",
}


def _clock() -> float:
    """Seconds that go on while the machine is suspended (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseLost(StoreError):
    """Another hub holds the lease; nothing was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A lease that was taken or renewed."""

    name: str
    holder: str
    fence: int
    life: float  #: seconds
    taken: float  #: by `clock`, before the database was asked
    clock: Callable[[], float] = _clock

    @property
    def safe(self) -> bool:
        """Whether nobody else can hold it for at least half its life from now on."""
        return self.clock() < self.taken + self.life / 2

    @property
    def wants_renewal(self) -> bool:
        """Whether it is time to take it again."""
        return self.clock() >= self.taken + self.life / 6


async def database_now(connection: AsyncConnection) -> datetime:
    """The database's clock (UTC). It goes on within a transaction."""
    value = await connection.scalar(text(_NOW[connection.dialect.name]))
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError(f"the database tells the time as {value!r}")
    return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)


async def take(connection: AsyncConnection, name: str, *, holder: str, life: float) -> Lease | None:
    """Take the lease or renew it for `life` seconds, in this write transaction; None while another hub holds it.

    `holder` must be another one for every process that runs at the same time; one that died leaves its lease to its
    successor of the same name. Every hub takes one lease for the same `life`: none is held for longer than that from
    now on. The row stays locked until the transaction ends. Two hubs that take a lease which nobody ever held race for
    its row: the loser meets RefusedError.
    """
    taken = _clock()
    row = (await connection.execute(select(leases).where(leases.c.name == name).with_for_update())).one_or_none()
    now = await database_now(connection)
    until = now + timedelta(seconds=life)
    if row is None:
        fence = 1
        await connection.execute(insert(leases).values(name=name, holder=holder, fence=fence, until=until))
    elif row.holder != holder and row.until > now:
        if row.until > until:
            # The database's clock was set back: a holder that lives renews the lease anyway, a dead one would keep it
            # for as long as the clock was ahead.
            await connection.execute(update(leases).where(leases.c.name == name).values(until=until))
        return None
    else:
        fence = row.fence if row.holder == holder else row.fence + 1
        await connection.execute(
            update(leases).where(leases.c.name == name).values(holder=holder, fence=fence, until=until)
        )
    return Lease(name=name, holder=holder, fence=fence, life=life, taken=taken)


async def guard(connection: AsyncConnection, lease: Lease) -> None:
    """Lock the lease's row until the transaction ends. Raises LeaseLost if the lease is another's by now."""
    query = select(leases.c.fence, leases.c.holder).where(leases.c.name == lease.name).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or (row.fence, row.holder) != (lease.fence, lease.holder):
        raise LeaseLost(f"another hub holds the lease {lease.name!r} by now")


async def taken(database: Database, name: str, *, holder: str, life: float) -> Lease | None:
    """`take` in a transaction of its own. Raises StoreUnavailable."""

    async def work(tx: Transaction) -> Lease | None:
        return await take(tx.connection, name, holder=holder, life=life)

    try:
        return await database.write(work)
    except RefusedError:  # another hub made the row in this moment
        return None


async def release(database: Database, lease: Lease) -> None:
    """Give the lease back, so that another hub need not wait for its end. Raises StoreUnavailable."""

    async def work(tx: Transaction) -> None:
        mine = (leases.c.name == lease.name) & (leases.c.fence == lease.fence) & (leases.c.holder == lease.holder)
        await tx.connection.execute(update(leases).where(mine).values(until=await database_now(tx.connection)))

    await database.write(work)
