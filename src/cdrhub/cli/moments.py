"""Moments as people type them: `today`, `yesterday`, `now`, `-2h`, ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cdrhub.errors import UsageError

LAST_YEAR = 9000  #: what is kept must be a moment in every zone
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_zone(name: str) -> ZoneInfo:
    """The IANA time zone `name`; UsageError with the nearest one if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ", write e.g. 'Africa/Lagos'"
        raise UsageError(f"--timezone: {name!r} is not an IANA time zone{hint}") from error


def read_moment(text: str, *, zone: ZoneInfo, now: datetime) -> datetime:
    """The UTC moment that `text` means at `now` (aware).

    `2026-03-01`, `2026-03-01T08:30`, `2026-03-01T08:30:00+01:00` (without an offset: in `zone`), `now`, `today` and
    `yesterday` (their first moment in `zone`, as of a date), `-2h` (before now). UsageError for anything else, and for
    a time that the clocks of `zone` leave out or show twice.
    """
    from cdrhub.sources.spans import read_duration

    word = text.strip().lower()
    if word == "now":
        return now.astimezone(UTC)
    if word in {"today", "yesterday"}:
        day = now.astimezone(zone).date() - timedelta(days=1 if word == "yesterday" else 0)
        return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    try:
        if word.startswith("-"):
            return now.astimezone(UTC) - read_duration(word[1:])
        moment = datetime.fromisoformat(text.strip())
        if moment.year > LAST_YEAR:
            raise UsageError(f"{text!r} is behind the year {LAST_YEAR}")
        if moment.tzinfo is None:  # of a date its first moment, where clocks are turned at midnight too
            moment = moment.replace(tzinfo=zone) if _DATE.fullmatch(word) else _once(moment, zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is not a time: write 2026-03-01, 2026-03-01T08:30, today, yesterday, now or -2h"
        ) from error


def _once(moment: datetime, zone: ZoneInfo) -> datetime:
    """`moment`, which has no offset, in `zone`. UsageError where clocks are turned (PEP 495: two offsets)."""
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    there = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment
    said = "is there twice in" if there else "is left out by the clocks of"
    meant = [each.astimezone(UTC).astimezone(zone).isoformat() for each in (first, second)]
    raise UsageError(f"{moment.isoformat()} {said} {zone.key}: write {' or '.join(sorted(meant))}")
