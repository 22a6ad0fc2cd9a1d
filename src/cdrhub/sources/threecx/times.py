"""The times of a 3CX line: `2020/01/21 17:10:09` without a zone, whole seconds; durations `HH:MM:SS`.

Read in the source's zone. Where the end of daylight saving time makes a local time ambiguous, the callid's moment
decides the start, and of the remaining readings the one counts with start ≤ answered ≤ end whose end − answered is
nearest the duration; such a line is flagged `time_ambiguous`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.threecx.callid import AGREES_SECONDS

TIME_CHARACTERS = 19
LONGEST_DURATION = 16  #: characters; hours run on beyond 24
SHOWN = 40  #: characters of a bad value in a message
_CACHED_DURATIONS = 16_384


class Times(NamedTuple):
    """The three moments of a line, aware, UTC; None where the field is empty."""

    started_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    ambiguous: bool


@lru_cache(maxsize=_CACHED_DURATIONS)
def seconds_of(duration: str) -> int:
    """Seconds of `HH:MM:SS`; hours of any number of digits. DecodeError for anything else."""
    parts = duration.split(":")
    if len(parts) != 3 or len(duration) > LONGEST_DURATION or not all(p.isascii() and p.isdigit() for p in parts):
        raise misplaced("duration", duration, "HH:MM:SS")
    hours, minutes, seconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds


def misplaced(name: str, value: str, expected: str) -> DecodeError:
    """The error of a field whose value shows that the columns are not the ones expected."""
    return DecodeError(
        Reason.BAD_VALUE,
        f"{name} is {value[:SHOWN]!r}, not {expected}: is the order of the fields on the PBX still that of `fields`?",
    )


def read_utc(name: str, text: str) -> datetime:
    """A time that is written in UTC."""
    if len(text) == TIME_CHARACTERS:
        try:
            return datetime.fromisoformat(text.replace("/", "-") + "+00:00")
        except ValueError:
            pass
    raise misplaced(name, text, "a time like 2024/06/17 05:59:49")


def read_times(
    start: str, answered: str, end: str, *, zone: tzinfo, duration: int | None, callid_milliseconds: int | None
) -> Times:
    """The times of a line that are written in `zone`."""
    candidates = [
        _readings(name, text, zone)
        for name, text in (("time-start", start), ("time-answered", answered), ("time-end", end))
    ]
    if all(len(readings) == 1 for readings in candidates):
        return Times(candidates[0][0], candidates[1][0], candidates[2][0], ambiguous=False)
    if callid_milliseconds is not None and start:
        near = [
            reading
            for reading in candidates[0]
            if reading is not None and abs(reading.timestamp() - callid_milliseconds / 1000) < AGREES_SECONDS
        ]
        candidates[0] = [*near] or candidates[0]
    started_at, answered_at, ended_at = min(
        product(*candidates), key=lambda readings: _strangeness(*readings, duration=duration)
    )
    return Times(started_at, answered_at, ended_at, ambiguous=True)


def _readings(name: str, text: str, zone: tzinfo) -> list[datetime | None]:
    if not text:
        return [None]
    wall = read_utc(name, text).replace(tzinfo=zone)
    try:
        first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    except OverflowError as error:  # 0001/01/01 and 9999/12/31 have no moment in zones on the wrong side of UTC
        raise misplaced(name, text, "a time between the years 1 and 9999 of UTC") from error
    return [first] if first == second else [first, second]


def _strangeness(
    start: datetime | None, answered: datetime | None, end: datetime | None, *, duration: int | None
) -> tuple[int, timedelta]:
    """How little three readings fit each other: times out of order first, then the distance from the duration."""
    known = [moment for moment in (start, answered, end) if moment is not None]
    disorder = sum(later < earlier for earlier, later in pairwise(known))
    since = answered or start
    if since is None or end is None:
        return disorder, timedelta()
    expected = timedelta(seconds=duration if duration is not None and answered else 0)
    return disorder, abs(end - since - expected)
