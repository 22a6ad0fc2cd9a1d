"""Spans of time as people write them in the configuration: `15m`, `2h30m`, `mon-fri 08:00-18:00`.

Both are ordinary annotated types for pydantic models: a field of type `Duration` is a `timedelta`, one of type
`Hours` an `OpeningHours`; what cannot be read is a ValueError that shows how to write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

MAX_DURATION = timedelta(days=3650)
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_RANGE = re.compile(r"(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?")
_TIME_RANGE = re.compile(r"(?P<since>\d{1,2}:\d{2})-(?P<until>\d{1,2}:\d{2})")


def read_duration(value: Any) -> timedelta:
    """`"15m"`, `"2h30m"`, `"1d"`, `"500ms"`; a number is seconds. Never negative; ValueError if it is none of these."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e12 else float("inf")
    elif isinstance(value, str):
        text = value.strip().lower().replace(" ", "")
        found = _DURATION.fullmatch(text)
        if found is None or not text or len(text) > 32:
            raise ValueError('is not a duration: write "15m", "2h30m", "1d" or a number of seconds')
        seconds = sum(int(amount) * _UNITS[unit] for unit, amount in found.groupdict().items() if amount)
    else:
        raise ValueError('is not a duration: write "15m", "2h30m", "1d" or a number of seconds')  # noqa: TRY004
    if not isfinite(seconds) or not 0 <= seconds <= MAX_DURATION.total_seconds():
        raise ValueError(f"must be a duration from 0 seconds to {MAX_DURATION.days} days")
    return timedelta(seconds=seconds)


def write_duration(span: timedelta) -> str:
    """The shortest spelling that `read_duration` understands."""
    rest = round(span.total_seconds() * 1000)
    words = []
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, rest = divmod(rest, milliseconds)
        if amount:
            words.append(f"{amount}{unit}")
    return "".join(words) or "0s"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpeningHours:
    """When a contact centre works: on which weekdays from when to when, in local time.

    `until` is exclusive; a range whose end is not after its beginning goes past midnight and belongs to the day on
    which it begins. `24:00` is the end of the day.
    """

    text: str
    ranges: tuple[tuple[frozenset[int], time, time], ...]  #: weekdays (Monday 0), since, until

    def contain(self, local: datetime) -> bool:
        """Whether `local`, a moment in the zone of the source, lies within."""
        today, clock = local.weekday(), local.time()
        yesterday = (today - 1) % 7
        for days, since, until in self.ranges:
            if since < until:
                if today in days and since <= clock < until:
                    return True
            elif (today in days and clock >= since) or (yesterday in days and clock < until):
                return True
        return False


def read_hours(value: Any) -> OpeningHours:
    """`"mon-fri 08:00-18:00"`, `"mon-thu,sun 08:00-18:00; fri 08:00-13:00"`; ValueError if it is not of that form."""
    if isinstance(value, OpeningHours):
        return value
    if not isinstance(value, str):
        raise ValueError('must be text such as "mon-fri 08:00-18:00"')  # noqa: TRY004
    ranges = tuple(_hours_range(part.strip().lower()) for part in value.split(";") if part.strip())
    if not ranges:
        raise ValueError('is empty: write "mon-fri 08:00-18:00", or leave the key out')
    return OpeningHours(text=value.strip(), ranges=ranges)


def _hours_range(part: str) -> tuple[frozenset[int], time, time]:
    days_text, _, clock_text = part.partition(" ")
    clock = _TIME_RANGE.fullmatch(clock_text.strip())
    if clock is None:
        raise ValueError(f'{part!r} are no hours: write "mon-fri 08:00-18:00", several joined by ";"')
    days: set[int] = set()
    for word in days_text.split(","):
        found = _DAY_RANGE.fullmatch(word)
        first, last = (found["first"], found["last"] or found["first"]) if found else (word, word)
        for day in (first, last):
            if day not in _DAYS:
                raise ValueError(f"{day!r} is no weekday: there are {', '.join(_DAYS)}")
        start, length = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7
        days.update((start + offset) % 7 for offset in range(length + 1))
    return frozenset(days), _clock(clock["since"]), _clock(clock["until"])


def _clock(text: str) -> time:
    hour, minute = (int(part) for part in text.split(":"))
    if (hour, minute) == (24, 0):
        return time(0, 0)
    if hour > 23 or minute > 59:
        raise ValueError(f"{text!r} is no time of day: write it from 00:00 to 24:00")
    return time(hour, minute)


Duration = Annotated[
    timedelta,
    BeforeValidator(read_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["15m", "2h30m", 90]}),
]
"""A field that is a `timedelta` and is written `"15m"`, `"2h30m"` or as a number of seconds."""

Hours = Annotated[
    OpeningHours,
    BeforeValidator(read_hours),
    PlainSerializer(lambda hours: hours.text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["mon-fri 08:00-18:00"]}),
]
"""A field that is `OpeningHours` and is written `"mon-fri 08:00-18:00"`."""
