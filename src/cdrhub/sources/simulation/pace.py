"""The virtual clock of a simulation."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import isinf, sqrt
from typing import Final

LONGEST_CALL: Final = timedelta(hours=1)
ENDLESS_SECONDS: Final = 3 * 3600.0  #: that an endless, fast simulation runs before its calls are in the future


class Pace:
    """From `start` (aware) on, `speed` simulated seconds pass in each real one. An infinite speed waits for nothing.

    The clock begins to run with the first question, and never goes back. Once it is told to `finish` it waits for
    nothing any more and jumps to each moment that is waited for: what has begun is brought to its end at once.
    """

    def __init__(self, *, start: datetime, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"a speed of {speed} is none")
        self.start = start.astimezone(UTC)
        self.speed = speed
        self.finishing = False  #: no new call may begin
        self._began: float | None = None
        self._latest = self.start
        self._hurry = asyncio.Event()

    def now(self) -> datetime:
        """The simulated moment."""
        if not isinf(self.speed):
            if self._began is None:
                self._began = time.monotonic()
            ran = timedelta(seconds=(time.monotonic() - self._began) * self.speed)
            self._latest = max(self._latest, self.start + ran)
        return self._latest

    async def until(self, at: datetime) -> None:
        """Wait for a simulated moment; comes back at once when it is over, or the simulation is to finish."""
        while not self.finishing and not isinf(self.speed):
            missing = (at - self.now()).total_seconds() / self.speed
            if missing <= 0:
                return
            try:
                await asyncio.wait_for(self._hurry.wait(), missing)
            except TimeoutError:
                continue
        self._latest = max(self._latest, at)

    async def rest(self, seconds: float) -> None:
        """Wait for so many real seconds, or until it is told to finish."""
        if seconds > 0 and not self.finishing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)

    def finish(self) -> None:
        """Begin no new call, and wait for nothing."""
        self.finishing = True
        self._hurry.set()


def seconds_for(*, count: int, rate: float) -> float:
    """Real seconds within which `count` calls that come at random, `rate` a second, have all begun: five standard
    deviations more than they take on the average."""
    return (count + 5 * (sqrt(count) + 1)) / rate


def start_for(*, now: datetime, speed: float, seconds: float | None) -> datetime:
    """The simulated moment at which a simulation of so many real `seconds` begins (None: it is endless) so that none of
    its calls ends in the future: at a speed of 1 `now` (aware), at a faster one so much earlier."""
    if speed <= 1:
        return now
    ahead = timedelta(days=1) if isinf(speed) else timedelta(seconds=(seconds or ENDLESS_SECONDS) * (speed - 1))
    return now - ahead - LONGEST_CALL
