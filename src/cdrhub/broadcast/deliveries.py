"""Endpoints and single deliveries in the database: what the webhooks remember, and what people ask of them.

An endpoint is one row with its cursor and its health. A single event has a row of its own only where it was refused, or
where somebody asked for it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.broadcast.events import Event
from cdrhub.broadcast.health import EndpointState, Health
from cdrhub.errors import NotFound
from cdrhub.parts import in_parts
from cdrhub.store.engine import Database
from cdrhub.store.event_tables import deliveries, webhook_endpoints
from cdrhub.store.rows import storable_detail
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

ROWS_AT_ONCE = 500


class DeliveryState(StrEnum):
    """`deliveries.state`."""

    REFUSED = "refused"  #: the receiver said no to this event
    RETRY = "retry"  #: somebody asked for it; it is sent as soon as the endpoint takes events
    DELIVERED = "delivered"  #: it was asked for, and was taken


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointRow:
    """A row of `webhook_endpoints`."""

    name: str
    cursor: int
    health: Health
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A row of `deliveries`."""

    endpoint: str
    position: int
    state: DeliveryState
    attempts: int = 0
    last_status: int | None = None
    last_error: str = ""
    updated_at: datetime | None = None


# -- what the webhooks remember ---------------------------------------------------------------------------------------


async def opened_endpoint(connection: AsyncConnection, name: str, *, now: datetime) -> EndpointRow:
    """The row, as it was, of an endpoint that one worker delivers to from now on. A new one begins with what is stored
    after now; one that nobody delivered to for long enough that its events were purged goes on with the oldest."""
    known = webhook_endpoints.c.name == name
    if await connection.scalar(select(webhook_endpoints.c.name).where(known)) is None:
        newest = await connection.scalar(select(func.max(outbox.c.position))) or 0
        fresh = {"cursor": newest, "state": EndpointState.HEALTHY.value, "attempt": 0, "updated_at": now}
        await connection.execute(insert(webhook_endpoints).values(name=name, **fresh))
    found = await endpoint(connection, name)
    await connection.execute(update(webhook_endpoints).where(known).values(updated_at=now))
    return found


async def endpoint(connection: AsyncConnection, name: str) -> EndpointRow:
    """The row of one endpoint. Raises NotFound."""
    for found in await endpoints(connection):
        if found.name == name:
            return found
    raise NotFound(f"no daemon has delivered to a webhook {name!r} yet")


async def locked_endpoint(connection: AsyncConnection, name: str) -> EndpointRow:
    """The same, and nobody else changes it until the transaction ends. Raises NotFound."""
    known = select(webhook_endpoints.c.name).where(webhook_endpoints.c.name == name)
    await connection.execute(known.with_for_update())
    return await endpoint(connection, name)


async def endpoints(connection: AsyncConnection) -> list[EndpointRow]:
    """The rows of all endpoints that there ever were, by name."""
    rows = await connection.execute(select(webhook_endpoints).order_by(webhook_endpoints.c.name))
    return [
        EndpointRow(
            name=row.name,
            cursor=row.cursor,
            health=Health(
                state=EndpointState(row.state),
                attempt=row.attempt,
                failing_since=row.failing_since,
                next_at=row.next_at,
                last_status=row.last_status,
                last_error=row.last_error or "",
            ),
            updated_at=row.updated_at,
        )
        for row in rows
    ]


async def save_endpoint(
    connection: AsyncConnection, name: str, *, health: Health, now: datetime, cursor: int | None = None
) -> None:
    """Write how an endpoint is, and how far it came."""
    values = {
        "state": health.state.value,
        "attempt": health.attempt,
        "failing_since": health.failing_since,
        "next_at": health.next_at,
        "last_status": health.last_status,
        "last_error": storable_detail(health.last_error) or None,
        "updated_at": now,
    }
    if cursor is not None:
        values["cursor"] = cursor
    await connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.name == name).values(values))


