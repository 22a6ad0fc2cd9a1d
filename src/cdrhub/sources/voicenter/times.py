"""The times of a Voicenter CDR, in UTC. Pure.

`time` is the start. With `actualCallDuration`, `duration` is the whole call: end = start + duration, answer =
end - talk. Without, `duration` is the talk: answer = start + ringing, end = answer + talk; what queue or ringing leave
open stays null (docs/model.md, times).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cdrhub.model.disposition import Disposition
from cdrhub.model.update import MAX_TIME
from cdrhub.sources.voicenter import fields
from cdrhub.sources.voicenter.reading import Reading

MAX_EPOCH: Final = int(MAX_TIME.timestamp()) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """The moments and spans of one CDR; None where they are not derivable."""

    started: datetime | None
    answered: datetime | None
    ended: datetime | None
    wait: int | None
    ring: int | None  #: of whoever was rung, answered or not
    talk: int | None
    exact: bool  #: from actualCallDuration


def times_of(reading: Reading, disposition: Disposition, *, queued: bool) -> Times:
    """The times of a CDR that ended so; `queued`: the call passed through a queue."""
    started = _started(reading)
    duration = reading.seconds("duration")
    dialtime = reading.seconds("dialtime")
    talked = reading.seconds("actualCallDuration")
    wait = reading.seconds("seconds_waiting_in_queue") if queued else None
    rung = reading.seconds("actualCallDialtime")
    ring = dialtime if rung is None else rung
    joined = disposition is Disposition.ANSWERED
    known = disposition is not Disposition.UNKNOWN
    length: int | None = None
    if talked is not None:
        # The whole call; some accounts write the conversation only, which cannot be shorter than what it holds.
        if duration is not None:
            length = max(duration, talked if joined else (ring or 0))
        talk = talked if joined else (0 if known else None)
        answer = length - talked if joined and length is not None else None
    else:
        if dialtime is not None and duration is not None:
            length = dialtime + duration
            if disposition is Disposition.ABANDONED:
                length += wait or 0
        if not joined:
            talk = 0 if known else None
        elif queued and duration is not None and duration <= (wait or 0):
            talk = None
        else:
            talk = duration
        answer = dialtime if joined and not queued else None
    return Times(
        started=started,
        answered=after(started, answer),
        ended=after(started, length),
        wait=wait,
        ring=ring,
        talk=talk,
        exact=talked is not None,
    )


def _started(reading: Reading) -> datetime | None:
    if reading.call_log:
        return _date(reading)
    time = reading.known.get("time")
    if time is None:
        return None
    epoch = fields.whole(time, limit=MAX_EPOCH)
    if epoch is None:
        reading.flags.add("value_dropped")
        return None
    moment = datetime.fromtimestamp(epoch, UTC)
    if reading.zone is None:
        return moment
    local = moment.replace(tzinfo=reading.zone)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        reading.flags.add("time_ambiguous")
    return local.astimezone(UTC)


def _date(reading: Reading) -> datetime | None:
    """The Call Log's `Date`, which is GMT."""
    text = reading.text("date")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        reading.flags.add("value_dropped")
        reading.unread.add("date")
        return None


def after(moment: datetime | None, seconds: int | None) -> datetime | None:
    """`moment` and `seconds` later; None if either is unknown or the sum is no date."""
    if moment is None or seconds is None:
        return None
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None
