"""The decoder of 3CX: one line of a call detail record is one observation of one call.

The vendor's pages: https://www.3cx.com/blog/docs/cdr-call-data-records/ (the modes) and the field list reproduced at
https://www.tim4biz.com/pbx/3cx/. A line is never stored in wrong columns: a count that fits no layout, or a time,
duration or historyid that is none, raises DecodeError. The call is known by historyid and callid; lines that share them
and differ are legs of one call. Where the layout has only one of the two, that one; without both the record's digest,
and then two equal calls cannot be told apart.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from cdrhub.model.derive import whole_seconds
from cdrhub.model.disposition import Direction, Disposition, EndedBy, State
from cdrhub.model.numbers import NumberPlan, party
from cdrhub.model.record import RawRecord
from cdrhub.model.update import (
    MAX_ATTRIBUTE_TEXT,
    MAX_TEXT,
    CallUpdate,
    LegUpdate,
    bounded_key,
    storable,
    storable_json,
)
from cdrhub.sources.base import Decoder
from cdrhub.sources.threecx.callid import milliseconds, offset_minutes
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import Line, Reader
from cdrhub.sources.threecx.legs import Legs
from cdrhub.sources.threecx.parties import INSIDE_PREFIX, NOBODY, Directory, Party, missed_agents
from cdrhub.sources.threecx.times import Times, misplaced, read_times, read_utc, seconds_of
from cdrhub.sources.threecx.verdict import Course, Verdict, handed_to_a_machine, judge, judge_click
from cdrhub.sources.threecx.words import (
    CHANGES,
    ENDINGS,
    UNKNOWN_ENDING,
    Change,
    Ending,
    Kind,
    Side,
    change_of,
    ending_of,
)

REVISION = 6
"""Rises when the decoder gives another call for the same line."""

AT_ONCE = timedelta(seconds=1)  #: no person picks up as fast as this; queues and IVRs do
_CLICK_CHAIN = "MakeCall"
_ID = re.compile(r"[\w.-]+")  #: a historyid is a number; what has blanks or quotes in it has something else before it

#: Fields that no column holds; they are kept as sent.
_KEPT = (
    ("duration", Line._fields.index("duration")),
    ("final-number", Line._fields.index("final_number")),
    ("final-dn", Line._fields.index("final_dn")),
    ("bill-code", Line._fields.index("bill_code")),
    ("bill-rate", Line._fields.index("bill_rate")),
    ("bill-name", Line._fields.index("bill_name")),
    ("chain", Line._fields.index("chain")),
    ("missed-queue-calls", Line._fields.index("missed_queue_calls")),
)


def decoder(settings: ThreeCXSettings) -> Decoder:
    """The decoder of a PBX's lines under `settings`: pure, and quick for lines of the usual form."""
    return _LineDecoder(settings)


