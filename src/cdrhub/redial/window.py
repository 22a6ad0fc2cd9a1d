"""The calling window: when people may be called by their own clocks, and when it opens next.

Exact to the second in every zone, on the days on which clocks are turned too: where the hour in which it would open is
left out, it opens when the clocks are turned; where an hour comes twice, it may open twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

AHEAD = timedelta(days=8)  #: how far is looked for it: one day is like the next, but for clocks that are turned

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """When people may be called, in their own zone: from `start` (inclusive) to `end` (exclusive) of each day."""

    start: time
    end: time

    @property
    def length(self) -> timedelta:
        """How long it is open, but on days on which clocks are turned."""
        return datetime.combine(date.min, self.end) - datetime.combine(date.min, self.start)

    def contains(self, moment: datetime) -> bool:
        """Whether a moment, already in the person's zone, lies inside."""
        return self.start <= moment.time() < self.end

    def ending_sooner(self, by: timedelta) -> Window:
        """The same, `by` so much shorter at its end. It must be longer than that."""
        return Window(start=self.start, end=(datetime.combine(date.min, self.start) + self.length - by).time())

    def next_inside(self, zones: Sequence[ZoneInfo], moment: datetime) -> datetime | None:
        """The first moment from `moment` on (UTC) that is inside in all zones; None if there is none within AHEAD."""
        latest = moment + AHEAD
        while moment < latest:
            opened = max(self._next_inside(zone, moment) for zone in zones)
            if opened == moment:
                return moment
            moment = opened
        return None

    def _next_inside(self, zone: ZoneInfo, moment: datetime) -> datetime:
        while not self.contains(local := moment.astimezone(zone)):
            shown = local.replace(tzinfo=None)
            opens = datetime.combine(shown, self.start)
            opens += _DAY if opens < shown else timedelta()
            then = moment + (opens - shown)  # if nobody turns the clocks before
            turned = then.astimezone(zone).utcoffset() != local.utcoffset()
            moment = _turn(zone, moment, then) if turned else then
        return moment


def _turn(zone: ZoneInfo, moment: datetime, then: datetime) -> datetime:
    """When the clocks of a zone are turned between two moments (UTC): at a whole second."""
    moment = moment.replace(microsecond=0)
    offset = moment.astimezone(zone).utcoffset()
    seconds = range((then - moment) // _SECOND + 1)
    return moment + _SECOND * bisect_left(
        seconds, True, key=lambda passed: (moment + _SECOND * passed).astimezone(zone).utcoffset() != offset
    )
