"""One simulation: a contact centre, a clock, a ledger, and what is sent when.

A simulated system is a pure function from a planned call to what it sends of it, and a sender:

    async for due in simulation.play(render):
        await send(due.what)
        simulation.sent.records += 1
        simulation.settle(due)

`render` says of the last thing it sends of a call what the hub must show then; `settle` writes that down.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.ledger import Entry, Ledger, Sent
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.planned import PlannedCall

YIELD_EVERY: Final = 100  #: things sent, or calls planned, without waiting, after which the event loop has its turn

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Due(Generic[T]):
    """Something to be sent at a simulated moment (aware, UTC). `entry` stands at the last of a call's: what the hub
    must show once all of it has come."""

    at: datetime
    what: T
    entry: Entry | None = None


Render = Callable[[PlannedCall], Iterable[Due[T]]]
"""What a system sends of a call. Nothing is due before the call starts; nothing at all is allowed."""


class Schedule(Generic[T]):
    """What `render` makes of each call, in the order of time; of equal times, in the order rendered.

    `calls` come in the order of their start. Calls with something due before `since` are left out whole; after `limit`
    calls no further one begins.
    """

    def __init__(
        self,
        calls: Iterable[PlannedCall],
        render: Render[T],
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> None:
        self._calls = iter(calls)
        self._render = render
        self._since = since
        self._limit = limit
        self._waiting: list[tuple[datetime, int, int, Due[T]]] = []
        self._rendered = self._taken = 0
        self._left: Counter[int] = Counter()  #: things still to be sent, of calls of which something was
        self._sizes: dict[int, int] = {}  #: things to be sent, of calls of which nothing was
        self._next = next(self._calls, None)

    def plan(self) -> bool:
        """Render one more call, if the next thing may be one of its; whether it might have been."""
        if self._next is None or (self._waiting and self._waiting[0][0] <= self._next.started_at):
            return False
        call, self._next = self._next, next(self._calls, None)
        rendered = list(self._render(call))
        if self._since is not None and any(due.at < self._since for due in rendered):
            return True
        for due in rendered:
            self._rendered += 1
            heapq.heappush(self._waiting, (due.at, self._rendered, call.number, due))
        if rendered:
            self._sizes[call.number] = len(rendered)
            self._taken += 1
            if self._taken == self._limit:
                self._next = None
        return True

    def next_at(self) -> datetime | None:
        """When the next thing is due; None where nothing is left."""
        while self.plan():
            pass
        return self._waiting[0][0] if self._waiting else None

    def pop(self) -> Due[T]:
        """The next thing, which `next_at` has told of."""
        _, _, number, due = heapq.heappop(self._waiting)
        if (size := self._sizes.pop(number, None)) is not None:
            self._left[number] = size
        self._left[number] -= 1
        if not self._left[number]:
            del self._left[number]
        return due

    def finish(self) -> None:
        """Forget all calls of which nothing was sent."""
        self._next = None
        self._calls = iter(())
        self._waiting = [waiting for waiting in self._waiting if waiting[2] in self._left]
        heapq.heapify(self._waiting)
        self._sizes.clear()

    def __iter__(self) -> Iterator[Due[T]]:
        while self.next_at() is not None:
            yield self.pop()


@dataclass(kw_only=True, slots=True)
class Simulation:
    """What every simulated system is given.

    `centre` may start before the clock of `pace` does: then its calls are in full swing when that starts. After `count`
    calls no further one begins. `planning_seconds` is how long planning the calls before that start took, which nobody
    who asked for so many seconds of calls has had anything of.
    """

    centre: Centre
    pace: Pace
    ledger: Ledger = field(default_factory=Ledger)
    sent: Sent = field(default_factory=Sent)
    count: int | None = None
    planning_seconds: float = 0.0

    async def play(
        self, render: Render[T], *, among: Callable[[PlannedCall], bool] | None = None
    ) -> AsyncIterator[Due[T]]:
        """Each thing that `render` makes of the calls (of those that `among` takes) when its moment has come.

        Once the clock is to finish, calls of which something was sent are sent to their end without waiting, and the
        others not at all.
        """
        planned = calls(self.centre)
        schedule = Schedule(
            planned if among is None else filter(among, planned), render, since=self.pace.start, limit=self.count
        )
        await self._warm_up(schedule)
        at_once = 0
        finished = False
        while (at := schedule.next_at()) is not None:
            await self.pace.until(at)
            if self.pace.finishing and not finished:
                schedule.finish()
                finished = True
                continue
            at_once += 1
            if at_once % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            yield schedule.pop()

    async def _warm_up(self, schedule: Schedule[T]) -> None:
        """Plan the calls before the clock's start, in turns with whoever connects or asks meanwhile."""
        began = time.monotonic()
        planned = 0
        while schedule.plan():
            planned += 1
            if planned % YIELD_EVERY == 0:
                await asyncio.sleep(0)
                began, before = time.monotonic(), began
                self.planning_seconds += began - before
            if self.pace.finishing:
                schedule.finish()
        self.planning_seconds += time.monotonic() - began

    def settle(self, due: Due[T]) -> None:
        """Note in the ledger what the hub must show now that `due` was sent."""
        if due.entry is not None:
            self.ledger.note(due.entry)
            self.sent.calls += 1
