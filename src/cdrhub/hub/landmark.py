"""One record that this hub wrote to its database, noted in its journal. A database that no longer has it was restored
from an older backup, or is another one.

The journal deletes a record once the database has it. So what a restored database lacks is lost, and without this note
its coverage would say that the source was connected all the time.
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
        """Since when records are lost: None if `store` has this one; else when the newest earlier record was received
        that it has, or this one if it has none. Raises StoreUnavailable."""
        if await store.has_record(self.source, self.digest):
            return None
        return await store.newest_record(before=self.received_at) or self.received_at


async def forget(journal: Journal) -> None:
    """Forget the landmark, once its loss has been told."""
    with contextlib.suppress(IntakeRefused):
        await journal.append([], position=("", KEY, ""))
