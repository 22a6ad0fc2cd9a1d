"""Whether a source's clock or configured zone is wrong: fed with the ends of live calls.

A record that arrives as it is made ends within moments of its receipt. When the ends of a source's live records lie
steadily a whole multiple of 15 minutes away (every UTC offset in use is one), its zone is configured wrongly.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate

log = structlog.get_logger(__name__)

STEP = timedelta(minutes=15)
SLACK = timedelta(seconds=90)  #: a record may be this late and still count as on time
WINDOW = 20  #: ends looked at
NEEDED = 16  #: of them, with one and the same offset


class ClockWatch:
    """The offsets of one source's last live calls."""

    def __init__(self) -> None:
        self._delays: deque[timedelta] = deque(maxlen=WINDOW)

    def saw(self, *, ended_at: datetime, received_at: datetime) -> None:
        """A live record of a call that ended then arrived then (both aware)."""
        self._delays.append(received_at - ended_at)

    @property
    def offset(self) -> timedelta | None:
        """How far behind the hub's clock the source's ends are, when that is steady and not zero; else None."""
        if len(self._delays) < WINDOW:
            return None
        steps, times = Counter(_steps(delay) for delay in self._delays).most_common(1)[0]
        return steps * STEP if steps and times >= NEEDED else None


class Clocks:
    """The clocks of all sources at work."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], ClockWatch] = {}
        #: Those that are wrong, and by how much.
        self.suspect: dict[str, timedelta] = {}

    def watch(self, sources: Iterable[tuple[str, str]]) -> None:
        """Watch these sources, (name, revision of the decode settings), and no other. What was seen under another
        revision, and so perhaps another zone, is forgotten."""
        self._watches = {key: self._watches.get(key) or ClockWatch() for key in sources}

    def observe(self, record: RawRecord, outcome: object) -> None:
        """Remember when live calls ended; `look` looks at it now and then."""
        if isinstance(outcome, CallUpdate) and record.attributes.get("live") is not False:
            ended_at = outcome.values.get("ended_at")
            watch = self._watches.get((record.source, record.config_revision))
            if ended_at is not None and watch is not None:
                watch.saw(ended_at=ended_at, received_at=record.received_at)

    def look(self) -> None:
        """Find those that are wrong, and say so of each."""
        offsets = {name: offset for (name, _), watch in self._watches.items() if (offset := watch.offset) is not None}
        for source, offset in offsets.items():
            if self.suspect.get(source) != offset:
                log.warning(
                    "the clock or the zone of a source is wrong",
                    action="clock_suspect",
                    source=source,
                    offset=spoken_offset(offset),
                )
        self.suspect.clear()
        self.suspect.update(offsets)

    @property
    def problems(self) -> list[str]:
        """What a person should look at."""
        return [
            f"source {name}: its clock is {spoken_offset(offset)}; check its timezone key"
            for name, offset in self.suspect.items()
        ]


def _steps(delay: timedelta) -> int | None:
    """`delay` in whole steps, or None where it is not near one."""
    steps, rest = divmod(delay + STEP / 2, STEP)
    return steps if abs(rest - STEP / 2) <= SLACK else None


def spoken_offset(offset: timedelta) -> str:
    """`offset` as people say it: "2 h 30 min behind", "3 h ahead"."""
    minutes = int(abs(offset) / timedelta(minutes=1))
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest)
    return f"{' '.join(parts)} {'behind' if offset > timedelta(0) else 'ahead'}"
