"""What the tests of the Voicenter source share: captures as records, records as calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import MAX_BODY_BYTES, RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.config import VoicenterConfig, VoicenterSettings
from support.intake import RecordingIntake, until
from support.records import raw_record

CAPTURES = Path(__file__).parents[1] / "captures" / "voicenter"
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)
PATH = "/ingest/voicenter/a-secret-of-many-letters"


def record_of(body: bytes, *, content_type: str = "application/json", **attributes: Any) -> RawRecord:
    """`body` as the source hands it over."""
    return raw_record(body, source="tel-aviv", received_at=RECEIVED, content_type=content_type, attributes=attributes)


def decoded(body: bytes, *, content_type: str = "application/json", **settings: Any) -> CallUpdate:
    """The update of one body."""
    update = SYSTEM.decoder(VoicenterSettings(**settings))(record_of(body, content_type=content_type))
    assert isinstance(update, CallUpdate)
    return update


def cdr(kind: str = "Incoming Call", status: str = "ANSWER", **fields: Any) -> bytes:
    """A CDR in JSON with an id and a time; None takes a field out."""
    said = {"ivruniqueid": "id-1", "time": 1595333610, "type": kind, "status": status} | fields
    return orjson.dumps({key: value for key, value in said.items() if value is not None})


def call_of(*parts: bytes, **settings: Any) -> Call:
    """The call that these bodies make."""
    return fold([decoded(body, **settings) for body in parts])


@asynccontextmanager
async def served(
    intake: RecordingIntake, *, client_max_size: int = MAX_BODY_BYTES, **config: Any
) -> AsyncGenerator[str]:
    """A session of the source behind a real HTTP server; yields the URL to push to."""
    source = SYSTEM.source(VoicenterConfig(path=PATH, **config))
    async with intake.http_server(client_max_size=client_max_size) as base:
        session = asyncio.create_task(source.session(intake))
        try:
            await until(lambda: intake.mounted, "the source mounts its path")
            yield base + PATH
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
