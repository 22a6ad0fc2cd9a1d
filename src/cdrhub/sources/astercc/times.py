"""asterCC's `eventTime`: `YYYY-MM-DD HH:MM:SS` in the server's own zone, which no event names."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cdrhub.errors import DecodeError, Reason

NOT_SET = "0000-00-00 00:00:00"
MAX_SHOWN = 64  #: characters quoted of what is no time


def event_time(text: str, *, timezone: str, flags: set[str]) -> datetime | None:
    """The moment in UTC, or None where none is given. One that comes twice in a night of DST is the first of the two,
    and flagged `time_ambiguous`. Raises DecodeError for anything else."""
    text = text.strip().replace("+", " ")
    if not text or text == NOT_SET:
        return None
    zone = ZoneInfo(timezone)
    try:
        local = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
        if local.utcoffset() != local.replace(fold=1).utcoffset():
            flags.add("time_ambiguous")
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DecodeError(Reason.BAD_VALUE, f"eventTime {text[:MAX_SHOWN]!r} is no YYYY-MM-DD HH:MM:SS") from error
