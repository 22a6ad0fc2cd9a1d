"""Records for tests of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cdrhub.journal import Entry, Journal
from cdrhub.model.record import RawRecord
from support.records import raw_record

RECEIVED_AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ENOUGH_BYTES = 1 << 30


def record(body: bytes | str, *, attributes: Mapping[str, Any] | None = None, event_id: str | None = None) -> RawRecord:
    """A 3CX line as it might have come."""
    raw = body.encode() if isinstance(body, str) else body
    return raw_record(
        raw,
        source="lagos",
        received_at=RECEIVED_AT,
        config_revision="r1",
        event_id=event_id,
        attributes=attributes if attributes is not None else {"peer": "10.0.0.1"},
    )


def lines(*bodies: str) -> list[RawRecord]:
    """Records of these bodies, of one origin."""
    attributes = {"peer": "10.0.0.1"}
    return [record(body, attributes=attributes) for body in bodies]


async def everything(journal: Journal, *, after: int = 0) -> list[Entry]:
    """All entries behind `after`, read in small steps."""
    entries: list[Entry] = []
    while more := await journal.read(after=after, limit=50, max_bytes=ENOUGH_BYTES):
        entries += more
        after = more[-1].seq
    return entries


async def bodies(journal: Journal, *, after: int = 0) -> list[str]:
    """The bodies of all entries behind `after`."""
    return [entry.record.body.decode() for entry in await everything(journal, after=after)]
