"""Enigma's CDRs as updates: `{"type": "cdr", "payload": {…}}`, one per number tried, at the call's end.

Campaign CDRs of all revisions (https://tforge.atlassian.net/wiki/pages/viewpage.action?pageId=3441754) and those of
Click2Dial (…/spaces/EPD/pages/3441750). An extension means that an agent was joined; without one a customer who hung
up had picked up and was waiting. Neither the answer's time nor the end's is in the message: what is certain is a
lower bound of the end, in `attributes`.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from datetime import UTC, datetime, timedelta
from typing import Any

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.numbers import NumberPlan, party
from cdrhub.model.record import RawRecord
from cdrhub.model.update import (
    MAX_SECONDS,
    MAX_TIME,
    MIN_TIME,
    CallUpdate,
    Decoded,
    Ignored,
    LegUpdate,
    bounded_key,
    storable,
    storable_json,
)
from cdrhub.sources.base import Decoder
from cdrhub.sources.enigma.config import EnigmaSettings
from cdrhub.sources.json_object import read_object

MAX_BODY_BYTES = 1 << 18
MAX_WORD = 64  #: characters kept of a word that nobody knows
CLICK2DIAL = "click-dial"  #: `ref` of a Click2Dial CDR from v3.0.0; before that it is the client's number

QUEUE_CALLS = "queue_calls"  #: the dialler's orders to itself
#: Other messages that share the list: published types, and the dialler's own.
OTHER_TYPES = frozenset({"status", "stats", "call", "dial_preview", QUEUE_CALLS, "call_update"})
WRONG_REDIS = (
    "queue_calls is on this list: it is the dialler's own Redis, and what is taken from it is taken from the dialler; "
    "check the keys redis and keys of this source"
)

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_HUNG_UP = "hung_up"  #: answered if an agent was joined, else abandoned
_REACHED = Disposition.ANSWERED
_END_REASONS: dict[str, str] = {
    "hungup": _HUNG_UP,
    "callee_hungup": _HUNG_UP,
    "agent_hungup": _REACHED,
    "closed": _REACHED,
    "retry": _REACHED,
    "remove_number": _REACHED,
    "voicemail": Disposition.VOICEMAIL,
    "busy": Disposition.BUSY,
    "reject": Disposition.REJECTED,
    "timeout": Disposition.NO_ANSWER,
    "error": Disposition.FAILED,
    "failed": Disposition.FAILED,
    # Older spellings.
    "hangup": _HUNG_UP,
    "callee_hangup": _HUNG_UP,
    "hangup_command": _HUNG_UP,
    "agent_hangup": _REACHED,
    # Click2Dial before v2.3.0: Asterisk's DIALSTATUS.
    "answer": _REACHED,
    "noanswer": Disposition.NO_ANSWER,
    "cancel": Disposition.CANCELLED,
    "congestion": Disposition.FAILED,
    "chanunavail": Disposition.FAILED,
    "dontcall": Disposition.REJECTED,
    "torture": Disposition.REJECTED,
    "invalidargs": Disposition.FAILED,
}
_DIRECTIONS = {"inbound": Direction.INBOUND, "outbound": Direction.OUTBOUND}
_AGENT_ENDS = frozenset({"agent_hungup", "agent_hangup", "closed", "retry", "remove_number"})
_CUSTOMER_ENDS = frozenset({"callee_hungup", "callee_hangup"})
#: Known not to be in the message, whatever the legs look like.
_NEVER_TOLD = dict.fromkeys(("answered_at", "connected_at", "ended_at", "ring_seconds", "wait_seconds"))
_COLUMNS = frozenset(
    {"extension", "number", "client_number", "dial_number", "call_ref", "contact_ref", "dialed_at", "end_reason"}
    | {"call_dir", "recording_url", "ref", "end_code"}
)


def decoder(settings: EnigmaSettings) -> Decoder:
    """The decoder for these settings."""
    plan = settings.number_plan()

    def decode(record: RawRecord) -> Decoded:
        message, repaired = _object(record.body)
        kind = message.get("type")
        if kind != "cdr":
            return _other(kind)
        payload = message.get("payload")
        if not isinstance(payload, dict):
            raise DecodeError(Reason.UNPARSABLE, "a message of type cdr without a payload")
        return _update(payload, record, plan, flags={"text_repaired"} if repaired else set())

    return decode


def _object(body: bytes) -> tuple[dict[str, Any], bool]:
    """The message, and whether bytes that are not UTF-8 were replaced in it."""
    if len(body) > MAX_BODY_BYTES:
        raise DecodeError(Reason.TOO_LONG, f"a message of {len(body)} bytes")
    return read_object(body.removeprefix(BOM_UTF8))


def _other(kind: object) -> Ignored:
    if kind is None:
        return Ignored(why="type_null")
    known = isinstance(kind, str) and kind in OTHER_TYPES
    return Ignored(why=f"type_{kind}" if known else "type_other", warning=WRONG_REDIS if kind == QUEUE_CALLS else None)


def _update(payload: dict[str, Any], record: RawRecord, plan: NumberPlan, *, flags: set[str]) -> CallUpdate:
    call_ref = _text(payload.get("call_ref"))
    if not call_ref:
        raise DecodeError(Reason.MISSING_KEY, "a CDR without call_ref")
    unmapped: dict[str, str] = {}
    attributes = {name: value for name, value in payload.items() if name not in _COLUMNS and value not in (None, "")}

    dialed_at = _moment(payload.get("dialed_at"))
    seconds = _seconds(payload.get("call_time"), flags)
    extension = _text(payload.get("extension"))
    reason = _text(payload.get("end_reason"))
    ref, number = _text(payload.get("ref")), _text(payload.get("number") or payload.get("client_number"))
    click2dial = ref == CLICK2DIAL or (not number and "hold_time" in payload)
    if click2dial and not number:
        number = ref
    disposition = _disposition(reason, extension=extension, seconds=seconds, click2dial=click2dial, unmapped=unmapped)
    if dialed_at is not None and MIN_TIME <= dialed_at < MAX_TIME and seconds:
        attributes["ended_at_lower_bound"] = (dialed_at + timedelta(seconds=seconds)).isoformat()

    direction = _text(payload.get("call_dir")).lower()
    inbound = direction == "inbound"
    if direction and direction not in _DIRECTIONS:
        unmapped["call_dir"] = direction[:MAX_WORD]
    shown = _text(payload.get("dial_number"))
    answered = disposition == Disposition.ANSWERED
    values: dict[str, Any] = {
        "direction": _DIRECTIONS.get(direction, Direction.UNKNOWN),
        "state": State.ENDED,
        "disposition": disposition,
        "disposition_raw": reason,
        "cause": _text(payload.get("end_code")),
        "ended_by": _ended_by(reason, inbound=inbound),
        "campaign": "" if click2dial else ref,
        "contact_ref": _text(payload.get("contact_ref")),
        "started_at": dialed_at,
        "recording_url": _text(payload.get("recording_url")),
        "talk_seconds": seconds if answered else 0,
        **_NEVER_TOLD,
    }
    party(values, flags, "caller", number if inbound else shown, plan)
    party(values, flags, "callee", shown if inbound else number, plan)
    values["did" if inbound else "dialed_number"] = shown if inbound else number
    legs: tuple[LegUpdate, ...] = ()
    if extension and answered:
        legs = (_agents_leg(extension, seconds, flags),)
    elif extension:
        attributes["extension"] = extension
    if unmapped:
        flags.add("unmapped_word")
        attributes["unmapped"] = unmapped
    return CallUpdate(
        call_key=bounded_key(call_ref),
        kind="cdr",
        digest=record.digest,
        values=storable(values, flags),
        legs=legs,
        attributes=storable_json(attributes, flags),
        flags=frozenset(flags),
        at=dialed_at,
        final=True,
    )


def _agents_leg(extension: str, seconds: int | None, flags: set[str]) -> LegUpdate:
    """The leg of the agent who talked for so many seconds."""
    leg: dict[str, Any] = {
        "role": Role.AGENT,
        "outcome": Outcome.ANSWERED,
        "number": extension,
        "agent_id": extension,
        "agent_extension": extension,
        "talk_seconds": seconds,
        "ring_seconds": None,
    }
    return LegUpdate(leg_key=bounded_key(extension), values=storable(leg, flags))


def _disposition(
    reason: str, *, extension: str, seconds: int | None, click2dial: bool, unmapped: dict[str, str]
) -> Disposition:
    """What became of the call. In a campaign an extension means that an agent was joined; in Click2Dial it is the
    agent who asked for the call, so the end's reason decides, and a hang-up without talk was one before an answer."""
    word = _END_REASONS.get(reason.lower())
    if word is None and reason:
        unmapped["end_reason"] = reason[:MAX_WORD]
    if word == Disposition.VOICEMAIL:
        return Disposition.VOICEMAIL
    if click2dial and word is not None:
        if word == _HUNG_UP:
            return Disposition.ANSWERED if seconds else Disposition.CANCELLED
        return Disposition(word)
    if extension:
        return Disposition.ANSWERED
    if word is None:
        return Disposition.UNKNOWN
    return Disposition.ABANDONED if word == _HUNG_UP else Disposition(word)


def _ended_by(reason: str, *, inbound: bool) -> EndedBy:
    word = reason.lower()
    if word in _AGENT_ENDS:
        return EndedBy.AGENT
    if word in _CUSTOMER_ENDS:
        return EndedBy.CALLER if inbound else EndedBy.CALLEE
    return EndedBy.UNKNOWN


def _text(value: object) -> str:
    """A value as text: the dialler sends numbers where its pages show text. A number with a zero fraction is whole."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _moment(value: object) -> datetime | None:
    """Unix seconds, UTC, as a number or text, or ISO 8601 (UTC without an offset); DecodeError otherwise."""
    if value in (None, ""):
        return None
    text = _text(value)
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise DecodeError(Reason.BAD_VALUE, f"dialed_at {text[:MAX_WORD]!r} is no time") from error


def _seconds(value: object, flags: set[str]) -> int | None:
    text = _text(value)
    if not text:
        return None
    try:
        seconds = int(float(text))
    except (ValueError, OverflowError):
        seconds = -1
    if 0 <= seconds <= MAX_SECONDS:
        return seconds
    flags.add("value_dropped")
    return None
