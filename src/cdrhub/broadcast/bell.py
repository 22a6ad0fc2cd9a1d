"""A bell wakes one waiting task: news within the process, without a queue."""

from __future__ import annotations

import asyncio
import contextlib

from cdrhub.store.engine import Database

LOOK_SECONDS = 0.2  #: between two looks at what other hubs did
LOOK_ALONE_SECONDS = 1.0  #: the same where there is no other hub, but commands of people


class Bell:
    """An event that `wait` clears. A ring before the wait is kept, so that what happens between looking and waiting is
    not missed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is news."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Until it is rung, or for `seconds`; whether it was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung


def look_seconds(database: Database) -> float:
    """How long to wait for a bell before looking all the same: other processes with the same database cannot ring
    it."""
    return LOOK_ALONE_SECONDS if database.kind == "sqlite" else LOOK_SECONDS