class _LineDecoder:
    def __init__(self, settings: ThreeCXSettings) -> None:
        self._reader = Reader(settings.layouts(), standard=settings.fields is None)
        self._directory = Directory(settings.entries, extensions=settings.extensions)
        self._plan: NumberPlan = settings.number_plan()
        self._zone = None if settings.timezone == "UTC" else ZoneInfo(settings.timezone)
        #: Without time-answered in the layout a duration says that something picked up: it is empty otherwise.
        self._without_answered = settings.fields is not None and "time-answered" not in settings.fields

    def __call__(self, record: RawRecord) -> CallUpdate:
        line = self._reader.read(record.body)
        flags: set[str] = set()
        attributes: dict[str, Any] = {}
        for name, column in _KEPT:
            if text := line[column]:
                attributes[name] = text
        duration = seconds_of(line.duration) if line.duration else None
        callid_ms = milliseconds(line.callid) if line.callid else None
        times = self._times(line, duration, callid_ms, flags)
        started_at, connected_at, ended_at = times.started_at, times.answered_at, times.ended_at
        if callid_ms is not None and started_at is not None and (off := offset_minutes(callid_ms, started_at)):
            flags.add("clock_suspect")
            attributes["clock_offset_minutes"] = off

        values: dict[str, Any] = {
            "state": State.ENDED,
            "disposition_raw": line.reason_terminated,
            "cause": line.reason_changed,
            "dialed_number": line.dial_no,
        }
        if line.to_type or line.from_type:
            values["type_raw"] = ">".join(filter(None, (line.from_type, line.to_type, line.final_type)))
        if started_at is not None:
            values["started_at"] = started_at
        if connected_at is not None:
            values["connected_at"] = connected_at
        if ended_at is not None:
            values["ended_at"] = ended_at
        if line.bill_cost:
            _cost(line.bill_cost, values, flags, attributes)

        course = self._course(line, times, duration, flags, attributes)
        if course.src.kind is Kind.CLICK:
            legs = self._click(line, course, times, values=values, flags=flags)
        else:
            legs = self._call(line, course, times, duration, values=values, flags=flags, attributes=attributes)
        return CallUpdate(
            call_key=_call_key(line, record),
            kind=f"line {line.time_start} {line.from_dn} {line.to_dn}"[:MAX_TEXT],
            digest=record.digest,
            values=storable(values, flags),
            legs=legs,
            attributes=_clean(attributes, flags),
            flags=frozenset(flags),
            at=started_at or ended_at,
            event_id=record.event_id,
        )

    def _times(self, line: Line, duration: int | None, callid_ms: int | None, flags: set[str]) -> Times:
        start, answered, end = line.time_start, line.time_answered, line.time_end
        if self._zone is None:
            return Times(
                read_utc("time-start", start) if start else None,
                read_utc("time-answered", answered) if answered else None,
                read_utc("time-end", end) if end else None,
                ambiguous=False,
            )
        times = read_times(start, answered, end, zone=self._zone, duration=duration, callid_milliseconds=callid_ms)
        if times.ambiguous:
            flags.add("time_ambiguous")
        return times

    def _course(
        self, line: Line, times: Times, duration: int | None, flags: set[str], attributes: dict[str, Any]
    ) -> Course:
        directory = self._directory
        change, ending = CHANGES.get(line.reason_changed), ENDINGS.get(line.reason_terminated)
        if change is None or ending is None:
            change, ending = _rarer_words(line, flags, attributes)
        if line.from_no or line.from_type:
            src = directory.party(line.from_type, line.from_no, line.from_dn)
        else:
            src = directory.origin(line.from_dn)
        if line.to_no or line.to_type:
            to = directory.party(line.to_type, line.to_no, line.to_dn)
            if not to.dn and not to.number:
                to = to._replace(number=line.dial_no[:MAX_TEXT], dn=line.dial_no[:MAX_TEXT])
        elif line.to_dn:
            to = directory.reached(line.to_dn, line.dial_no)
        else:
            to = directory.dialled(line.dial_no)
        if line.final_number or line.final_dn:
            final = directory.party(line.final_type, line.final_number, line.final_dn)
        else:
            final = NOBODY
        if src.unmapped or to.unmapped or final.unmapped:
            for name, said in (("from-type", src), ("to-type", to), ("final-type", final)):
                if said.unmapped:
                    _unmapped(name, said.unmapped, flags, attributes)
        if src.kind is Kind.CLICK and line.from_dn.isdigit():  # v20: the agent stands there as the caller
            src = directory.party("Extension", f"Ext.{line.from_dn}", line.from_dn)
        between: list[Party] = []
        if line.chain.count(";") > 2 or "," in line.chain:
            between, cut = directory.between(line.chain, known=(src, to, final))
            if cut:
                flags.add("legs_cut")
        started_at, connected_at = times.started_at, times.answered_at
        return Course(
            src=src,
            to=to,
            final=final,
            between=between,
            change=change,
            ending=ending,
            connected=connected_at is not None or (self._without_answered and duration is not None),
            at_once=started_at is not None and connected_at is not None and connected_at - started_at <= AT_ONCE,
            no_talk=duration == 0,
            dialled_outside=to.kind is Kind.IVR and directory.is_outside(line.dial_no),
        )

    def _call(
        self,
        line: Line,
        course: Course,
        times: Times,
        duration: int | None,
        *,
        values: dict[str, Any],
        flags: set[str],
        attributes: dict[str, Any],
    ) -> tuple[LegUpdate, ...]:
        """Everything of a call that a person dialled."""
        verdict = judge(course)
        src, to = course.src, verdict.to
        _state(course, verdict, values, flags)
        src_name, to_name = line.from_dispname, line.to_dispname
        if src_name and src.kind is Kind.OUTSIDE:
            src_name = _caller_name(src_name, src.number, attributes)
        if to_name in {to.number, line.dial_no}:
            to_name = ""
        values["caller_name"], values["callee_name"] = src_name or src.name, to_name or to.name
        self._number(values, flags, "caller", src.number)
        if verdict.before_the_rest and handed_to_a_machine(course):
            flags.add("talk_includes_wait")
            values["talk_seconds"] = duration = None
        legs = Legs(course, verdict, times, duration, flags)
        if verdict.direction is Direction.OUTBOUND:
            customer = to.number if to.kind is Kind.OUTSIDE else line.dial_no
            self._number(values, flags, "callee", customer)
            if (trunk := line.to_dn) and to.kind is Kind.OUTSIDE and trunk not in (to.number, line.dial_no, "EndCall"):
                values["trunk"] = trunk
            if "makecall" in line.from_no.lower() or _CLICK_CHAIN in line.chain:
                values["ring_seconds"] = None
            return legs.of_outbound(customer, src_name=src_name, final_name=line.final_dispname)
        self._number(values, flags, "callee", to.number or line.dial_no)
        if src.kind is Kind.OUTSIDE:
            values["trunk"] = src.dn
        if verdict.first is to and course.change is Change.REPLACED_DST:
            values["talk_seconds"] = duration
        elif verdict.first is not None and verdict.first.kind in (Kind.GROUP, Kind.OUTSIDE):
            flags.add("agent_unknown" if verdict.first.kind is Kind.GROUP else "answered_outside")
            if not verdict.after_machine:
                _answered_nameless(verdict, times, duration, values)
        missed: list[str] = []
        if line.missed_queue_calls:
            missed, cut = missed_agents(line.missed_queue_calls)
            if cut:
                flags.add("legs_cut")
        found = legs.of_call(missed, to_name=to_name, final_name=line.final_dispname)
        if not found and verdict.disposition is not Disposition.UNKNOWN:
            values["talk_seconds"] = 0
        return found

    def _click(
        self,
        line: Line,
        course: Course,
        times: Times,
        *,
        values: dict[str, Any],
        flags: set[str],
    ) -> tuple[LegUpdate, ...]:
        """Everything of a call that a click or an API started: from-* is `MakeCall`, to-* the agent."""
        customer = course.final
        if customer.kind is Kind.NOBODY:
            outside = [party for party in course.between if party.kind is Kind.OUTSIDE]
            customer = outside[-1] if outside else NOBODY
        course = course._replace(between=[party for party in course.between if party is not customer])
        verdict = judge_click(course, customer)
        _state(course, verdict, values, flags)
        self._number(values, flags, "caller", course.to.number)
        self._number(values, flags, "callee", customer.number)
        values["caller_name"], values["callee_name"] = line.to_dispname or course.to.name, line.final_dispname
        values["answered_at"] = None  # time-answered is the agent's; when the customer answered is not said
        values["ring_seconds"] = None
        legs = Legs(course, verdict, times, None, flags)
        return legs.of_click(customer, agent_name=line.to_dispname, customer_name=line.final_dispname)

    def _number(self, values: dict[str, Any], flags: set[str], side: str, number: str) -> None:
        if number.startswith(INSIDE_PREFIX):
            values[f"{side}_number"] = number
        elif number:
            party(values, flags, side, number[:MAX_TEXT], self._plan)


