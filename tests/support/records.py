"""Records as the intake of a source makes them, of bytes that a test has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cdrhub.model.record import RawRecord, digest_of

RECEIVED_AT = datetime(2026, 3, 9, tzinfo=UTC)


def raw_record(
    body: bytes,
    *,
    source: str = "test",
    received_at: datetime = RECEIVED_AT,
    content_type: str = "text/plain",
    config_revision: str = "1",
    event_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> RawRecord:
    """The record of one message."""
    return RawRecord(
        source=source,
        received_at=received_at,
        content_type=content_type,
        body=body,
        digest=digest_of(body),
        config_revision=config_revision,
        event_id=event_id,
        attributes={} if attributes is None else attributes,
    )
