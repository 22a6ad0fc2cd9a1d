"""Recent records of the journal, kept in memory, so that a pipeline that keeps up reads no SQL.

One unbroken run of entries up to the last one: what is older than its first is on disk only. Belongs to the event
loop's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdrhub.journal.packing import Entry
from cdrhub.model.record import RawRecord

RECORD_BYTES = 512  #: that a record takes in memory beside its body


class Tail:
    """Bounded by `max_bytes`; what is beyond is forgotten from the oldest on."""

    def __init__(self, *, first: int, max_bytes: int) -> None:
        self.first = first  #: of the entries that are here, or of the next one to come
        self._max_bytes: Final = max_bytes
        self._records: dict[int, RawRecord] = {}
        self._bytes = 0

    def add(self, first: int, records: Sequence[RawRecord]) -> None:
        """Records that were just committed, of which the first is entry `first`, the one behind the last. May go beyond
        the limit until `forget`."""
        self._records.update(zip(range(first, first + len(records)), records, strict=True))
        self._bytes += sum([len(record.body) for record in records]) + RECORD_BYTES * len(records)

    def forget(self, *, upto: int) -> None:
        """Forget the records up to `upto`, and older ones beyond the limit."""
        while self.first <= upto or self._bytes > self._max_bytes:
            record = self._records.pop(self.first, None)
            if record is None:
                self.first = max(self.first, upto + 1)
                return
            self._bytes -= len(record.body) + RECORD_BYTES
            self.first += 1

    def received_at(self, seq: int) -> datetime | None:
        """When that entry was received; None if it is not here."""
        record = self._records.get(seq)
        return None if record is None else record.received_at

    def read(self, first: int, *, last: int, limit: int, max_bytes: int) -> list[Entry]:
        """Entries from `first`, which is here, to `last`: at most `limit`, with bodies of at most `max_bytes` in sum,
        but at least one."""
        records = self._records
        entries = [Entry(seq, records[seq]) for seq in range(first, min(last, first + limit - 1) + 1)]
        if sum([len(entry.record.body) for entry in entries]) > max_bytes:
            taken = 0
            for count, entry in enumerate(entries):
                taken += len(entry.record.body)
                if taken > max_bytes and count:
                    return entries[:count]
        return entries