def _state(course: Course, verdict: Verdict, values: dict[str, Any], flags: set[str]) -> None:
    values["direction"] = verdict.direction
    values["disposition"] = verdict.disposition
    if (ended_by := _ended_by(course, verdict)) is not None:
        values["ended_by"] = ended_by
    if verdict.after_machine:
        flags.add("talk_includes_wait")
    if verdict.assumed:
        flags.add("kind_assumed")
    if verdict.disposition is Disposition.UNKNOWN:
        values["talk_seconds"] = None
    if not verdict.reached and (
        course.ending.elsewhere or course.change is Change.PICKED_UP or course.to.kind is Kind.PICKUP
    ):
        flags.add("picked_up_elsewhere")


def _answered_nameless(verdict: Verdict, times: Times, duration: int | None, values: dict[str, Any]) -> None:
    """The times of a direct call that was answered without a person of ours in the legs to derive them from."""
    values["answered_at"], values["talk_seconds"] = times.answered_at, duration
    if verdict.first is verdict.to and times.started_at is not None and times.answered_at is not None:
        values["ring_seconds"] = whole_seconds(times.started_at, times.answered_at)
    else:
        values["ring_seconds"] = None  # when the last party began to ring is not said


def _ended_by(course: Course, verdict: Verdict) -> EndedBy | None:
    """Who hung up: where it was a person of ours, `agent`, except the caller of an internal call."""
    side = course.ending.side
    if side is Side.UNSAID:
        return None
    if side is Side.SYSTEM:
        return EndedBy.SYSTEM
    if course.src.kind is Kind.CLICK:
        if side is Side.SRC and verdict.direction is not Direction.INTERNAL:
            return EndedBy.CALLEE if verdict.reached else EndedBy.CALLER
        return EndedBy.AGENT
    if verdict.direction is Direction.OUTBOUND:
        if side is Side.SRC:
            return EndedBy.AGENT
        return EndedBy.CALLEE if course.to.kind is Kind.OUTSIDE else EndedBy.SYSTEM
    if side is Side.SRC:
        return EndedBy.CALLER
    if verdict.first is not None and verdict.first.kind is Kind.OUTSIDE:
        return EndedBy.CALLEE
    return EndedBy.AGENT if verdict.reached or verdict.to.kind is Kind.PERSON else EndedBy.SYSTEM


