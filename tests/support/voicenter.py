"""What the tests of the Voicenter source share: captures as records, records as calls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.model.update import CallUpdate
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.config import VoicenterSettings

CAPTURES = Path(__file__).parents[1] / "captures" / "voicenter"
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)


def record_of(body: bytes, *, content_type: str = "application/json", **attributes: Any) -> RawRecord:
    """`body` as the source hands it over."""
    return RawRecord(
        source="tel-aviv",
        received_at=RECEIVED,
        content_type=content_type,
        body=body,
        digest=digest_of(body),
        config_revision="1",
        attributes=attributes,
    )


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
