"""What the tests of FreeSWITCH share: recorded traffic as records, records as calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Decoded
from cdrhub.sources.freeswitch import SYSTEM
from cdrhub.sources.freeswitch.config import FreeSwitchSettings
from support.esl import encode_plain
from support.records import raw_record

CAPTURES = Path(__file__).parents[1] / "captures" / "freeswitch"
RECEIVED = datetime(2026, 11, 21, tzinfo=UTC)


def record_of(body: bytes) -> RawRecord:
    """`body` as a source hands it over."""
    return raw_record(body, source="callcentre", received_at=RECEIVED, content_type="text/event-plain")


def decoded(body: bytes, **settings: Any) -> Decoded:
    """What the decoder makes of one body."""
    return SYSTEM.decoder(FreeSwitchSettings(**settings))(record_of(body))


def updated(body: bytes, **settings: Any) -> CallUpdate:
    """The update of one body."""
    update = decoded(body, **settings)
    assert isinstance(update, CallUpdate), update
    return update


@cache
def bodies_of(name: str) -> tuple[bytes, ...]:
    """The messages of one capture."""
    messages, rest = SYSTEM.split((CAPTURES / name).read_bytes(), final=True)
    assert rest == b""
    return tuple(messages)


@cache
def updates_of(*names: str, calls: str = "queue") -> tuple[CallUpdate, ...]:
    """The updates of these captures together."""
    found = (decoded(body, calls=calls) for name in names for body in bodies_of(name))
    return tuple(update for update in found if isinstance(update, CallUpdate))


def by_call(updates: Iterable[CallUpdate]) -> dict[str, list[CallUpdate]]:
    """Updates by their call."""
    grouped: dict[str, list[CallUpdate]] = {}
    for update in updates:
        grouped.setdefault(update.call_key, []).append(update)
    return grouped


def calls_of(*names: str, calls: str = "queue") -> dict[str, Call]:
    """The calls that these captures make, by key."""
    return {key: fold(updates) for key, updates in by_call(updates_of(*names, calls=calls)).items()}


class Switch:
    """Writes events as a FreeSWITCH does, numbered and one second apart: `switch.event("…", {…}, at=3)`."""

    EPOCH = 1_795_249_400

    def __init__(self, core: str = "3ad061fd-12f0-44d5-8f2e-2529eb770728") -> None:
        self.core = core
        self.number = 0

    def event(self, name: str, headers: Mapping[str, str], *, at: float) -> bytes:
        """A plain event, `at` seconds after EPOCH."""
        self.number += 1
        common = {
            "Event-Name": name,
            "Core-UUID": self.core,
            "Event-Date-Timestamp": self.micro(at),
            "Event-Sequence": str(self.number),
        }
        return encode_plain(common | dict(headers))

    def callcenter(self, action: str, headers: Mapping[str, str], *, at: float) -> bytes:
        """A callcenter::info event."""
        named = {"Event-Subclass": "callcenter::info", "CC-Action": action} | dict(headers)
        return self.event("CUSTOM", named, at=at)

    @classmethod
    def second(cls, at: float) -> str:
        """Whole seconds since 1970."""
        return str(cls.EPOCH + int(at))

    @classmethod
    def micro(cls, at: float) -> str:
        """Microseconds since 1970."""
        return str(round((cls.EPOCH + at) * 1_000_000))

    @classmethod
    def moment(cls, at: float) -> datetime:
        """The time itself."""
        return datetime.fromtimestamp(cls.EPOCH + at, UTC)
