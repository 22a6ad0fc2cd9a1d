"""A fact as a CloudEvents 1.0 document in JSON, made at delivery from the stored snapshot. Pure.

The same fact gives the same document with the same id at every delivery, today and when it is asked for again: nothing
in it depends on the moment or the receiver, but for the receiver's privacy. See https://github.com/cloudevents/spec,
"CloudEvents - Version 1.0.2" and its "JSON Event Format".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import orjson

from cdrhub.broadcast.events import Event

NAMESPACE = UUID("5b0a6d4e-3c52-5f0b-9d2e-6a5f2f1f7c11")  #: of ids of facts that are of no call
MAX_BYTES = 20_000  #: of one document: Standard Webhooks recommends less than 20 kB
SHOWN_DIGITS = 4
PSEUDONYM_CHARACTERS = 16

_NUMBERS = (
    "caller_number",
    "callee_number",
    "dialed_number",
    "caller_e164",
    "callee_e164",
    "external_number",
    "destination",
    "number",
)
_NAMES = ("caller_name", "callee_name", "agent_name")
#: What holds whatever a vendor, an integrator or a person wrote.
_FREE = ("attributes", "metadata", "recording_url", "detail")
#: Every event of a case carries these, also where nothing is known yet.
_OF_A_CASE = (
    "case_code",
    "attempt_id",
    "reference",
    "agent",
    "destination",
    "started_at",
    "answered_at",
    "ended_at",
    "disposition",
)
_MOMENTS = {
    "call.started": "started_at",
    "call.answered": "answered_at",
    "call.ended": "ended_at",
    "call.hangup": "ended_at",
    "source.blind": "since",
    "source.quiet": "since",
    "source.recovered": "until",
    "record.suspended": "received_at",
}
#: Left out, largest promise last, where a document would be too large; what is left out is named.
_HEAVY = ("attributes", "metadata", "flags", "recording_url")


class Privacy(StrEnum):
    """What a receiver is shown of numbers and names."""

    FULL = "full"
    LAST_DIGITS = "last_digits"  #: the last four digits of a number, no name
    PSEUDONYM = "pseudonym"  #: the same word for the same number or name, which says nothing else
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Veil:
    """How numbers and names are shown. `key` makes pseudonyms: whoever has it can find the number behind one."""

    privacy: Privacy = Privacy.FULL
    key: bytes = b""


OPEN = Veil()


def event_id(event: Event) -> str:
    """The same for the same fact, ever: UUIDv5 (RFC 9562, 5.5) of its call, type and revision; of what makes it one
    where it is of no call."""
    key = event.snapshot.get("key")
    if key is None and event.call_id is not None:
        return str(uuid5(UUID(event.call_id), f"{event.type}/{event.revision}"))
    # One key may become true again, in a later round of a case: its moment tells the two apart.
    return str(uuid5(NAMESPACE, f"{event.type}/{key}/{event.stored_at.astimezone(UTC).isoformat()}"))


def rendered(event: Event, *, veil: Veil = OPEN) -> bytes:
    """The document as it is sent: UTF-8, at most MAX_BYTES."""
    document = cloud_event(event, veil=veil)
    body = orjson.dumps(document)
    for name in _to_leave_out(document["data"]):
        if len(body) <= MAX_BYTES:
            break
        heavy = document["data"].get(name)
        if heavy:
            document["data"][name] = None
            left_out = document["data"].setdefault("left_out", {})
            left_out[name] = {"bytes": len(orjson.dumps(heavy)), "see": _where(event)}
            body = orjson.dumps(document)
    return body


def _to_leave_out(shown: Mapping[str, Any]) -> Iterator[str]:
    """What of a document can go, in this order: at last the longest texts, which a stranger may have filled."""
    yield from _HEAVY
    texts = {name: value for name, value in shown.items() if isinstance(value, str) and name not in _OF_A_CASE}
    yield from sorted(texts, key=lambda name: len(texts[name].encode()), reverse=True)


def _where(event: Event) -> str:
    """Where the whole can be read."""
    if event.call_id is not None:
        return f"/api/v1/calls/{event.call_id}"
    return f"/api/v1/cases/{quote(_subject(event), safe='')}"


def cloud_event(event: Event, *, veil: Veil = OPEN) -> dict[str, Any]:
    """The document as a dictionary."""
    shown: dict[str, Any] = dict.fromkeys(_OF_A_CASE) if event.case_id is not None else {}
    shown |= {name: value for name, value in event.snapshot.items() if name != "key"}
    stored_at = event.stored_at.astimezone(UTC).isoformat()
    shown |= {"call_id": event.call_id, "case_id": event.case_id, "revision": event.revision, "stored_at": stored_at}
    return {
        "specversion": "1.0",
        "id": event_id(event),
        "source": f"/cdrhub/{event.source}",
        "type": event.type,
        "subject": _subject(event),
        "time": shown.get(_MOMENTS.get(event.type, "")) or stored_at,
        "datacontenttype": "application/json",
        "data": veiled(shown, veil=veil),
    }


def _subject(event: Event) -> str:
    return str(event.snapshot.get("case_code") or event.call_id or event.source)


def veiled(values: Mapping[str, Any], *, veil: Veil) -> dict[str, Any]:
    """`values` with numbers and names as the receiver may see them. What is free text or free form may hold either, so
    that only `full` shows it."""
    if veil.privacy is Privacy.FULL:
        return dict(values)
    shown = {name: value for name, value in values.items() if name not in _FREE}
    for name in (*_NUMBERS, *_NAMES):
        value = shown.get(name)
        if value:
            shown[name] = _veiled(str(value), veil, number=name in _NUMBERS)
    return shown


def _veiled(value: str, veil: Veil, *, number: bool) -> str | None:
    match veil.privacy:
        case Privacy.PSEUDONYM:
            print_ = hmac.new(veil.key, value.encode(), hashlib.sha256).hexdigest()
            return f"~{print_[:PSEUDONYM_CHARACTERS]}"
        case Privacy.LAST_DIGITS if number:
            return f"…{value[-min(SHOWN_DIGITS, len(value) // 2) :]}" if len(value) > 1 else "…"
        case _:
            return None
