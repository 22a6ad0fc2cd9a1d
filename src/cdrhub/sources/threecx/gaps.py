"""Jumps of historyid: records that were lost between the PBX and the hub.

3CX numbers its records without a gap (observed up to v20 Update 5), so a missing number is a lost record. Records
come slightly out of order, so a number counts as missing only when it did not come within a grace time. Pure: times
come in with the records, nothing is read from a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from cdrhub.model.inference import Coverage
from cdrhub.sources.threecx.layout import PREFIX

GRACE = timedelta(seconds=60)  #: records were seen up to 38 s out of order
LARGEST_GAP = 10_000  #: a jump beyond it is another numbering (restore, reinstall), not so many lost records
LATE_WINDOW = 10_000  #: a number this far behind the highest came late or again; further back the count began anew
MAX_DIGITS = 18
MAX_OPEN = 64  #: missing ranges held and remembered; beyond it the oldest is told before its grace is over


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """The records `first` to `last`, both missing, between two that were seen."""

    first: int
    last: int
    since: datetime  #: the record before the gap was seen
    until: datetime  #: the record behind the gap was seen

    @property
    def count(self) -> int:
        """How many records are missing."""
        return self.last - self.first + 1

    def coverage(self) -> Coverage:
        """The stretch of time of which something is missing."""
        numbers = f"{self.first}" if self.count == 1 else f"{self.first}..{self.last}"
        detail = f"historyid {numbers} never came: {self.count} record{'s' if self.count > 1 else ''} lost"
        return Coverage(state="blind", since=self.since, until=self.until, detail=detail)


class HistoryWatch:
    """Watches the record numbers of one PBX. A new one compares its first number to nothing; one that is `restored`
    compares it to the last one that was remembered, so that a loss during a restart is seen too."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._seen_at: datetime | None = None
        self._open: list[Gap] = []

    @classmethod
    def restored(cls, remembered: str | None) -> HistoryWatch:
        """The watch that `remembered` was taken from; a new one for None and for anything unreadable."""
        watch = cls()
        if remembered is None:
            return watch
        try:
            said: dict[str, Any] = orjson.loads(remembered)
            highest, seen_at = int(said["highest"]), _moment(said["seen_at"])
            gaps = [
                Gap(first=int(first), last=int(last), since=_moment(since), until=_moment(until))
                for first, last, since, until in said["open"]
            ]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return watch
        watch._highest, watch._seen_at, watch._open = highest, seen_at, gaps
        return watch

    def remembered(self) -> str:
        """The state as text, for `restored`: the highest number, and the gaps still in their grace."""
        seen_at = self._seen_at
        return orjson.dumps(
            {
                "highest": self._highest,
                "seen_at": seen_at.astimezone(UTC).isoformat() if seen_at else None,
                "open": [
                    (gap.first, gap.last, gap.since.astimezone(UTC).isoformat(), gap.until.astimezone(UTC).isoformat())
                    for gap in self._open
                ],
            }
        ).decode()

    def see(self, numbers: Iterable[int], *, at: datetime) -> bool:
        """Records with these numbers came; whether there is anything new to remember."""
        moved = False
        for number in numbers:
            moved = self._see(number, at) or moved
        return moved

    def due(self, *, now: datetime) -> list[Gap]:
        """The gaps whose grace is over, oldest first; each is told once."""
        told: list[Gap] = []
        waiting: list[Gap] = []
        surplus = len(self._open) - MAX_OPEN
        for place, gap in enumerate(self._open):
            (told if place < surplus or now - gap.until >= GRACE else waiting).append(gap)
        self._open = waiting
        return told

    def _see(self, number: int, at: datetime) -> bool:
        highest = self._highest
        if highest is not None and number <= highest:
            if highest - number <= min(LATE_WINDOW, highest // 2):
                return self._fill(number)
            self._open.clear()  # the count began anew: what was missing of the old one can be told no more
        elif highest is not None and number - highest > LARGEST_GAP:
            self._open.clear()
        elif highest is not None and number > highest + 1:
            self._open.append(Gap(first=highest + 1, last=number - 1, since=self._seen_at or at, until=at))
        self._highest, self._seen_at = number, at
        return True

    def _fill(self, number: int) -> bool:
        """A number came late; whether it was missing."""
        for place, gap in enumerate(self._open):
            if gap.first <= number <= gap.last:
                parts = [replace(gap, last=number - 1), replace(gap, first=number + 1)]
                self._open[place : place + 1] = [part for part in parts if part.first <= part.last]
                return True
        return False


def history_id_reader(layouts: Sequence[tuple[str, ...]]) -> Callable[[bytes], int | None]:
    """A quick function from a line to its historyid; None where its layout has none, or it is no such line."""
    columns = {len(names): names.index("historyid") for names in layouts if "historyid" in names}

    def history_id_of(line: bytes) -> int | None:
        fields = line.split(b",")
        column = columns.get(len(fields))
        if column is None:
            return None
        text = fields[column].removeprefix(PREFIX).strip()
        return int(text) if text.isdigit() and len(text) <= MAX_DIGITS else None

    return history_id_of


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return moment
