"""Since when hubs dial. Whatever was due long before then waited because no hub was there, and not just for room or its
turn: it is old news, for which nobody's telephone rings. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

NOTES = 5  #: within the greatest age of news


class Since:
    """The moment since which this hub dials, or hubs before it did without a pause, by its clock; None for a hub to
    which nothing is old news."""

    def __init__(self, moment: datetime | None, *, max_age: timedelta) -> None:
        self._moment = moment
        self._max_age = max_age
        self._looked_at: datetime | None = None
        self._noted_at: datetime | None = None
        self._first = True

    def under(self, max_age: timedelta) -> Since:
        """The same under the settings of a reload, which does not interrupt the hub's looking."""
        known = Since(self._moment, max_age=max_age)
        known._looked_at = self._looked_at
        return known

    def set_back(self, now: datetime) -> bool:
        """Whether the clock may have been set back since the last look, or, before the first one, while the hub was not
        running."""
        return self._first or self._looked_at is None or now < self._looked_at

    def looked(self, now: datetime) -> None:
        """The hub saw at `now` what is due. It counts as having just begun if it could not look for longer than the
        greatest age of news (the database was away), or if its clock was set back to before it began."""
        if self._moment is not None:
            self._moment = self._began(self._moment, now)
        self._looked_at, self._first = now, False

    def looks(self, now: datetime) -> bool:
        """Whether the last look was so recent that the hub knows since when it dials."""
        return self._looked_at is not None and timedelta(0) <= now - self._looked_at <= self._max_age

    def wants_note(self, now: datetime) -> bool:
        """Whether it is time to note again, for other hubs and for the next start, that this one looks (watch.py)."""
        return self._noted_at is None or not timedelta(0) <= now - self._noted_at < self._max_age / NOTES

    def noted(self, began: datetime, *, now: datetime) -> None:
        """That was noted at `now`; since `began` one hub or another dials."""
        self._moment, self._noted_at = began, now

    def at(self, now: datetime) -> datetime | None:
        """The moment, by a clock that says `now`; never one that is still to come."""
        return None if self._moment is None else self._began(self._moment, now)

    def news_from(self, now: datetime) -> datetime | None:
        """What was to be done before this moment is old news; None where nothing is."""
        began = self.at(now)
        return None if began is None else began - self._max_age

    def too_late(self, moment: datetime, *, now: datetime) -> bool:
        """Whether what was to be done at `moment` is old news."""
        news_from = self.news_from(now)
        return news_from is not None and moment < news_from

    def _began(self, moment: datetime, now: datetime) -> datetime:
        away = self._looked_at is not None and now - self._looked_at > self._max_age
        return now if away else min(moment, now)
