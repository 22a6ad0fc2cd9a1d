"""Retention as the hub does it: with a clock that it does not believe at once.

What retention deletes is gone for good, and it goes by this machine's clock alone: to a clock that is years ahead (a
dead battery, a resumed machine) everything is old. So each look notes its time in the journal. After a jump nothing is
deleted and a problem is shown, until the clock has run on from there for days. A hub that was off for long starts
retention that much later by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import structlog

from cdrhub.errors import IntakeRefused, StoreUnavailable
from cdrhub.journal import Journal
from cdrhub.store import Store
from cdrhub.store.retention import Limits

log = structlog.get_logger(__name__)

KEY = "retention_clock"
BELIEVED = timedelta(days=7)  #: between two looks
DOUBTED_FOR = timedelta(days=3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """What the journal knows of this machine's clock."""

    believed: datetime
    doubted: datetime | None = None  #: the first look of a time that is far from it

    def at(self, now: datetime) -> Self:
        """The same after a look at `now`; that is believed where nothing is doubted."""
        if abs(now - self.believed) <= BELIEVED:
            return type(self)(believed=now)
        if self.doubted is None or not timedelta(0) <= now - self.doubted <= DOUBTED_FOR + BELIEVED:
            return type(self)(believed=self.believed, doubted=now)
        return self if now - self.doubted < DOUBTED_FOR else type(self)(believed=now)

    @classmethod
    def read(cls, text: str) -> Self:
        """What `written` wrote."""
        believed, _, doubted = text.partition(" ")
        return cls(
            believed=datetime.fromisoformat(believed), doubted=datetime.fromisoformat(doubted) if doubted else None
        )

    def written(self) -> str:
        """As a position of the journal."""
        return " ".join([moment.isoformat() for moment in (self.believed, self.doubted) if moment is not None])


class Retaining:
    """Takes away what is old, as long as the clock is believed."""

    def __init__(self, *, store: Store, journal: Journal, limits: Callable[[], Limits], began: datetime) -> None:
        """`began` is when this process started, by its clock: what was received before shows what the clock was
        then."""
        self._store = store
        self._journal = journal
        self._limits = limits
        self._began = began
        #: Why nothing is taken away, in words.
        self.problem: str | None = None

    async def look(self, *, now: datetime) -> None:
        """One run of retention. What holds it up is logged, and the next look tries again."""
        try:
            clock = (await self._known(now)).at(now)
            await self._journal.append([], position=("", KEY, clock.written()))
            self.problem = None
            if clock.doubted is not None:
                self.problem = (
                    f"retention waits until {clock.doubted + DOUBTED_FOR:%Y-%m-%d %H:%M} UTC: the clock is "
                    f"{abs(now - clock.believed).days} days from what it was"
                )
                log.warning(self.problem, action="retention_waits")
                return
            await self._store.apply_retention(self._limits(), now=now)
        except (StoreUnavailable, IntakeRefused) as error:
            log.warning("retention waits", action="retention_waits", error=str(error))

    async def _known(self, now: datetime) -> Clock:
        noted = self._journal.position("", KEY)
        if noted is not None:
            return Clock.read(noted)
        return Clock(believed=await self._store.newest_record(before=self._began) or now)
