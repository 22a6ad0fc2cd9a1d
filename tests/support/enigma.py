"""What the tests of Enigma share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate, Decoded
from cdrhub.sources.enigma import SYSTEM
from cdrhub.sources.enigma.config import EnigmaSettings
from support.records import raw_record

CAPTURES = Path(__file__).parents[1] / "captures" / "enigma"


def decoded(body: bytes, **settings: Any) -> Decoded:
    """What the decoder makes of one message."""
    record = raw_record(body, source="dialler", content_type="application/json")
    return SYSTEM.decoder(EnigmaSettings(**settings))(record)


def updated(body: bytes, **settings: Any) -> CallUpdate:
    """The update of one message."""
    update = decoded(body, **settings)
    assert isinstance(update, CallUpdate), update
    return update


def cdr(**payload: Any) -> bytes:
    """A campaign CDR; None takes a field out."""
    said = {
        "extension": "2001",
        "number": "0820000111",
        "dial_number": "27110000900",
        "call_ref": 845,
        "dialed_at": 1400069618,
        "call_time": 79,
        "end_reason": "callee_hungup",
        "call_dir": "outbound",
        "ref": "campaign001",
    } | payload
    return orjson.dumps({"type": "cdr", "payload": {key: value for key, value in said.items() if value is not None}})


def call_of(**payload: Any) -> Call:
    """The call of one campaign CDR."""
    return fold([updated(cdr(**payload), region="ZA")])
