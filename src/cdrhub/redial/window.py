"""The calling window: when people may be called by their own clocks, and when it opens next.

Exact to the second in every zone, on the days on which clocks are turned too: where the hour in which it would open is
left out, it opens when the clocks are turned; where an hour comes twice, it may open twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

AHEAD = timedelta(days=8)  #: how far is looked for it: one week is like the next, but for clocks that are turned
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hours:
    """From `start` (inclusive) to `end` (exclusive) of each day from the `first` to the `last`: 0 is Monday, and the
    last may lie in the next week."""

    start: time
    end: time
    first: int = 0
    last: int = 6

    def __str__(self) -> str:
        first, last = DAYS[self.first], DAYS[self.last]
        days = "" if self._days == len(DAYS) else f"{first} " if first == last else f"{first}-{last} "
        return f"{days}{self.start:%H:%M}-{self.end:%H:%M}"

    @property
    def length(self) -> timedelta:
        """How long they are, but on days on which clocks are turned."""
        return datetime.combine(date.min, self.end) - datetime.combine(date.min, self.start)

    @property
    def _days(self) -> int:
        return (self.last - self.first) % len(DAYS) + 1

    def on(self, day: date) -> bool:
        """Whether they are of that day."""
        return (day.weekday() - self.first) % len(DAYS) < self._days

    def contain(self, shown: datetime) -> bool:
        """Whether a moment, as the clocks of the person's zone show it, lies inside."""
        return self.on(shown) and self.start <= shown.time() < self.end

    def ending_sooner(self, by: timedelta) -> Hours:
        """The same, `by` so much shorter at their end. They must be longer than that."""
        return replace(self, end=(datetime.combine(date.min, self.start) + self.length - by).time())

    def opening_after(self, shown: datetime) -> datetime:
        """When they begin next, by clocks that show this now and that nobody turns."""
        opens = (datetime.combine(shown, self.start) + _DAY * days for days in range(len(DAYS) + 1))
        return next(moment for moment in opens if moment > shown and self.on(moment))


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """When people may be called, in their own zone: within any of these hours."""

    hours: tuple[Hours, ...]

    def __str__(self) -> str:
        return ", ".join(str(each) for each in self.hours)

    def contains(self, moment: datetime) -> bool:
        """Whether a moment, already in the person's zone, lies inside."""
        return any(each.contain(moment) for each in self.hours)

    def ending_sooner(self, by: timedelta) -> Window:
        """The same, all of its hours `by` so much shorter at their end."""
        return Window(hours=tuple(each.ending_sooner(by) for each in self.hours))

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
            opens = min(each.opening_after(shown) for each in self.hours)
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
