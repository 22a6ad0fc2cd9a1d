"""Voicenter's decoder: one CDR is one update of one call. Pure.

Identity. The call is `ivruniqueid`, its leg the type: Click2Call leg1 and leg2 come as two CDRs with one id. Leg 2
decides (Authority.RECORD or DECISIVE over leg 1's PROVISIONAL), in whichever order they arrive. An answered leg 1 by
itself leaves the call open; an unanswered one means that the customer was not dialled.

Linked calls. `linked_key` is `OriginalIvrUniqueID`, else the call's own id. A transfer (XferCDR) names the call it came
from, but that call's own CDR does not know of the transfer: so every call stands in the group of its own id, and
transfers join it whenever they come. A call that was never transferred is a group of one.

Re-deliveries. Updates have no time of their own, so of two CDRs of one leg the fuller comes first in the fold and wins,
and the other fills what it leaves empty. A CDR that states `actualCallDuration` outranks one that does not, for its
times are exact. Columns that are computed here may differ between the two without a contradiction (`computed`).

Times. `time` is the start. With `actualCallDuration`, `duration` is the whole call: end = start + duration, answer =
end - talk. Without, `duration` is the talk: answer = start + ringing, end = answer + talk; what queue or ringing leave
open stays null (docs/model.md, times).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.disposition import Direction, Disposition, Outcome, Role, State
from cdrhub.model.numbers import NumberPlan, party
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.model.update import (
    MAX_TIME,
    Authority,
    CallUpdate,
    LegUpdate,
    bounded_key,
    storable,
    storable_json,
)
from cdrhub.sources.base import Decoder, refuse_damaged
from cdrhub.sources.voicenter import bodies, fields
from cdrhub.sources.voicenter.config import VoicenterSettings
from cdrhub.sources.voicenter.words import (
    DIRECTIONS,
    STATUSES,
    TYPES,
    UNKNOWN_STATUS,
    CdrType,
    Part,
    Status,
    folded,
)

CALL_LOG = "application/vnd.voicenter.calllog+json"
"""Content type of one row of the Call Log's CDR_LIST. A row is also known by its keys, for a file has no type."""

TOO_LONG = "too_long"
"""Record attribute, true for the kept beginning of a body that was over the limit."""

CURRENCY: Final = "ILS"
AGOROT_PER_SHEKEL: Final = 100
EXTERNAL_IVR: Final = "externalivr"  #: `representative_name` where no person but a machine answered
MAX_IVR_LAYERS: Final = 500
_MAX_EPOCH: Final = int(MAX_TIME.timestamp()) - 1
_COMPUTED: Final = frozenset({"linked_key", "wait_seconds", "ring_seconds", "talk_seconds"})

#: Known fields that are stored in columns and therefore not repeated in the attributes.
_IN_COLUMNS: Final = frozenset(
    {
        "caller", "target", "ivruniqueid", "type", "status", "did", "queueid", "queuename", "record", "price",
        "seconds_waiting_in_queue", "OriginalIvrUniqueID", "direction", "extenUser", "targetextension",
        "callerextension", "targetextension_name", "callerextension_name", "representative_name", "DepartmentName",
        "campaignName", "date",
    }
)  # fmt: skip


def decoder(settings: VoicenterSettings) -> Decoder:
    """The decoder of an account with these settings."""
    plan = settings.number_plan()
    zone = None if settings.epoch_timezone == "UTC" else ZoneInfo(settings.epoch_timezone)

    def decode(record: RawRecord) -> CallUpdate:
        if record.attributes.get(TOO_LONG) and digest_of(record.body) == record.digest:  # not repaired since
            raise DecodeError(
                Reason.TOO_LONG, f"the body is over the limit; its first {len(record.body)} bytes are kept"
            )
        refuse_damaged(record)
        body = bodies.parse(record.body)
        if len(body.items) != 1:
            raise DecodeError(Reason.UNPARSABLE, f"{len(body.items)} CDRs in one record")
        cdr = body.items[0]
        if not isinstance(cdr, Mapping):
            raise DecodeError(Reason.UNPARSABLE, "JSON, but no object")
        return _Reading(cdr, record=record, plan=plan, zone=zone, repaired=body.repaired).update()

    return decode


