"""What the tests of the Voicenter source share: captures as records, records as calls."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import MAX_BODY_BYTES, RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.config import VoicenterConfig, VoicenterSettings
from support.intake import RecordingIntake
from support.records import raw_record

CAPTURES = Path(__file__).parents[1] / "captures" / "voicenter"
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)
PATH = "/ingest/voicenter/a-secret-of-many-letters"
START = datetime(2020, 7, 21, 12, 13, 30, tzinfo=UTC)  #: of what `cdr` makes


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


def leg1(status: str = "ANSWER", **fields: Any) -> bytes:
    """The CDR of the agent's leg of a Click2Call."""
    said = {"caller": "0722776772", "target": "SIP1", "targetextension": "SIP1", "dialtime": 4, "duration": 30}
    return cdr("Click2Call leg1", status, **(said | fields))


def leg2(status: str = "ANSWER", **fields: Any) -> bytes:
    """The CDR of the customer's."""
    said = {"caller": "0722776772", "target": "0541112222", "callerextension": "SIP1", "time": 1595333614}
    return cdr("Click2Call leg2", status, **(said | {"dialtime": 10, "duration": 20} | fields))


def after(seconds: int) -> datetime:
    """So long after what `cdr` makes has started."""
    return START + timedelta(seconds=seconds)


def call_of(*parts: bytes, **settings: Any) -> Call:
    """The call that these bodies make."""
    return fold([decoded(body, **settings) for body in parts])


def served(
    intake: RecordingIntake, *, client_max_size: int = MAX_BODY_BYTES, **config: Any
) -> AbstractAsyncContextManager[str]:
    """A session of the source behind a real HTTP server; its value is the URL to push to."""
    source = SYSTEM.source(VoicenterConfig(path=PATH, **config))
    return intake.serving(source, PATH, client_max_size=client_max_size)