async def save_deliveries(connection: AsyncConnection, rows: Sequence[Delivery], *, now: datetime) -> None:
    """Write what became of single events, whether they had a row or not."""
    for some in in_parts(rows, ROWS_AT_ONCE):
        its = deliveries.c.position.in_([row.position for row in some])
        await connection.execute(delete(deliveries).where(deliveries.c.endpoint == some[0].endpoint, its))
        await connection.execute(
            insert(deliveries),
            [
                {
                    "endpoint": row.endpoint,
                    "position": row.position,
                    "state": row.state.value,
                    "attempts": row.attempts,
                    "last_status": row.last_status,
                    "last_error": storable_detail(row.last_error) or None,
                    "updated_at": now,
                }
                for row in some
            ],
        )


async def forget_deliveries(connection: AsyncConnection, name: str, positions: Sequence[int]) -> None:
    """These events are not for this endpoint, or were purged."""
    await connection.execute(
        delete(deliveries).where(deliveries.c.endpoint == name, deliveries.c.position.in_(positions))
    )


async def listed(
    connection: AsyncConnection, name: str, *, state: DeliveryState | None = None, limit: int
) -> list[Delivery]:
    """Single deliveries of an endpoint, in the order of the log."""
    query = select(deliveries).where(deliveries.c.endpoint == name).order_by(deliveries.c.position).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state.value)
    return [_delivery(row) for row in await connection.execute(query)]


async def single(connection: AsyncConnection, name: str, position: int) -> Delivery | None:
    """What is noted of one event at an endpoint; None where it took its ordinary way."""
    query = select(deliveries).where(deliveries.c.endpoint == name, deliveries.c.position == position)
    row = (await connection.execute(query)).first()
    return _delivery(row) if row is not None else None


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        endpoint=row.endpoint,
        position=row.position,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        last_status=row.last_status,
        last_error=row.last_error or "",
        updated_at=row.updated_at,
    )


# -- what people ask ---------------------------------------------------------------------------------------------------


async def refused_counts(connection: AsyncConnection) -> Mapping[str, int]:
    """How many events each endpoint refused that nobody looked after."""
    query = (
        select(deliveries.c.endpoint, func.count())
        .where(deliveries.c.state == DeliveryState.REFUSED.value)
        .group_by(deliveries.c.endpoint)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def oldest_waiting(connection: AsyncConnection, cursor: int) -> datetime | None:
    """When the first event after `cursor` was stored."""
    query = select(outbox.c.due_at).where(outbox.c.position > cursor).order_by(outbox.c.position).limit(1)
    found: datetime | None = await connection.scalar(query)
    return found


async def try_now(database: Database, name: str, *, now: datetime) -> EndpointRow:
    """Try an endpoint at once that fails, or that is disabled: its schedule begins anew. The row as it was before.

    Raises NotFound, StoreUnavailable.
    """

    async def work(tx: Transaction) -> EndpointRow:
        before = await locked_endpoint(tx.connection, name)
        if before.health.state is not EndpointState.HEALTHY:
            said = Health(last_status=before.health.last_status, last_error=before.health.last_error)
            await save_endpoint(tx.connection, name, health=said, now=now)
        return before

    return await database.write(work)


async def ask_refused(database: Database, name: str, positions: Sequence[int], *, now: datetime) -> int:
    """Send refused events again: these, or all if none is named; how many. Raises NotFound, StoreUnavailable."""

    async def work(tx: Transaction) -> int:
        await endpoint(tx.connection, name)
        mine = (deliveries.c.endpoint == name) & (deliveries.c.state == DeliveryState.REFUSED.value)
        if positions:
            mine &= deliveries.c.position.in_(positions)
        done = await tx.connection.execute(
            update(deliveries).where(mine).values(state=DeliveryState.RETRY.value, updated_at=now)
        )
        return done.rowcount

    return await database.write(work)


async def ask_again(database: Database, name: str, events: Sequence[Event], *, now: datetime) -> int:
    """Send these events again, with the bodies and ids they had; how many. Raises NotFound, StoreUnavailable."""

    async def work(tx: Transaction) -> int:
        await endpoint(tx.connection, name)
        asked = [Delivery(endpoint=name, position=event.position, state=DeliveryState.RETRY) for event in events]
        await save_deliveries(tx.connection, asked, now=now)
        return len(asked)

    return await database.write(work)
