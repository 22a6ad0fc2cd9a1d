"""Since when a hub dials: what was to be done long before that waited for a hub, and not just for room or its turn. It
is old news, on which nobody's telephone rings. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

NOTES = 5  #: within the greatest age of news


class Since:
    """The moment since which one hub dials, or others did without a pause before it, as far as its clock tells; None
    for a hub to which nothing is old news."""

    def __init__(self, moment: datetime | None, *, max_age: timedelta) -> None:
        self._moment = moment
        self._max_age = max_age
        self._looked_at: datetime | None = None
        self._noted_at: datetime | None = None
        self._first = True

    def under(self, max_age: timedelta) -> Since:
        """The same of a hub whose configuration was reloaded: it looks on. What it could not see before, it does not
        know for that."""
        known = Since(self._moment, max_age=max_age)
        known._looked_at = self._looked_at
        return known

    def set_back(self, now: datetime) -> bool:
        """Whether the clock may have been set back since the hub looked: also before its first look, while it was not
        running."""
        return self._first or self._looked_at is None or now < self._looked_at

    def looked(self, now: datetime) -> None:
        """The hub saw at `now` what is due. After a longer time than the greatest age of news in which it could not,
        for the database was away, it dials as if it had just begun; and after its clock was set back to before it
        began, for until then nothing would be new."""
        if self._moment is not None:
            self._moment = self._began(self._moment, now)
        self._looked_at, self._first = now, False

    def looks(self, now: datetime) -> bool:
        """Whether it looked a moment ago, so that it knows since when it dials."""
        return self._looked_at is not None and timedelta(0) <= now - self._looked_at <= self._max_age

    def wants_note(self, now: datetime) -> bool:
        """Whether other hubs, and the one after it, are to be told again that it looks (watch.py)."""
        return self._noted_at is None or not timedelta(0) <= now - self._noted_at < self._max_age / NOTES

    def noted(self, began: datetime, *, now: datetime) -> None:
        """It was told at `now`; since `began` one hub or another dials."""
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
