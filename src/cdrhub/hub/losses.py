"""Notices that the database lost records which this hub wrote: it was restored, failed over, or is another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from cdrhub.errors import IntakeRefused, StoreUnavailable
from cdrhub.hub.landmark import Landmark, forget
from cdrhub.journal import Journal
from cdrhub.model.inference import Coverage
from cdrhub.store import Store
from cdrhub.throttle import Throttle

RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Losses:
    """Notes landmarks while records are written, and looks whether the database still has them."""

    def __init__(
        self, *, journal: Journal, store: Store, hub: str, conclude: Callable[[Coverage], Awaitable[None]]
    ) -> None:
        """`conclude` journals what each source did not see; it raises IntakeRefused."""
        self._journal = journal
        self._store = store
        self._hub = hub
        self._conclude = conclude
        self._noted: Landmark | None = None  #: as the journal has it
        self._newest: Landmark | None = None  #: as of the last batch
        self._doubted: list[Landmark] = []  #: the newest one before each connection that was made anew
        self._made = 0  #: connections, by the last batch
        self._throttle = Throttle()

    def wrote(self, newest: Landmark | None) -> None:
        """A batch was committed. A connection that was made for it may lead to another server."""
        if (made := self._store.database.made) != self._made:
            self._made = made
            self._doubted += [self._newest] if self._newest is not None else []
        self._newest = newest

    async def note(self) -> None:
        """Let the journal know what is in the database."""
        newest = self._newest  # another one may come while it is written
        if newest is not None and newest != self._noted:
            with contextlib.suppress(IntakeRefused):  # the one before stays; the next look tries again
                await newest.note(self._journal)
                self._noted = newest

    async def look_back(self, *, until: datetime) -> None:
        """At the start: say what a restored or exchanged database lacks. Waits while the database is away."""
        mark = Landmark.noted(self._journal)
        while mark is not None:
            try:
                await self._say_if_lost(mark, until=until)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except IntakeRefused:
                pass  # the next start says it again
            return

    async def look(self) -> None:
        """While running: say what was lost by a fail-over to a standby without the last commits, or by a restore."""
        while doubted := len(self._doubted):
            try:
                lost = await self._say_if_lost(self._doubted[0], until=datetime.now(UTC))
            except (IntakeRefused, StoreUnavailable):
                return  # the next look says it
            del self._doubted[: doubted if lost else 1]  # those after one that is lost are told with it

    async def _say_if_lost(self, mark: Landmark, *, until: datetime) -> bool:
        """Whether the database lacks `mark`; if so, log it and note it in the coverage. Raises StoreUnavailable,
        IntakeRefused."""
        since = await mark.lost_since(self._store)
        if since is None:
            return False
        if self._throttle.allows("database_older"):
            log.error(
                "the database lacks records that were in it: was it restored, did it fail over, or is it another one?",
                action="database_older",
                since=since.isoformat(),
                until=mark.received_at.isoformat(),
            )
        await self._conclude(
            Coverage(
                state="blind",
                since=since,
                until=max(since, until),
                detail="the database lacks what was received: it was restored, failed over, or is another one",
                hub=self._hub,
            )
        )
        await forget(self._journal)
        return True
