"""Whether a source's clock or configured zone is wrong: pure, fed with the ends of live calls.

A record that arrives as it is made ends within moments of its receipt. When the ends of a source's live records lie
steadily a whole multiple of 15 minutes away (every UTC offset in use is one), its zone is configured wrongly.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

STEP = timedelta(minutes=15)
SLACK = timedelta(seconds=90)  #: a record may be this late and still count as on time
WINDOW = 20  #: ends looked at
NEEDED = 16  #: of them, with one and the same offset


class ClockWatch:
    """The offsets of one source's last live calls."""

    def __init__(self) -> None:
        self._steps: deque[int | None] = deque(maxlen=WINDOW)

    def saw(self, *, ended_at: datetime, received_at: datetime) -> None:
        """A live record of a call that ended then arrived then (both aware)."""
        steps, rest = divmod(received_at - ended_at + STEP / 2, STEP)
        self._steps.append(steps if abs(rest - STEP / 2) <= SLACK else None)

    @property
    def offset(self) -> timedelta | None:
        """How far behind the hub's clock the source's ends are, when that is steady and not zero; else None."""
        if len(self._steps) < WINDOW:
            return None
        for steps in set(self._steps):
            if steps and sum(step == steps for step in self._steps) >= NEEDED:
                return steps * STEP
        return None


def spoken_offset(offset: timedelta) -> str:
    """`offset` as people say it: "2 h 30 min behind", "3 h ahead"."""
    minutes = int(abs(offset) / timedelta(minutes=1))
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest)
    return f"{' '.join(parts)} {'behind' if offset > timedelta(0) else 'ahead'}"
