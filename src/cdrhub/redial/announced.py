"""What was told of a call, beside its row; null before anything was.

Whoever holds the lock of the call may read and change it: it is what was told up to the locked revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.store.event_tables import announcements
from cdrhub.store.one_of import OneOf
from cdrhub.store.tables import calls

_OF_CALL = announcements.c.call_id == calls.c.id
# As subqueries: a server that knows nothing of these tables yet might join them by reading both as a whole.
ANNOUNCED = select(announcements.c.announced).where(_OF_CALL).scalar_subquery().label("announced")
NOT_ANNOUNCED = ~select(announcements.c.call_id).where(_OF_CALL).exists()
_OF_CALLS = select(announcements.c.call_id, announcements.c.announced).where(OneOf(announcements.c.call_id, "ids"))


async def announced(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What was told of these calls, by their ids; nothing of those of which nothing was."""
    return {row.call_id: row.announced for row in await connection.execute(_OF_CALLS, {"ids": ids})}
