"""Voicenter's decoder: one CDR is one update of one call. Pure.

Identity. The call is `ivruniqueid`, its leg the type: Click2Call leg1 and leg2 come as two CDRs with one id. Leg 2
decides (Authority.RECORD or DECISIVE over leg 1's PROVISIONAL), in whichever order they arrive. An unanswered leg 1
means that the customer was not dialled; one that was answered, or does not say whether it was, leaves the call open.

Linked calls. `linked_key` is `OriginalIvrUniqueID`, else the call's own id. A transfer (XferCDR) names the call it came
from, but that call's own CDR does not know of the transfer: so every call stands in the group of its own id, and
transfers join it whenever they come. A call that was never transferred is a group of one.

Re-deliveries. Updates have no time of their own, so of two CDRs of one leg the fuller comes first in the fold and wins,
and the other fills what it leaves empty. A CDR that states `actualCallDuration` outranks one that does not, for its
times are exact. Columns that are computed here may differ between the two without a contradiction (`computed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.disposition import Direction, Disposition, Role, State
from cdrhub.model.numbers import NumberPlan, party
from cdrhub.model.record import RawRecord
from cdrhub.model.update import (
    MAX_COST,
    Authority,
    CallUpdate,
    bounded_key,
    storable,
    storable_json,
)
from cdrhub.sources.base import Decoder
from cdrhub.sources.voicenter import bodies, fields
from cdrhub.sources.voicenter.config import VoicenterSettings
from cdrhub.sources.voicenter.legs import Legs
from cdrhub.sources.voicenter.reading import Reading
from cdrhub.sources.voicenter.times import MAX_EPOCH, Times, times_of
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

T = TypeVar("T")

CURRENCY: Final = "ILS"
AGOROT_PER_SHEKEL: Final = 100
EXTERNAL_IVR: Final = "externalivr"  #: `representative_name` where no person but a machine answered
MAX_IVR_LAYERS: Final = 500
_AGENT_MAY_BE_THERE: Final = frozenset({Disposition.ANSWERED, Disposition.UNKNOWN})
"""What a first leg ended as after which the customer is, or may have been, dialled."""
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

#: Those of them that a first leg says of itself: no column of the call holds them.
_OF_LEG_1: Final = (
    "record", "price", "target", "did", "targetextension_name", "queueid", "queuename", "seconds_waiting_in_queue",
)  # fmt: skip


def decoder(settings: VoicenterSettings) -> Decoder:
    """The decoder of an account with these settings."""
    plan = settings.number_plan()
    zone = None if settings.epoch_timezone == "UTC" else ZoneInfo(settings.epoch_timezone)

    def decode(record: RawRecord) -> CallUpdate:
        body = bodies.parse(record.body)
        if len(body.items) != 1:
            raise DecodeError(Reason.UNPARSABLE, f"{len(body.items)} CDRs in one record")
        cdr = body.items[0]
        if not isinstance(cdr, Mapping):
            raise DecodeError(Reason.UNPARSABLE, "JSON, but no object")
        return _CallReading(cdr, record=record, plan=plan, zone=zone, repaired=body.repaired).update()

    return decode


class _CallReading(Reading):
    """A CDR being read as an update of its call."""

    def __init__(
        self, cdr: Mapping[str, Any], *, record: RawRecord, plan: NumberPlan, zone: ZoneInfo | None, repaired: bool
    ) -> None:
        super().__init__(cdr, record=record, zone=zone, repaired=repaired)
        self.plan = plan

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
        times = times_of(self, disposition, queued=queue is not None)
        who = self.agent(kind, direction)

        values: dict[str, Any] = {
            "linked_key": bounded_key(self.text("OriginalIvrUniqueID") or key),
            "direction": direction,
            "type_raw": self.type_word(),
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
        legs = Legs(self, status, times).of_call(kind, disposition, direction=direction, who=who, queue=queue)
        attributes = self.attributes(kind, who, queued=queue is not None)
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

    def _opening(self, values: dict[str, Any], times: Times, disposition: Disposition, who: dict[str, str]) -> None:
        """Columns of a call of which only our agent's leg is known. Its callee is the agent, and leg 2 must not inherit
        that number: so it stands in the leg alone."""
        values |= who
        values |= dict.fromkeys(("answered_at", "wait_seconds", "ring_seconds", "talk_seconds"))
        if disposition not in _AGENT_MAY_BE_THERE:
            values["state"] = State.ENDED
            values["disposition"] = Disposition.NOT_DIALLED
            values["ended_at"] = times.ended
            values["talk_seconds"] = 0

    def _whole(
        self,
        values: dict[str, Any],
        times: Times,
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
        word = self.type_word()
        unknown = CdrType(key=bounded_key(folded(word))[:64] or "unnamed", direction=Direction.UNKNOWN, role=Role.OTHER)
        return self._mapped("type", word, TYPES) or unknown

    def type_word(self) -> str:
        """The vendor's word for the type: a push's, else that of a row of the Call Log."""
        return self.text("type") or self.text("CdrType")

    def status(self) -> Status:
        return self._mapped("status", self.text("status"), STATUSES) or UNKNOWN_STATUS

    def direction(self, kind: CdrType) -> Direction:
        return self._mapped("direction", self.text("direction"), DIRECTIONS) or kind.direction

    def _mapped(self, what: str, word: str, meanings: Mapping[str, T]) -> T | None:
        """What one of the vendor's words means; None for no word, and for an unknown one, which is noted."""
        found = meanings.get(folded(word))
        if found is None and word:
            self.unmapped[what] = word
        return found

    # Who and where

    def agent(self, kind: CdrType, direction: Direction) -> dict[str, str]:
        """The agent's columns. A name without a SIP code or a code of the representative is nobody of ours: the
        `External IVR` has one."""
        if direction is Direction.OUTBOUND and kind.part is not Part.OPENS:
            sides = ("extenUser", "callerextension", "targetextension")
        else:
            sides = ("extenUser", "targetextension", "callerextension")
        code = next((word for side in sides if (word := self.text(side))), "")
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

    # The rest

    def attributes(self, kind: CdrType, who: Mapping[str, str], *, queued: bool) -> dict[str, Any]:
        """All that no column holds, by the vendor's names. Those of leg 1 get a prefix, so that they neither hide nor
        contradict those of leg 2."""
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
        if not queued and self.text("seconds_waiting_in_queue") not in ("", "0"):
            out["seconds_waiting_in_queue"] = self.known["seconds_waiting_in_queue"]
        out |= self.unknown
        if kind.part is Part.OPENS:
            for name in _OF_LEG_1:
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
        """Counted fields as numbers, whatever the format of the push: else a re-delivery as a form would look like
        another value."""
        if name in ("time", "duration", "dialtime", "actualCallDuration", "actualCallDialtime", "isAnswer", "price"):
            number = fields.whole(value, limit=MAX_EPOCH)
            return value if number is None else number
        return value

    def cost(self) -> Decimal | None:
        """`price` is in agorot."""
        stated = self.known.get("price")
        if stated is None:
            return None
        try:
            price = Decimal(fields.text(stated) if not isinstance(stated, str) else stated[: fields.MAX_DIGITS])
        except InvalidOperation:
            price = Decimal("NaN")
        if not price.is_finite() or price.copy_abs() >= MAX_COST * AGOROT_PER_SHEKEL:
            self.flags.add("value_dropped")
            self.unread.add("price")
            return None
        return price / AGOROT_PER_SHEKEL


def _is_last(kind: CdrType, disposition: Disposition) -> bool:
    """Whether no other CDR of the call need be waited for."""
    if kind.part is Part.OPENS:
        return disposition not in _AGENT_MAY_BE_THERE
    return kind.part is not Part.FIRST
