"""The moment inside a 3CX callid: a free check of the configured time zone.

`<16 hex digits>_<counter>`: the digits are the start of the call in UTC milliseconds, in one of three forms: since
1601-01-01 (Windows), since 1970-01-01 (Linux v16), since 1970-01-01 with the bytes reversed (Linux v20). 3CX documents
none of this; it held for every published record whose text was not edited. It is never the only source of a time.
"""

from __future__ import annotations

from datetime import UTC, datetime

HEX_DIGITS = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_1601_TO_1970 = 11_644_473_600_000
EARLIEST = int((datetime(2005, 1, 1, tzinfo=UTC) - EPOCH).total_seconds() * 1000)
LATEST = int((datetime(2040, 1, 1, tzinfo=UTC) - EPOCH).total_seconds() * 1000)

AGREES_SECONDS = 2.0  #: time-start is in whole seconds and taken a moment after the id
QUARTER_SECONDS = 900  #: every zone of the world is a multiple of a quarter of an hour away from UTC
FARTHEST_ZONE_SECONDS = 14 * 3600  #: Pacific/Kiritimati


def milliseconds(callid: str) -> int | None:
    """Milliseconds since 1970 UTC in a callid; None where it holds no time between 2005 and 2040."""
    if callid[HEX_DIGITS : HEX_DIGITS + 1] not in ("_", ""):
        return None
    digits = callid[:HEX_DIGITS]
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    if len(digits) != HEX_DIGITS or not digits.isalnum():
        return None
    if EARLIEST <= number < LATEST:
        return number
    if EARLIEST <= (since_1601 := number - MILLISECONDS_1601_TO_1970) < LATEST:
        return since_1601
    reversed_bytes = int.from_bytes(number.to_bytes(HEX_DIGITS // 2, "big"), "little")
    return reversed_bytes if EARLIEST <= reversed_bytes < LATEST else None


def offset_minutes(callid_milliseconds: int, started_at: datetime) -> int:
    """By how many minutes the written start is wrong: a multiple of 15 other than 0 where the zone of the source is
    wrongly configured, 0 where it is right or where the difference means nothing."""
    difference = started_at.timestamp() - callid_milliseconds / 1000
    if abs(difference) < AGREES_SECONDS or abs(difference) > FARTHEST_ZONE_SECONDS + AGREES_SECONDS:
        return 0
    quarters = round(difference / QUARTER_SECONDS)
    return quarters * 15 if abs(difference - quarters * QUARTER_SECONDS) < AGREES_SECONDS else 0
