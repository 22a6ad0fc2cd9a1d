"""The lines of a simulated 3CX: what it writes of each call of the contact centre, and what the hub must make of that.

v18 writes one line for each call, when it ends. v20 (Update 6 and later) writes several for a call that went through a
menu or a queue, each when its part of the call ends, in its own, lower-case words. historyid rises by one with each
call that is told of, callid holds the start. What the records let the hub know stands in the ledger.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.sources.simulation.centre import MIX as WHOLE_MIX
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Entry, Expected, Person
from cdrhub.sources.simulation.planned import (
    Agent,
    Attempt,
    Course,
    PlannedCall,
    Queue,
    Side,
    given,
    seconds,
    to_second,
)
from cdrhub.sources.simulation.simulation import Due
from cdrhub.sources.threecx.callid import EPOCH, MILLISECONDS_1601_TO_1970
from cdrhub.sources.threecx.layout import PREFIX, STANDARD_20, STANDARD_27

CallidForm = Literal["windows", "linux16", "linux20"]
Version = Literal["v18", "v20"]

SYSTEM: Final = "3cx"

LAYOUTS: Final = {20: STANDARD_20, 27: STANDARD_27}
"""The layouts that `cdrhub simulate 3cx` offers. Only the longer one says what a queue or a menu is."""

MIX: Final[Mapping[Course, float]] = MappingProxyType(
    {course: share for course, share in WHOLE_MIX.items() if course is not Course.CAMPAIGN}
)
"""A PBX has no dialler."""

KEPT_OF_BROKEN: Final = 3  #: the part of a line that is left of a broken one, which has less than 20 fields

_MENU: Final = ("8000", "Main Number")
_VOICEMAIL: Final = "999"
_TRUNKS: Final = ("10000", "10001")


_ENDING: Final[Mapping[Outcome, Disposition]] = {
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.REJECTED: Disposition.REJECTED,
    Outcome.CANCELLED: Disposition.CANCELLED,
}

_Fields = dict[str, str]
_Rendered = tuple[list[tuple[datetime, _Fields]], Entry]  #: the lines of a call, each when it is written


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    """The words of one version."""

    person: str
    inside: str  #: an outside party that calls
    outside: str  #: one that is called
    queue: str
    menu: str
    voicemail: str
    by_src: str
    by_dst: str
    endings: Mapping[Disposition | Outcome, str]


_VERSIONS: Final[Mapping[Version, _Words]] = {
    "v18": _Words(
        person="Extension",
        inside="Line",
        outside="LineSet",
        queue="Queue",
        menu="Ivr",
        voicemail="VMail",
        by_src="TerminatedBySrc",
        by_dst="TerminatedByDst",
        endings={
            Disposition.NO_ANSWER: "NoAnswerTimeout",
            Disposition.BUSY: "TargetBusy",
            Disposition.REJECTED: "rejected",
            Disposition.CANCELLED: "Failed_Cancelled",
            Disposition.FAILED: "NoRouteExists",
        },
    ),
    "v20": _Words(
        person="extension",
        inside="external_line",
        outside="provider",
        queue="queue",
        menu="ivr",
        voicemail="voicemail",
        by_src="src_participant_terminated",
        by_dst="dst_participant_terminated",
        endings={
            Disposition.NO_ANSWER: "timeout",
            Disposition.BUSY: "busy",
            Disposition.REJECTED: "rejected",
            Disposition.CANCELLED: "cancelled",
            Disposition.FAILED: "no_route",
            Outcome.LOST_RACE: "completed_elsewhere",
        },
    ),
}
_MOVED_ON: Final = "redirected"  #: v20, of a queue's line, or a menu's, when the caller goes on from there


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What stands in one line but for the two ids: fields by their name."""

    call: int  #: its number in the centre
    started_at: datetime  #: of the call, for its callid
    fields: Mapping[str, str]
    last: bool  #: no further line of this call comes


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One line as it is sent."""

    body: bytes
    repeated: bool = False  #: the same bytes were sent before
    broken: bool = False  #: its end is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class _Party:
    kind: str
    number: str
    dn: str
    name: str


class PBX:
    """Renders planned calls, and numbers their lines as they are sent.

    `repeated` and `broken` are shares of the lines that are sent twice, and once more without their end; a real PBX
    does neither, a line between it and the hub does.
    """

    def __init__(
        self,
        centre: Centre,
        *,
        version: Version = "v18",
        fields: Sequence[str] = STANDARD_27,
        callid: CallidForm = "linux16",
        first_historyid: int = 1,
        repeated: float = 0.0,
        broken: float = 0.0,
    ) -> None:
        self._chance = random.Random(centre.seed)  # noqa: S311 - repeatable, not secret
        self._several = version == "v20"
        self._words = _VERSIONS[version]
        self._fields = tuple(fields)
        self._typed = "from-type" in self._fields
        self._callid: CallidForm = callid
        self._next_historyid = first_historyid
        self._ids: dict[int, tuple[str, str]] = {}  #: of calls of which lines are still to come
        self._repeated = repeated
        self._broken = broken

    def render(self, call: PlannedCall) -> list[Due[Line]]:
        """The lines of `call`, each when it is written; the entry, still without its key, with the last."""
        match call.course:
            case Course.QUEUE:
                lines, told = self._queue(call) if self._several else self._queue_in_one(call)
            case Course.MENU:
                lines, told = self._menu(call)
            case Course.DIRECT:
                lines, told = self._direct(call)
            case Course.OUTBOUND:
                lines, told = self._outbound(call)
            case Course.INTERNAL:
                lines, told = self._internal(call)
            case Course.CAMPAIGN:
                return []
        lines.sort(key=lambda line: line[0])  # stable: of lines that end together the later party comes last
        last = len(lines) - 1
        return [
            Due(
                at=at,
                what=Line(call=call.number, started_at=call.started_at, fields=fields, last=place == last),
                entry=told if place == last else None,
            )
            for place, (at, fields) in enumerate(lines)
        ]

    def written(self, due: Due[Line]) -> list[Due[Written]]:
        """What is sent for a line that is due: itself, numbered; now and then again, or cut."""
        line = due.what
        ids = self._ids.get(line.call)
        if ids is None:
            historyid = self._next_historyid
            self._next_historyid += 1
            ids = self._ids[line.call] = (str(historyid), _callid(line.started_at, historyid, self._callid))
        if line.last:
            del self._ids[line.call]
        values = {**line.fields, "historyid": ids[0], "callid": ids[1]}
        body = PREFIX + ",".join([values.get(name, "") for name in self._fields]).encode() + b"\r\n"
        entry = None if due.entry is None else replace(due.entry, call_key="/".join(ids))
        sent = [Due(at=due.at, what=Written(body=body), entry=entry)]
        if self._chance.random() < self._repeated:
            sent.append(Due(at=due.at, what=Written(body=body, repeated=True)))
        if self._chance.random() < self._broken:
            cut = body[: len(body) // KEPT_OF_BROKEN].rstrip() + b"\r\n"
            sent.append(Due(at=due.at, what=Written(body=cut, broken=True)))
        return sent

    # Calls

    def _queue_in_one(self, call: PlannedCall) -> _Rendered:
        """A queue call of v18: one line, in which the wait and the talk are one stretch. That its agent transferred it
        is not said."""
        queue, agent = given(call.queue), call.agent
        missed = [attempt.agent.extension for attempt in call.attempts if _polled_in_vain(attempt)]
        fields = self._line(
            call,
            src=self._trunk(call),
            to=self._queue_party(queue),
            final=None if agent is None else self._person(agent),
            connected=call.started_at,
            reason=self._by(call),
            changed="" if agent is None else "ReplacedDst",
            missed=missed,
        )
        people = [Person(role=Role.AGENT, agent_id=dn, outcome=Outcome.NO_ANSWER) for dn in missed]
        columns: dict[str, Expected] = {
            "wait_seconds": None,
            "ring_seconds": None,
            "talk_seconds": 0 if agent is None else None,
            "answered_at": None,
            "connected_at": to_second(call.started_at),
            **_agent_columns(agent),
        }
        if agent is not None:
            people.append(Person(role=Role.AGENT, agent_id=agent.extension, outcome=Outcome.ANSWERED))
        columns |= {"queue": queue.name, "queue_id": queue.number}
        return [(call.ended_at, fields)], self._entry(call, columns, people)

    def _queue(self, call: PlannedCall) -> _Rendered:
        """A queue call of v20: a line of the menu, of the queue, and of each agent who was rung."""
        queue, agent = given(call.queue), call.agent
        queued = given(call.queued_at)
        left = call.answered_at or call.ended_at
        lines: list[tuple[datetime, _Fields]] = []
        if queued > call.started_at:
            to = _Party(kind=self._words.menu, number=f"Ext.{_MENU[0]}", dn=_MENU[0], name=_MENU[1])
            menu = self._line(call, to=to, connected=call.started_at, ended=queued, reason=_MOVED_ON)
            lines.append((queued, menu))
        reason = _MOVED_ON
        if agent is None:
            reason = self._words.by_src if call.hung_up is Side.CALLER else "timeout"
        to = self._queue_party(queue)
        lines.append((left, self._line(call, to=to, started=queued, connected=queued, ended=left, reason=reason)))
        people = []
        for attempt in call.attempts:
            lines.append(self._attempt(call, attempt))
            people.append(Person(role=Role.AGENT, agent_id=attempt.agent.extension, outcome=attempt.outcome))
        if agent is not None and call.transfer is not None:
            people.append(Person(role=Role.TRANSFER, agent_id=call.transfer.to.extension, outcome=Outcome.ANSWERED))
        answer = call.answer
        columns: dict[str, Expected] = {
            "queue": queue.name,
            "queue_id": queue.number,
            "queued_at": to_second(queued),
            "wait_seconds": None if agent is None else call.wait_seconds,  # docs/model.md: up to the answer only
            "ring_seconds": None if answer is None else seconds(answer.offered_at, answer.until),
            "talk_seconds": call.talk_seconds,
            "answered_at": to_second(call.answered_at),
            "connected_at": to_second(call.started_at),
            **_agent_columns(agent),
        }
        return lines, self._entry(call, columns, people)

    def _attempt(self, call: PlannedCall, attempt: Attempt) -> tuple[datetime, _Fields]:
        """The line of one agent who was rung for a queue."""
        answered = attempt.outcome is Outcome.ANSWERED
        ended = call.ended_at if answered else attempt.until
        transfer = call.transfer if answered else None
        fields = self._line(
            call,
            to=self._person(attempt.agent),
            final=None if transfer is None else self._person(transfer.to),
            started=attempt.offered_at,
            connected=attempt.until if answered else None,
            ended=ended,
            reason=self._by(call) if answered else self._words.endings[_ENDING.get(attempt.outcome, attempt.outcome)],
            changed="" if transfer is None else "ReplacedDst",
        )
        return ended, fields

    def _menu(self, call: PlannedCall) -> _Rendered:
        to = _Party(kind=self._words.menu, number=f"Ext.{_MENU[0]}", dn=_MENU[0], name=_MENU[1])
        fields = self._line(call, to=to, connected=call.started_at, reason=self._by(call))
        columns: dict[str, Expected] = {
            "talk_seconds": 0,
            "connected_at": to_second(call.started_at),
            **_agent_columns(None),
        }
        return [(call.ended_at, fields)], self._entry(call, columns, ())

    def _direct(self, call: PlannedCall) -> _Rendered:
        attempt, transfer = call.attempts[0], call.transfer
        agent = attempt.agent
        to = self._person(agent)
        columns: dict[str, Expected] = {
            "talk_seconds": call.talk_seconds,
            "answered_at": to_second(call.answered_at),
            "connected_at": to_second(call.connected_at),
            **_agent_columns(call.agent),
        }
        outcome = attempt.outcome
        if call.disposition is Disposition.VOICEMAIL:
            to = _Party(kind=self._words.voicemail, number=f"Ext.{_VOICEMAIL}", dn=agent.extension, name="")
            outcome = Outcome.NO_ANSWER
        else:
            columns["ring_seconds"] = seconds(call.started_at, call.answered_at or call.ended_at)
        fields = self._line(
            call,
            to=to,
            final=None if transfer is None else self._person(transfer.to),
            connected=call.connected_at,
            reason=self._by(call) if call.connected_at else self._words.endings[call.disposition],
            changed="" if transfer is None else "ReplacedDst",
        )
        people = [Person(role=Role.AGENT, agent_id=agent.extension, outcome=outcome)]
        if transfer is not None:
            people.append(Person(role=Role.TRANSFER, agent_id=transfer.to.extension, outcome=Outcome.ANSWERED))
        return [(call.ended_at, fields)], self._entry(call, columns, people)

    def _outbound(self, call: PlannedCall) -> _Rendered:
        agent, customer = given(call.caller), given(call.customer)
        answered = call.answered_at is not None
        to = _Party(
            kind=self._words.outside, number=customer.dialled, dn=self._chance.choice(_TRUNKS), name=customer.dialled
        )
        fields = self._line(
            call,
            src=self._person(agent),
            to=to,
            connected=call.answered_at,
            reason=self._by(call) if answered else self._words.endings[call.disposition],
            cost=f"{call.talk_seconds / 60:.2f}" if answered else "",
        )
        columns: dict[str, Expected] = {
            "callee_number": customer.dialled,
            "talk_seconds": call.talk_seconds,
            "answered_at": to_second(call.answered_at),
            "connected_at": to_second(call.answered_at),
            "trunk": to.dn,
            **_agent_columns(agent),
        }
        if answered:
            columns["ring_seconds"] = seconds(call.started_at, given(call.answered_at))
        outcome = Outcome.ANSWERED if answered else Outcome.UNKNOWN
        people = [Person(role=Role.AGENT, agent_id=agent.extension, outcome=outcome)]
        return [(call.ended_at, fields)], self._entry(call, columns, people)

    def _internal(self, call: PlannedCall) -> _Rendered:
        caller, attempt = given(call.caller), call.attempts[0]
        fields = self._line(
            call,
            src=self._person(caller),
            to=self._person(attempt.agent),
            connected=call.answered_at,
            reason=self._by(call) if call.answered_at else self._words.endings[call.disposition],
        )
        columns: dict[str, Expected] = {
            "caller_number": f"Ext.{caller.extension}",
            "callee_number": f"Ext.{attempt.agent.extension}",
            "external_number": None,
            "talk_seconds": call.talk_seconds,
            "ring_seconds": seconds(attempt.offered_at, attempt.until),
            "answered_at": to_second(call.answered_at),
            **_agent_columns(None if call.answered_at is None else attempt.agent),
        }
        people = [Person(role=Role.AGENT, agent_id=attempt.agent.extension, outcome=attempt.outcome)]
        return [(call.ended_at, fields)], self._entry(call, columns, people)

    def _entry(self, call: PlannedCall, columns: Mapping[str, Expected], people: Sequence[Person]) -> Entry:
        """What all lines tell of a call, and `columns`.

        Who hung up is not compared where an agent refused the call before: a line of its own says that the agent's side
        ended that. Without types nothing says that a queue or a menu is no person (a directory would): of such a call
        only what does not depend on that is compared.
        """
        common: dict[str, Expected] = {
            "direction": call.direction,
            "state": State.ENDED,
            "disposition": call.disposition,
            "started_at": to_second(call.started_at),
            "ended_at": to_second(call.ended_at),
            "duration_seconds": call.duration_seconds,
        }
        if call.customer is not None:
            common["external_number"] = call.customer.e164
            if call.direction is Direction.INBOUND:
                common["caller_number"] = call.customer.dialled
        if not self._typed and call.course in (Course.QUEUE, Course.MENU):
            del common["disposition"]
            return Entry(system=SYSTEM, call_key="", columns=common)
        if all(attempt.outcome is not Outcome.REJECTED for attempt in call.attempts):
            common["ended_by"] = _ended_by(call)
        return Entry(system=SYSTEM, call_key="", columns={**common, **columns}, people=tuple(people))

    # Parts of a line

    def _trunk(self, call: PlannedCall) -> _Party:
        number = given(call.customer).dialled
        return _Party(kind=self._words.inside, number=number, dn=_TRUNKS[0], name=f"{number}:{_MENU[1]}")

    def _person(self, agent: Agent) -> _Party:
        return _Party(kind=self._words.person, number=f"Ext.{agent.extension}", dn=agent.extension, name=agent.name)

    def _queue_party(self, queue: Queue) -> _Party:
        return _Party(kind=self._words.queue, number=f"Ext.{queue.number}", dn=queue.number, name=queue.name)

    def _by(self, call: PlannedCall) -> str:
        return self._words.by_src if call.hung_up is Side.CALLER else self._words.by_dst

    def _line(
        self,
        call: PlannedCall,
        *,
        to: _Party,
        reason: str,
        connected: datetime | None,
        src: _Party | None = None,
        started: datetime | None = None,
        ended: datetime | None = None,
        final: _Party | None = None,
        changed: str = "",
        missed: Sequence[str] = (),
        cost: str = "",
    ) -> _Fields:
        """The fields of a line: from a trunk unless `src` is given, over the whole of the call unless `started` and
        `ended` are."""
        src = src or self._trunk(call)
        started, ended = started or call.started_at, ended or call.ended_at
        talk = None if connected is None else seconds(connected, ended)
        parties = [src.number, to.number, *([] if final is None else [final.number])]
        return {
            "duration": "" if talk is None else f"{talk // 3600:02}:{talk // 60 % 60:02}:{talk % 60:02}",
            "time-start": f"{started:%Y/%m/%d %H:%M:%S}",
            "time-answered": "" if connected is None else f"{connected:%Y/%m/%d %H:%M:%S}",
            "time-end": f"{ended:%Y/%m/%d %H:%M:%S}",
            "reason-terminated": reason,
            "from-no": src.number,
            "to-no": to.number,
            "from-dn": src.dn,
            "to-dn": to.dn,
            "dial-no": to.number.removeprefix("Ext."),
            "reason-changed": changed,
            "final-number": "" if final is None else final.number,
            "final-dn": "" if final is None else final.dn,
            "bill-rate": "1" if cost else "",
            "bill-cost": cost,
            "bill-name": "default" if cost else "",
            "chain": "" if connected is None else f"Chain: {''.join(f'{number};' for number in parties)}",
            "from-type": src.kind,
            "to-type": to.kind,
            "final-type": "" if final is None else final.kind,
            "from-dispname": src.name,
            "to-dispname": to.name,
            "final-dispname": "" if final is None else final.name,
            "missed-queue-calls": "".join(f"{dn};" for dn in missed),
        }


def _polled_in_vain(attempt: Attempt) -> bool:
    return attempt.outcome in (Outcome.NO_ANSWER, Outcome.REJECTED, Outcome.CANCELLED)


def _agent_columns(agent: Agent | None) -> dict[str, Expected]:
    dn = None if agent is None else agent.extension
    return {"agent_id": dn, "agent_extension": dn}


def _ended_by(call: PlannedCall) -> EndedBy:
    """Who hung up, as the lines tell it: a busy phone is no person who did."""
    if call.hung_up is Side.SYSTEM or call.disposition is Disposition.BUSY:
        return EndedBy.SYSTEM
    if call.direction is Direction.OUTBOUND:
        return EndedBy.AGENT if call.hung_up is Side.CALLER else EndedBy.CALLEE
    return EndedBy.CALLER if call.hung_up is Side.CALLER else EndedBy.AGENT


def _callid(at: datetime, number: int, form: CallidForm) -> str:
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    if form == "windows":
        return f"{milliseconds + MILLISECONDS_1601_TO_1970:016X}_{number % 100_000}"
    if form == "linux20":
        return f"{milliseconds.to_bytes(8, 'little').hex()}_{number % 100_000}"
    return f"{milliseconds:016X}_{number % 100_000}"
