"""Whether a source's clock or configured zone is wrong: pure, fed with the ends of live calls.

A record that arrives as it is made ends within moments of its receipt. When the ends of a source's live records lie
steadily a whole multiple of 15 minutes away (every UTC offset in use is one), its zone is configured wrongly.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime, timedelta

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
