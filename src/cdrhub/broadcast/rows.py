"""Rows of `outbox` as events."""

from __future__ import annotations

from typing import Any

from cdrhub.broadcast.events import Event
from cdrhub.store.tables import outbox

COLUMNS = (
    outbox.c.position,
    outbox.c.call_id,
    outbox.c.case_id,
    outbox.c.source,
    outbox.c.type,
    outbox.c.revision,
    outbox.c.due_at,
    outbox.c.snapshot,
)


def event_of(row: Any, *, position: int | None = None) -> Event:
    """The event of a row that has COLUMNS, at its place or at the one that it is given."""
    return Event(
        position=row.position if position is None else position,
        call_id=row.call_id,
        case_id=row.case_id,
        source=row.source,
        type=row.type,
        revision=row.revision,
        stored_at=row.due_at,
        snapshot=row.snapshot or {},
    )
