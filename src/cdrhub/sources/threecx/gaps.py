"""Jumps of historyid: records that were lost between the PBX and the hub.

3CX numbers its records without a gap (observed up to v20 Update 5), so a missing number is a lost record. Records
come slightly out of order, so a number counts as missing only when it did not come within a grace time. Until then it
is remembered together with the highest number, for the daemon may be killed meanwhile. Pure: times come in with each
record, nothing is read from a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from cdrhub.sources.threecx.callid import milliseconds
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import PREFIX, STANDARD_27

GRACE = timedelta(seconds=60)  #: records were seen up to 38 s out of order
LARGEST_GAP = 10_000  #: a jump beyond it is another numbering (restore, reinstall), not so many lost records
LATE_WINDOW = 10_000  #: a number this far behind the highest came late or again; further back the count began anew
MAX_DIGITS = 18
MAX_OPEN = 1_000  #: missing ranges held at once; beyond it the oldest is told before its grace is over
MAX_REMEMBERED = 100  #: of them, the newest, over the death of a daemon


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """The records `first` to `last`, both missing, between two that were seen."""

    first: int
    last: int
    since: datetime  #: the record before the gap was seen
    until: datetime  #: the record behind the gap was seen

    @property
    def count(self) -> int:
        """How many records are missing."""
        return self.last - self.first + 1


class GapWatch:
    """Watches the numbers of one PBX. If no highest number is remembered, the first one to come is taken as it is."""

    def __init__(
        self, last: int | None = None, seen_at: datetime | None = None, missing: Iterable[Missing] = ()
    ) -> None:
        self._highest = last
        self._seen_at = seen_at
        self._open = list(missing)

    @classmethod
    def remembered(cls, text: str | None) -> GapWatch:
        """The watch that goes on from what `memory` gave; a fresh one where that cannot be read."""
        try:
            number, moment, *missing = (text or "").split()
            return cls(int(number), datetime.fromisoformat(moment), [_read(one) for one in missing])
        except ValueError:
            return cls()

    def memory(self) -> str:
        """What is to be remembered over a restart."""
        seen_at = self._seen_at.isoformat() if self._seen_at is not None else ""
        return " ".join([str(self._highest), seen_at, *map(_written, self._open[-MAX_REMEMBERED:])])

    @property
    def account(self) -> tuple[int | None, Sequence[tuple[int, int]]]:
        """The highest number and the missing ranges: as long as these are the same there is nothing to remember."""
        return self._highest, [(missing.first, missing.last) for missing in self._open]

    def after(self, numbers: Iterable[int], seen_at: datetime) -> GapWatch:
        """This watch once the records with these numbers came as well."""
        ahead = GapWatch(self._highest, self._seen_at, self._open)
        for number in numbers:
            ahead.feed(number, seen_at)
        return ahead

    def feed(self, historyid: int, seen_at: datetime) -> None:
        """A record with this number came."""
        highest = self._highest
        if highest is not None and historyid <= highest:
            if _is_late(historyid, highest=highest):
                self._fill(historyid)
                return
            self._open.clear()  # the count began anew: what was missing of the old one can be told no more
        elif highest is not None and historyid - highest > LARGEST_GAP:
            self._open.clear()
        elif highest is not None and historyid > highest + 1:
            before = self._seen_at or seen_at
            self._open.append(Missing(first=highest + 1, last=historyid - 1, since=before, until=seen_at))
        self._highest, self._seen_at = historyid, seen_at

    def due(self, now: datetime) -> list[Missing]:
        """The ranges whose grace is over, oldest first; each is told once. One from the future is over too: the clock
        was set back."""
        told: list[Missing] = []
        waiting: list[Missing] = []
        surplus = len(self._open) - MAX_OPEN
        for place, missing in enumerate(self._open):
            young = timedelta(0) <= now - missing.until < GRACE
            (waiting if young and place >= surplus else told).append(missing)
        self._open = waiting
        return told

    def all(self) -> list[Missing]:
        """All ranges, also within their grace; each is told once."""
        told, self._open = self._open, []
        return told

    def _fill(self, historyid: int) -> None:
        """A number came late: it is no longer missing."""
        for place, missing in enumerate(self._open):
            if missing.first <= historyid <= missing.last:
                parts = [replace(missing, last=historyid - 1), replace(missing, first=historyid + 1)]
                self._open[place : place + 1] = [part for part in parts if part.first <= part.last]
                return


def _written(missing: Missing) -> str:
    return f"{missing.first}-{missing.last}/{missing.since.isoformat()}/{missing.until.isoformat()}"


def _read(text: str) -> Missing:
    numbers, since, until = text.split("/")
    first, last = numbers.split("-")
    return Missing(
        first=int(first), last=int(last), since=datetime.fromisoformat(since), until=datetime.fromisoformat(until)
    )


def _is_late(number: int, *, highest: int) -> bool:
    """Whether a number came late or again; else it is a new one, or the count began anew."""
    return 0 <= highest - number <= min(LATE_WINDOW, highest // 2)


class HistoryIdOf(Protocol):
    """The historyid of a line, None where it cannot be told; `cut`: the end of the line is missing."""

    def __call__(self, line: bytes, *, cut: bool) -> int | None: ...


def history_id_reader(settings: ThreeCXSettings) -> HistoryIdOf:
    """A quick function from a line to its historyid: None where the layout has no such field, or it is no such line.

    A line with another number of fields (a name holds a comma, the fields of the PBX were changed) goes into suspense,
    but it has come: its number is read if a callid stands beside it as in the layout or in the default order.
    """
    layouts = [names for names in settings.layouts() if "historyid" in names]
    columns = {len(names): names.index("historyid") for names in layouts}
    orders = (*layouts, STANDARD_27) if layouts else ()
    pairs = [(names.index("historyid"), names.index("callid")) for names in orders if "callid" in names]

    def history_id_of(line: bytes, *, cut: bool) -> int | None:
        fields = line.removeprefix(PREFIX).split(b",")
        column = columns.get(len(fields))
        if column is not None:
            return _number(fields[column])
        there = () if cut else [pair for pair in pairs if max(pair) < len(fields)]
        beside = (_number(fields[number]) for number, callid in there if _is_callid(fields[callid]))
        return next((number for number in beside if number is not None), None)

    return history_id_of


def _number(field: bytes) -> int | None:
    text = field.strip()
    return int(text) if text.isdigit() and len(text) <= MAX_DIGITS else None


def _is_callid(field: bytes) -> bool:
    return milliseconds(field.strip().decode("latin-1")) is not None
