"""This hub's clock beside that of its database, by which hubs that share it are measured.

What one hub writes, a deadline, the end of a cool-down, another acts on by its own clock: one that is ahead acts early.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from cdrhub.store.engine import Database
from cdrhub.store.leases import database_now

log = structlog.get_logger(__name__)

TOLERANCE = timedelta(seconds=30)


class HubClock:
    """How far the two are from each other, when looked at last."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock
        self._ahead: timedelta | None = None  #: where that is too much

    async def look(self) -> None:
        """Ask the database for the time. Raises StoreUnavailable."""
        async with self._database.connect() as connection:
            asked = self._clock()
            now = await database_now(connection)
            answered = self._clock()
        ahead = min(max(now, asked), answered) - now  # as little as the time that the answer took allows
        far = abs(ahead) > TOLERANCE
        if far and self._ahead is None:
            log.warning("the hub's clock is not the database's", action="clock_differs", ahead=ahead.total_seconds())
        self._ahead = ahead if far else None

    @property
    def problems(self) -> list[str]:
        """What a person should look at."""
        if self._ahead is None:
            return []
        seconds = self._ahead.total_seconds()
        where = "ahead of" if seconds > 0 else "behind"
        return [f"the hub's clock is {abs(seconds):.0f} s {where} the database's: redial acts at the wrong time"]
