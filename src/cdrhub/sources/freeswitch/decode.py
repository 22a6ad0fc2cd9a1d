"""FreeSWITCH's messages as updates: events of the Event Socket (plain and JSON), CDR documents (JSON and XML).

The body tells which of the four it is, so a file may hold any of them. Pure; a value or a DecodeError.
"""

from __future__ import annotations

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.numbers import NumberPlan
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Decoded, Ignored, Sequence, bounded_key
from cdrhub.sources.base import Decoder
from cdrhub.sources.digits import SEQUENCE_DIGITS, whole
from cdrhub.sources.freeswitch import agents, callcenter, calls, documents
from cdrhub.sources.freeswitch.channel import Channel, DocumentChannel, EventChannel, inner_side, microseconds
from cdrhub.sources.freeswitch.config import FreeSwitchSettings
from cdrhub.sources.freeswitch.draft import MAX_WORD, Draft
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES, Headers, JsonHeaders, PlainHeaders
from cdrhub.sources.freeswitch.words import NOT_OF_A_CALL
from cdrhub.sources.json_object import read_object

_PARTED = "CHANNEL_UNBRIDGE"
#: Channel events that say something; CHANNEL_HANGUP comes before the times are known, CHANNEL_DESTROY repeats.
CHANNEL_EVENTS = frozenset(
    {"CHANNEL_CREATE", "CHANNEL_PROGRESS", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", _PARTED, "CHANNEL_HANGUP_COMPLETE"}
)
_NOT_OF_A_CALL_EVENTS = {"HEARTBEAT": "heartbeat", "BACKGROUND_JOB": "background_job"}


def decoder(settings: FreeSwitchSettings) -> Decoder:
    """The decoder for these settings."""
    plan, queue_only = settings.number_plan(), settings.calls == "queue"

    def decode(record: RawRecord) -> Decoded:
        body = record.body
        first = body[:64].lstrip()[:1]
        if first in documents.OPENING and len(body) > documents.MAX_DOCUMENT_BYTES:
            raise DecodeError(Reason.TOO_LONG, f"a document of {len(body)} bytes")
        if first == b"{":
            value, _ = read_object(body)
            if "Event-Name" in value:
                return _event(JsonHeaders(value), record, plan, queue_only=queue_only)
            return _document(documents.of_json(value, body), record, plan, queue_only=queue_only)
        if first == b"<":
            return _document(documents.of_xml(body), record, plan, queue_only=queue_only)
        if len(body) > MAX_EVENT_BYTES:
            raise DecodeError(Reason.TOO_LONG, f"an event of {len(body)} bytes")
        return _event(PlainHeaders(body), record, plan, queue_only=queue_only)

    return decode


def _event(headers: Headers, record: RawRecord, plan: NumberPlan, *, queue_only: bool) -> Decoded:
    name = headers.get("Event-Name")
    if name is None:
        raise DecodeError(Reason.UNPARSABLE, "no header Event-Name: neither an event nor a CDR document")
    if name == "CUSTOM":
        if headers.get("Event-Subclass") != "callcenter::info":
            return Ignored(why="other_event")
        action = headers.get("CC-Action")
        if action is not None and action in agents.ACTIONS:
            return agents.read_agent_state(action, headers, event_id=event_id_of(headers))
        if action not in callcenter.ACTIONS:
            return _of_no_call(action)
        session = headers.get("CC-Member-Session-UUID")
        if session is None:
            raise DecodeError(Reason.MISSING_KEY, f"{action} without CC-Member-Session-UUID")
        draft = Draft(session, action, plan)
        callcenter.fill(draft, action, headers)
    elif name in CHANNEL_EVENTS:
        channel = EventChannel(headers)
        key = calls.call_of(channel)
        if key is None:
            raise DecodeError(Reason.MISSING_KEY, f"{name} without Unique-ID")
        if (ignored := _of_none(channel, queue_only=queue_only)) is not None:
            return ignored
        if name == _PARTED and not calls.in_queue(channel):
            return Ignored(why="other_event")  # both channels go on to tell all of it
        draft = calls.read_channel(channel, key, name, plan, document=False)
    else:
        return Ignored(why=_NOT_OF_A_CALL_EVENTS.get(name, "other_event"))
    return _numbered(draft, headers, record)


def _of_none(channel: Channel, *, queue_only: bool) -> Ignored | None:
    """Why a channel belongs to no call, where it does not."""
    if inner_side(channel.variable("channel_name")) and not calls.in_queue(channel):
        return Ignored(why="loopback")
    return Ignored(why="not_queue_call") if queue_only and not calls.of_interest(channel) else None


def _numbered(draft: Draft, headers: Headers, record: RawRecord) -> CallUpdate:
    sequence = _sequence_of(headers)
    at = microseconds(headers.get("Event-Date-Timestamp"))
    return draft.update(digest=record.digest, at=at, sequence=sequence, event_id=_event_id(sequence))


def event_id_of(headers: Headers) -> str | None:
    """The id of an event, whatever its encoding and whoever hears it: Core-UUID (new at each start of the switch) and
    Event-Sequence. None where it lacks one."""
    return _event_id(_sequence_of(headers))


def _sequence_of(headers: Headers) -> Sequence | None:
    core, number = headers.get("Core-UUID"), whole(headers.get("Event-Sequence"), digits=SEQUENCE_DIGITS)
    return Sequence(core=core, number=number) if core and number is not None else None


def _event_id(sequence: Sequence | None) -> str | None:
    return bounded_key(f"{sequence.core}/{sequence.number}") if sequence is not None else None


def _of_no_call(action: str | None) -> Ignored:
    if action is not None and (why := NOT_OF_A_CALL.get(action)):
        return Ignored(why=why)
    if action is not None and action.startswith("agent-") and action.endswith("-get"):
        return Ignored(why="agent_setting")
    return Ignored(
        why="unknown_action", warning=f"callcenter::info with the unknown CC-Action {str(action)[:MAX_WORD]!r}"
    )


def _document(channel: DocumentChannel, record: RawRecord, plan: NumberPlan, *, queue_only: bool) -> Decoded:
    key = calls.call_of(channel)
    if key is None:
        raise DecodeError(Reason.MISSING_KEY, "a CDR document without the variable uuid")
    if (ignored := _of_none(channel, queue_only=queue_only)) is not None:
        return ignored
    draft = calls.read_channel(channel, key, "cdr", plan, document=True)
    return draft.update(digest=record.digest, at=channel.gone, sequence=None, event_id=None)
