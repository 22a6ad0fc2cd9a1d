"""A record that this hub brought into its database, noted in its journal: whether the database still has it tells a
database that was restored from an older backup, or is another one.

The journal forgets a record when the database has it. What a restored database has lost is nowhere, and its coverage
would say that the source was connected all the time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import orjson

from cdrhub.errors import IntakeRefused
from cdrhub.journal import Journal
from cdrhub.model.record import RawRecord
from cdrhub.store import Store

KEY = "in_database"


@dataclass(frozen=True, kw_only=True, slots=True)
class Landmark:
    """One such record. Records are never deleted, so that it stays where it is."""

    source: str
    digest: bytes
    received_at: datetime

    @classmethod
    def of(cls, record: RawRecord) -> Self:
        """The landmark that `record` is."""
        return cls(source=record.source, digest=record.digest, received_at=record.received_at)

    @classmethod
    def noted(cls, journal: Journal) -> Self | None:
        """The one that was noted last."""
        text = journal.position("", KEY)
        if not text:
            return None
        source, digest, received_at = orjson.loads(text)
        return cls(source=source, digest=bytes.fromhex(digest), received_at=datetime.fromisoformat(received_at))

    async def note(self, journal: Journal) -> None:
        """Keep it in the journal, instead of the one before. Raises IntakeRefused: then the one before stays."""
        text = orjson.dumps([self.source, self.digest.hex(), self.received_at.astimezone(UTC).isoformat()]).decode()
        await journal.append([], position=("", KEY, text))

    async def lost_since(self, store: Store) -> datetime | None:
        """None if `store` has the record; else when the newest that it has of the time before was received, or this
        one if there is none. Raises StoreUnavailable."""
        if await store.has_record(self.source, self.digest):
            return None
        return await store.newest_record(before=self.received_at) or self.received_at


async def forget(journal: Journal) -> None:
    """What was lost has been told."""
    with contextlib.suppress(IntakeRefused):
        await journal.append([], position=("", KEY, ""))
