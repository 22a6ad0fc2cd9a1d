"""The calls that are not ended yet, as the fold made them, for whoever draws conclusions about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from cdrhub.model.call import Call, Leg
from cdrhub.store.store import Store
from cdrhub.store.tables import IS_OPEN, call_legs, calls

PAGE = 500

_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
_CALL_FIELDS = tuple(field.name for field in fields(Call) if field.name in calls.c)
_LEG_FIELDS = tuple(field.name for field in fields(Leg))


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCall:
    """A call that is not ended; `last_received_at` is the hub's clock when its last record came."""

    id: str
    source: str
    call: Call
    last_received_at: datetime


async def open_calls(store: Store, *, silent_since: datetime, source: str | None = None) -> AsyncIterator[OpenCall]:
    """Every open call (of `source`, or of all) without a record since `silent_since` (aware), one page in memory at a
    time.

    Raises StoreUnavailable.
    """
    after = _BEFORE_ALL
    while True:
        query = (
            select(calls)
            .where(IS_OPEN, calls.c.last_received_at <= silent_since, calls.c.id > after)
            .order_by(calls.c.id)
            .limit(PAGE)
        )
        if source is not None:
            query = query.where(calls.c.source == source)
        async with store.database.connect() as connection:
            rows = (await connection.execute(query)).all()
            legs = await connection.execute(
                select(call_legs).where(call_legs.c.call_id.in_([row.id for row in rows])).order_by(call_legs.c.seq)
            )
            by_call: dict[str, list[Leg]] = {}
            for leg in legs:
                by_call.setdefault(leg.call_id, []).append(Leg(**{name: getattr(leg, name) for name in _LEG_FIELDS}))
        for row in rows:
            yield _open_call(row, tuple(by_call.get(row.id, ())))
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def _open_call(row: Any, legs: tuple[Leg, ...]) -> OpenCall:
    values = {name: getattr(row, name) for name in _CALL_FIELDS}
    values["flags"] = tuple(values["flags"])
    return OpenCall(id=row.id, source=row.source, call=Call(**values, legs=legs), last_received_at=row.last_received_at)