@dataclass(frozen=True, kw_only=True, slots=True)
class _Times:
    """The moments and spans of one CDR; None where they are not derivable."""

    started: datetime | None
    answered: datetime | None
    ended: datetime | None
    wait: int | None
    ring: int | None  #: of whoever was rung, answered or not
    talk: int | None
    exact: bool  #: from actualCallDuration


class _Reading:
    """One CDR being read: its fields, and what was noticed on the way."""

    def __init__(
        self, cdr: Mapping[str, Any], *, record: RawRecord, plan: NumberPlan, zone: ZoneInfo | None, repaired: bool
    ) -> None:
        self.digest = record.digest
        self.plan = plan
        self.zone = zone
        self.flags: set[str] = {"text_repaired"} if repaired else set()
        self.unmapped: dict[str, str] = {}
        self.call_log = record.content_type == CALL_LOG or fields.is_call_log_row(cdr)
        self.known, self.unknown = fields.read(cdr, call_log=self.call_log)
        self.unread: set[str] = set()  #: fields that could not be read and go to the attributes as sent

    def update(self) -> CallUpdate:
        key = self.text("ivruniqueid")
        if not key:
            raise DecodeError(Reason.MISSING_KEY, "no ivruniqueid")
        kind = self.cdr_type()
        status = self.status()
        direction = self.direction(kind)
        queue = self.queue(kind, status, direction=direction)
        disposition = status.disposition
        if kind.role is Role.VOICEMAIL and disposition is Disposition.ANSWERED:
            disposition = Disposition.VOICEMAIL
        times = self.times(disposition, queued=queue is not None)
        who = self.agent(kind, direction)

        values: dict[str, Any] = {
            "linked_key": bounded_key(self.text("OriginalIvrUniqueID") or key),
            "direction": direction,
            "type_raw": self.text("type") or self.text("CdrType"),
            "disposition_raw": self.text("status"),
            "started_at": times.started,
            "team": self.text("DepartmentName"),
            "campaign": self.text("campaignName"),
        }
        party(values, self.flags, "caller", self.text("caller"), self.plan)
        values["caller_name"] = self.text("callerextension_name")
        if kind.part is Part.OPENS:
            self._opening(values, times, disposition, who)
        else:
            self._whole(
                values,
                times,
                disposition,
                who,
                direction=direction,
                queued=queue is not None,
                opened=kind.part is Part.SECOND and kind.role is Role.CUSTOMER,
            )
        if queue is not None:
            values["queue_id"], values["queue"] = queue
        elif direction is Direction.OUTBOUND and kind.part is not Part.OPENS:
            values["queue_id"], values["queue"] = self.queue_named()

        storable_values = storable(values, self.flags)
        legs = self.legs(kind, status, times, who, disposition, direction=direction, queue=queue)
        attributes = self.attributes(kind, who)
        if kind.part in (Part.OPENS, Part.FIRST):
            authority = Authority.PROVISIONAL
        else:
            authority = Authority.DECISIVE if times.exact else Authority.RECORD
        return CallUpdate(
            call_key=bounded_key(key),
            kind=f"{'calllog' if self.call_log else 'cdr'}.{kind.key}",
            digest=self.digest,
            values=storable_values,
            legs=legs,
            attributes=attributes,
            flags=frozenset(self.flags),
            authority=authority,
            computed=_COMPUTED,
            final=_is_last(kind, disposition),
        )

    def _opening(self, values: dict[str, Any], times: _Times, disposition: Disposition, who: dict[str, str]) -> None:
        """Columns of a call of which only our agent's leg is known. Its callee is the agent, not the customer: a
        number that leg 2 must not inherit, so it stands in the leg alone."""
        values |= who
        values |= dict.fromkeys(("answered_at", "wait_seconds", "ring_seconds", "talk_seconds"))
        if disposition is not Disposition.ANSWERED:
            values["state"] = State.ENDED
            values["disposition"] = Disposition.NOT_DIALLED
            values["ended_at"] = times.ended
            values["talk_seconds"] = 0

    def _whole(
        self,
        values: dict[str, Any],
        times: _Times,
        disposition: Disposition,
        who: dict[str, str],
        *,
        direction: Direction,
        queued: bool,
        opened: bool,
    ) -> None:
        answered = disposition is Disposition.ANSWERED
        party(values, self.flags, "callee", self.text("target"), self.plan)
        values["callee_name"] = self.text("targetextension_name")
        values["did"] = self.text("did")
        values["state"] = State.ENDED
        values["disposition"] = disposition if self.text("status") else None
        values["answered_at"] = times.answered
        values["ended_at"] = times.ended
        values["wait_seconds"] = times.wait
        rang = disposition is not Disposition.NOT_DIALLED and (answered or not queued)
        values["ring_seconds"] = times.ring if rang else None
        values["talk_seconds"] = times.talk
        if opened:
            # The agent was on the line before the call that leg 2 tells of began: that is the agent's leg's time.
            values["connected_at"] = times.answered
        if answered or direction is Direction.OUTBOUND:
            values |= who
        recording = self.text("record")
        if recording.startswith(("http://", "https://")):
            values["recording_url"] = recording
        elif recording:
            self.unread.add("record")
        if (cost := self.cost()) is not None:
            values["cost"], values["currency"] = cost, CURRENCY

    # Words

    def cdr_type(self) -> CdrType:
        word = self.text("type") or self.text("CdrType")
        kind = TYPES.get(folded(word))
        if kind is not None:
            return kind
        if word:
            self.unmapped["type"] = word
        return CdrType(key=bounded_key(folded(word))[:64] or "unnamed", direction=Direction.UNKNOWN, role=Role.OTHER)

    def status(self) -> Status:
        word = self.text("status")
        status = STATUSES.get(folded(word))
        if status is not None:
            return status
        if word:
            self.unmapped["status"] = word
        return UNKNOWN_STATUS

    def direction(self, kind: CdrType) -> Direction:
        word = self.text("direction")
        said = DIRECTIONS.get(folded(word))
        if said is not None:
            return said
        if word:
            self.unmapped["direction"] = word
        return kind.direction

    # Who and where

    def agent(self, kind: CdrType, direction: Direction) -> dict[str, str]:
        """The agent's columns. Without a SIP code or a code of the representative nobody of ours is named: the
        `External IVR` has a name only."""
        if direction is Direction.OUTBOUND and kind.part is not Part.OPENS:
            sides = ("extenUser", "callerextension", "targetextension")
        else:
            sides = ("extenUser", "targetextension", "callerextension")
        code = next((said for side in sides if (said := self.text(side))), "")
        name = self.text("representative_name")
        who: dict[str, str] = {}
        if code:
            who["agent_id"] = who["agent_extension"] = code
        if name and folded(name) != EXTERNAL_IVR and (code or self.text("representative_code")):
            who["agent_name"] = name
        return who

    def queue_named(self) -> tuple[str | None, str | None]:
        """Id and name of the queue; the vendor's 0 is none."""
        number = self.text("queueid")
        return (None if number in ("", "0") else number), (self.text("queuename") or None)

    def queue(self, kind: CdrType, status: Status, *, direction: Direction) -> tuple[str | None, str | None] | None:
        """Id and name of the queue that the call passed through, None if it passed through none. An outgoing call may
        name a queue that it never waited in (a call-back)."""
        named = self.queue_named()
        spoken_of = named != (None, None) or "queue" in kind.key
        if not spoken_of or kind.part is Part.OPENS:
            return None
        if direction is Direction.OUTBOUND:
            waited = (self.seconds("seconds_waiting_in_queue") or 0) > 0
            if not waited and status.disposition is not Disposition.ABANDONED:
                return None
        return named

    # Times

    def times(self, disposition: Disposition, *, queued: bool) -> _Times:
        started = self.started()
        duration = self.seconds("duration")
        dialtime = self.seconds("dialtime")
        talked = self.seconds("actualCallDuration")
        wait = self.seconds("seconds_waiting_in_queue") if queued else None
        rung = self.seconds("actualCallDialtime")
        ring = dialtime if rung is None else rung
        joined = disposition is Disposition.ANSWERED
        known = disposition is not Disposition.UNKNOWN
        length: int | None = None
        if talked is not None:
            # The whole call; some accounts write the conversation only, which cannot be shorter than what it holds.
            if duration is not None:
                length = max(duration, talked if joined else (ring or 0))
            talk = talked if joined else (0 if known else None)
            answer = length - talked if joined and length is not None else None
        else:
            if dialtime is not None and duration is not None:
                length = dialtime + duration
                if disposition is Disposition.ABANDONED:
                    length += wait or 0
            if not joined:
                talk = 0 if known else None
            elif queued and duration is not None and duration <= (wait or 0):
                talk = None
            else:
                talk = duration
            answer = dialtime if joined and not queued else None
        return _Times(
            started=started,
            answered=_after(started, answer),
            ended=_after(started, length),
            wait=wait,
            ring=ring,
            talk=talk,
            exact=talked is not None,
        )

    def started(self) -> datetime | None:
        if self.call_log:
            return self._date()
        said = self.known.get("time")
        if said is None:
            return None
        epoch = fields.whole(said, limit=_MAX_EPOCH)
        if epoch is None:
            self.flags.add("value_dropped")
            return None
        moment = datetime.fromtimestamp(epoch, UTC)
        if self.zone is None:
            return moment
        local = moment.replace(tzinfo=self.zone)
        earlier, later = local.utcoffset(), local.replace(fold=1).utcoffset()
        if earlier is not None and later is not None and earlier > later:
            self.flags.add("time_ambiguous")
        return local.astimezone(UTC)

    def _date(self) -> datetime | None:
        """The Call Log's `Date`, which is GMT."""
        said = self.text("date")
        if not said:
            return None
        try:
            moment = datetime.fromisoformat(said)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.flags.add("value_dropped")
            self.unread.add("date")
            return None

    # Legs

    def legs(
        self,
        kind: CdrType,
        status: Status,
        times: _Times,
        who: dict[str, str],
        disposition: Disposition,
        *,
        direction: Direction,
        queue: tuple[str | None, str | None] | None,
    ) -> tuple[LegUpdate, ...]:
        legs: list[LegUpdate] = []
        if "IVR" in self.known:
            outcome = Outcome.LEFT if disposition is Disposition.IVR else Outcome.ANSWERED
            legs.append(self.leg("ivr", Role.IVR, outcome, {"offered_at": times.started}))
        if queue is not None:
            legs.append(self._queue_leg(queue, status, times))
        key = bounded_key(kind.key)
        customer = kind.role is Role.CUSTOMER or (kind.role is Role.AGENT and direction is Direction.OUTBOUND)
        if kind.part is Part.OPENS:
            legs.append(self._person(key, Role.AGENT, status, times, who | {"number": self.text("target")}))
        elif customer:
            legs.append(self._person(key, Role.CUSTOMER, status, times, {"number": self.text("target")}))
            if who and kind.part is not Part.SECOND and disposition is Disposition.ANSWERED:
                served = who | {"answered_at": times.answered, "left_at": times.ended, "talk_seconds": times.talk}
                legs.append(self.leg(f"{key}.agent", Role.AGENT, Outcome.ANSWERED, served))
        elif kind.role is Role.VOICEMAIL:
            left = Outcome.LEFT if disposition is Disposition.VOICEMAIL else Outcome.UNKNOWN
            legs.append(self.leg(key, Role.VOICEMAIL, left, {"left_at": times.ended}))
        elif kind.role is not Role.AGENT:
            legs.append(self._person(key, kind.role, status, times, who | {"number": self.text("target")}))
        elif who:
            legs.append(self._person(key, Role.AGENT, status, times, who))
        return tuple(legs)

    def _person(self, key: str, role: Role, status: Status, times: _Times, values: Mapping[str, Any]) -> LegUpdate:
        answered = status.person is Outcome.ANSWERED
        said: dict[str, Any] = {**values, "cause": self.text("status")}
        if status.disposition is Disposition.NOT_DIALLED:
            return self.leg(key, role, status.person, said)  # a number never dialled did not ring
        said["ring_seconds"] = times.ring
        if answered:
            said["offered_at"] = _after(times.answered, -times.ring) if times.ring is not None else None
            said["answered_at"] = times.answered
            said["left_at"] = times.ended
            said["talk_seconds"] = times.talk
        elif times.wait is None:
            said["offered_at"] = times.started
            said["left_at"] = _after(times.started, times.ring)
        return self.leg(key, role, status.person, said)

    def _queue_leg(self, queue: tuple[str | None, str | None], status: Status, times: _Times) -> LegUpdate:
        """The pass through the queue. Its entry is the answer (or the end) less the wait where that can be told, else
        the start of the call, which an IVR before the queue makes too early."""
        number, name = queue
        answered = status.queue is Outcome.ANSWERED
        left = times.answered if answered else times.ended
        if left is not None and times.wait is not None:
            entered = _after(left, -times.wait)
        else:
            entered = times.started
            left = _after(entered, times.wait) if left is None else left
        return self.leg(
            bounded_key(f"queue:{number or name or ''}"),
            Role.QUEUE,
            status.queue,
            {
                "queue_id": number,
                "queue": name,
                "team": self.text("DepartmentName"),
                "offered_at": entered,
                "answered_at": times.answered if answered else None,
                "left_at": left,
                "cause": self.text("status"),
            },
        )

    def leg(self, key: str, role: Role, outcome: Outcome, values: Mapping[str, Any]) -> LegUpdate:
        said = {name: value for name, value in values.items() if value is not None}
        return LegUpdate(
            leg_key=key,
            values=storable({"role": role, "outcome": outcome, **said}, self.flags),
            # Without a status the CDR does not say what became of the agent; another CDR of the call may.
            yields=role is Role.AGENT and not self.text("status"),
        )

    # The rest

    def attributes(self, kind: CdrType, who: Mapping[str, str]) -> dict[str, Any]:
        """All that no column holds, with the vendor's names. What leg 1 says of itself alone is prefixed, so that it
        neither hides nor contradicts what leg 2 says of itself."""
        out: dict[str, Any] = {}
        for name, value in self.known.items():
            if name not in _IN_COLUMNS or name in self.unread:
                out[name] = self._number_or(name, value)
        for side in ("extenUser", "targetextension", "callerextension"):
            if (code := self.text(side)) and code != who.get("agent_id"):
                out[side] = code
        if (name := self.text("representative_name")) and "agent_name" not in who:
            out["representative_name"] = name
            if folded(name) == EXTERNAL_IVR:
                self.flags.add("external_ivr")
        layers = out.get("IVR")
        if isinstance(layers, list) and len(layers) > MAX_IVR_LAYERS:
            out["IVR"] = layers[:MAX_IVR_LAYERS]
            self.flags.add("value_dropped")
        out |= self.unknown
        if kind.part is Part.OPENS:
            for name in ("record", "price", "target", "did"):
                if name in self.known:
                    out[name] = self._number_or(name, self.known[name])
            shared = {name: out.pop(name) for name in ("CustomData", "IVR", "aiData") if name in out}
            out = {f"leg1.{name}": value for name, value in out.items()} | shared
        if self.unmapped:
            self.flags.add("unmapped_word")
            out["unmapped"] = self.unmapped
        stored: dict[str, Any] = storable_json(out, self.flags)
        return stored

    def _number_or(self, name: str, value: Any) -> Any:
        """Counted fields as numbers whatever the format they came in, so that a re-delivery as a form does not look
        like another value."""
        if name in ("time", "duration", "dialtime", "actualCallDuration", "actualCallDialtime", "isAnswer", "price"):
            number = fields.whole(value, limit=_MAX_EPOCH)
            return value if number is None else number
        return value

    def cost(self) -> Decimal | None:
        """`price` is in agorot."""
        said = self.known.get("price")
        if said is None:
            return None
        try:
            price = Decimal(fields.text(said) if not isinstance(said, str) else said[: fields.MAX_DIGITS])
        except InvalidOperation:
            price = Decimal("NaN")
        if not price.is_finite():
            self.flags.add("value_dropped")
            self.unread.add("price")
            return None
        return price / AGOROT_PER_SHEKEL

    def text(self, name: str) -> str:
        value = self.known.get(name)
        return "" if value is None else fields.text(value)

    def seconds(self, name: str) -> int | None:
        value = self.known.get(name)
        if value is None:
            return None
        number = fields.whole(value)
        if number is None:
            self.flags.add("value_dropped")
            self.unread.add(name)
        return number


def _is_last(kind: CdrType, disposition: Disposition) -> bool:
    """Whether no other CDR of the call need be waited for."""
    if kind.part is Part.OPENS:
        return disposition is not Disposition.ANSWERED
    return kind.part is not Part.FIRST


def _after(moment: datetime | None, seconds: int | None) -> datetime | None:
    """`moment` and `seconds` later; None if either is unknown or the sum is no date."""
    if moment is None or seconds is None:
        return None
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None