def _rarer_words(line: Line, flags: set[str], attributes: dict[str, Any]) -> tuple[Change, Ending]:
    """The meaning of words that are not spelled as usual, or unknown, or not there."""
    change, ending = change_of(line.reason_changed), ending_of(line.reason_terminated)
    if change is Change.UNKNOWN:
        _unmapped("reason-changed", line.reason_changed, flags, attributes)
    if ending is None:
        ending = UNKNOWN_ENDING
        if line.reason_terminated:
            _unmapped("reason-terminated", line.reason_terminated, flags, attributes)
    return change, ending


def _unmapped(name: str, word: str, flags: set[str], attributes: dict[str, Any]) -> None:
    flags.add("unmapped_word")
    attributes.setdefault("unmapped", {})[name] = word[:MAX_TEXT]


def _caller_name(sent: str, number: str, attributes: dict[str, Any]) -> str:
    """The caller's name in from-dispname, which a trunk call fills with `<number>:<inbound rule>`."""
    if sent == number:
        return ""
    if number and sent.startswith(f"{number}:"):
        attributes["inbound-rule"] = sent[len(number) + 1 :]
        return ""
    return sent


def _cost(text: str, values: dict[str, Any], flags: set[str], attributes: dict[str, Any]) -> None:
    """bill-cost: in the currency of the PBX's own rates, which the line does not name."""
    try:
        values["cost"] = Decimal(text[:MAX_TEXT])
    except InvalidOperation:
        flags.add("value_dropped")
        attributes["bill-cost"] = text


def _call_key(line: Line, record: RawRecord) -> str:
    if line.historyid and not _ID.fullmatch(line.historyid):
        raise misplaced("historyid", line.historyid, "the number of a record")
    if line.historyid and line.callid:
        return bounded_key(f"{line.historyid}/{line.callid}")
    if line.historyid or line.callid:
        return bounded_key(line.historyid or line.callid)
    return f"digest:{record.digest.hex()}"


def _clean(attributes: dict[str, Any], flags: set[str]) -> dict[str, Any]:
    for value in attributes.values():
        if type(value) is str and not (value.isprintable() and len(value) <= MAX_ATTRIBUTE_TEXT):
            break
        if type(value) is dict:
            break
    else:
        return attributes
    return {name: storable_json(value, flags) for name, value in attributes.items()}
