"""Hubs that broadcast from one store, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from cdrhub.broadcast import deliveries
from cdrhub.broadcast.deliveries import Delivery, EndpointRow
from cdrhub.broadcast.endpoint import Endpoint
from cdrhub.broadcast.sequencer import Sequencer
from cdrhub.broadcast.service import Broadcast
from cdrhub.broadcast.webhooks import Pace
from cdrhub.metrics import Metrics
from cdrhub.store import Store
from cdrhub.store.tables import outbox
from support.broadcast import NOON, SECRET, Receiver, call_id

PACE = Pace(lease_seconds=30.0, request_seconds=14.0, control_seconds=0.02, save_seconds=0.02, landing_seconds=0.3)
WAIT_SECONDS = 60.0


@dataclass
class Clock:
    """The hubs' clock, which the test moves."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Bench:
    """A store, hubs over it, and what a test says to them."""

    store: Store
    clock: Clock = field(default_factory=Clock)

    def sequencer(self, holder: str = "one", *, lease_seconds: float = 2.0) -> Sequencer:
        """A hub's sequencer."""
        return Sequencer(
            self.store.database,
            holder=holder,
            metrics=Metrics(),
            clock=self.clock,
            lease_seconds=lease_seconds,
        )

    @asynccontextmanager
    async def hub(
        self, *endpoints: Endpoint, holder: str = "one", pace: Pace = PACE, metrics: Metrics | None = None
    ) -> AsyncIterator[Broadcast]:
        """A hub that broadcasts; it is stopped in the end."""
        broadcast = Broadcast(
            database=self.store.database,
            metrics=metrics or Metrics(),
            holder=holder,
            endpoints=endpoints,
            pace=pace,
            clock=self.clock,
        )
        broadcast.begin()
        try:
            yield broadcast
        finally:
            await broadcast.stop(seconds=1.0)

    async def tell(self, *facts: tuple[int, int], at: datetime | None = None, **values: Any) -> None:
        """Facts (call, revision), committed in one transaction, with no place in the log yet."""
        known = {
            "source": "lagos",
            "type": "call.corrected",
            "due_at": at or self.clock.now,
            "snapshot": {"tenant": "", "queue": "800"},
        }
        rows = [{**known, "call_id": call_id(call), "revision": revision, **values} for call, revision in facts]
        async with self.store.database.connect(writing=True) as connection:
            await connection.execute(insert(outbox), rows)

    async def log(self) -> list[tuple[int | None, int]]:
        """(position, revision) of every public fact, in the order of their ids."""
        async with self.store.database.connect() as connection:
            rows = await connection.execute(select(outbox.c.position, outbox.c.revision).order_by(outbox.c.id))
            return [(row[0], row[1]) for row in rows]

    async def endpoint(self, name: str = "crm") -> EndpointRow:
        """A webhook's row."""
        async with self.store.database.connect() as connection:
            return await deliveries.endpoint(connection, name)

    async def has_come_to(self, position: int) -> bool:
        """Whether the cursor of the webhook `crm` stands there."""
        return (await self.endpoint()).cursor == position

    async def deliveries(self, name: str = "crm") -> list[Delivery]:
        """What is remembered of single events."""
        async with self.store.database.connect() as connection:
            return await deliveries.listed(connection, name, limit=1000)

    async def known(self, *names: str) -> None:
        """Webhooks that were delivered to before: what is told from now on is for them."""
        async with self.store.database.connect(writing=True) as connection:
            for name in names or ("crm",):
                await deliveries.opened_endpoint(connection, name, now=self.clock.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += timedelta(seconds=seconds)


def crm(receiver: Receiver, **values: Any) -> Endpoint:
    """A webhook to this receiver."""
    known: dict[str, Any] = {"name": "crm", "url": receiver.url, "secrets": (SECRET,), "allow_private": True}
    return Endpoint(**known | values)


async def until(true: Callable[[], bool | Awaitable[bool]], *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            said = true()
            if said if isinstance(said, bool) else await said:
                return
            await asyncio.sleep(0.005)
