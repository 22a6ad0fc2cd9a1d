"""The CDRs of a simulated Voicenter account, and what the hub must show of them.

Pure: one centre gives one stream of pushes. A CDR is pushed when its call ends, in one of three formats; the two of a
Click2Call or ProductiveCall come in either order, some CDRs twice, some again with more fields, as Voicenter does once
its speech analysis is ready. A blind transfer is a call of its own (XferCDR). Of a consultation the account tells
nothing, and of agents who did not answer for a queue neither.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from cdrhub.model.disposition import Direction, Disposition, Outcome, Role, State
from cdrhub.sources.simulation.centre import MIX as WHOLE_MIX
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Entry, Expected, Person
from cdrhub.sources.simulation.numbers import customers
from cdrhub.sources.simulation.planned import Agent, Course, PlannedCall, Side, TransferKind, given, seconds, to_second
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.simulation.simulation import Due
from cdrhub.sources.voicenter.bodies import Format
from cdrhub.sources.voicenter.simulate.formats import render

SYSTEM: Final = "voicenter"

MIX: Final[Mapping[Course, float]] = MappingProxyType(
    {course: WHOLE_MIX[course] for course in (Course.QUEUE, Course.DIRECT, Course.MENU, Course.OUTBOUND)}
)
"""The account has no dialler, and no CDR of a call between extensions is documented."""

REPEATED: Final = 0.03  #: share of CDRs that come twice, byte for byte
COMPLETED: Final = 0.05  #: share of CDRs that come again with more fields
COMPLETED_SECONDS: Final = 20  #: after the end of the call
FORWARDED: Final = 0.15  #: share of direct, answered calls that an agent takes on a mobile phone
CLICKED: Final = 0.4  #: share of the agents' calls that were started by a click
SIP_CODE: Final = "SIPSIP"  #: begins the code of every extension of the account
FORMATS: Final = (Format.JSON, Format.FORM, Format.XMLRPC)
FORMAT_SHARES: Final = (70, 15, 15)

_CLICKS: Final = (("Click2Call leg1", "Click2Call leg2"), ("ProductiveCall leg1", "ProductiveCall leg2"))
_LAYERS: Final = ("Main menu", "Sales department", "Opening hours", "Callback offer")
_STATUSES: Final = {
    Disposition.NO_ANSWER: "NOANSWER",
    Disposition.BUSY: "BUSY",
    Disposition.REJECTED: "BUSY",  # there is no other word for it
    Disposition.CANCELLED: "CANCEL",
    Disposition.FAILED: "CONGESTION",
}
_QUEUE_STATUSES: Final = {Outcome.ABANDONED: "ABANDONE", Outcome.TIMEOUT: "TIMEOUT"}
_OUTCOMES: Final = {"NOANSWER": Outcome.NO_ANSWER, "BUSY": Outcome.BUSY, "CANCEL": Outcome.CANCELLED}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """One call of the account: its CDRs, when they are pushed, and what the hub must show of it."""

    at: datetime
    cdrs: Sequence[Mapping[str, Any]]
    entry: Entry


class Account:
    """Renders planned calls. `broken` is the share of calls beside which a body comes that nobody can read."""

    def __init__(self, centre: Centre, *, broken: float = 0.0) -> None:
        self._chance = random.Random(centre.seed)  # noqa: S311 - repeatable, not secret
        self._broken = broken
        self._mobiles = customers(centre.region)

    def render(self, call: PlannedCall) -> list[Due[Push]]:
        """Everything that is pushed because of `call`."""
        match call.course:
            case Course.QUEUE:
                told = [self._queue(call)]
            case Course.DIRECT:
                told = [self._direct(call)]
            case Course.MENU:
                told = [self._menu(call)]
            case Course.OUTBOUND:
                clicked = call.ordered is not None or self._chance.random() < CLICKED
                told = [self._click(call) if clicked else self._outgoing(call)]
            case Course.INTERNAL | Course.CAMPAIGN:
                return []
        if _is_blind(call):
            told.append(self._transferred(call))
        pushed = [due for one in told for due in self._pushed(one)]
        if self._chance.random() < self._broken:
            pushed.append(Due(at=call.ended_at, what=self._unreadable(call)))
        return pushed

    def _pushed(self, told: _Told) -> list[Due[Push]]:
        """The pushes of one call, the entry at the last of them."""
        chance = self._chance
        pushed: list[Due[Push]] = []
        for cdr in chance.sample(told.cdrs, len(told.cdrs)):
            form = chance.choices(FORMATS, weights=FORMAT_SHARES)[0]
            push = Push(body=render(cdr, form), content_type=form.value)
            pushed.append(Due(at=told.at, what=push))
            if chance.random() < REPEATED:
                later = told.at + timedelta(seconds=chance.randint(0, 5))
                pushed.append(Due(at=later, what=replace(push, repeated=True)))
            if form is Format.JSON and chance.random() < COMPLETED:
                fuller = {**cdr, "aiData": {"insights": {"summary": "Short call", "sentiment": 0.4}, "emotions": None}}
                later = told.at + timedelta(seconds=COMPLETED_SECONDS)
                pushed.append(Due(at=later, what=Push(body=render(fuller, form), content_type=form.value)))
        last = max(range(len(pushed)), key=lambda place: (pushed[place].at, place))
        pushed[last] = replace(pushed[last], entry=told.entry)
        return pushed

    def _unreadable(self, call: PlannedCall) -> Push:
        body = self._chance.choice(
            (
                f'{{"caller":"05{call.number}',
                f'<!DOCTYPE methodCall [<!ENTITY n "{call.number}">]><methodCall/>',
                f'{{"caller":"0500000000","duration":{call.number}}}',
            )
        ).encode()
        return Push(body=body, content_type=Format.JSON.value, broken=True)

    # Calls

    def _queue(self, call: PlannedCall) -> _Told:
        queue, ended = given(call.queue), _first_ended(call)
        answer, wait = call.answer, given(call.wait_seconds)
        talk = 0 if call.answered_at is None else seconds(call.answered_at, ended)
        agent = None if answer is None else answer.agent
        ring = None if answer is None else seconds(answer.offered_at, answer.until)
        cdr = _cdr(
            call,
            "Queue",
            "ANSWER" if agent is not None else _QUEUE_STATUSES[given(call.left_queue)],
            caller=given(call.customer).dialled,
            did=call.line.dialled,
            queueid=int(queue.number),
            queuename=queue.name,
            seconds_waiting_in_queue=wait,
            duration=seconds(call.started_at, ended),
            actualCallDuration=talk,
            isAnswer=int(agent is not None),
            direction="incoming",
            **_agent(agent, side="extenUser"),
        )
        if ring is not None:
            cdr |= {"actualCallDialtime": ring, "record": _record(cdr), "price": 7}
        if given(call.queued_at) > call.started_at:
            cdr["IVR"] = self._layers()
        columns: dict[str, Expected] = {
            "queue": queue.name,
            "queue_id": queue.number,
            "wait_seconds": wait,
            "ring_seconds": ring,
            "did": call.line.dialled,
            "answered_at": to_second(call.answered_at),
            **_talked(call, ended=ended, talk=talk),
            **_agent_columns(agent),
        }
        people = () if agent is None else (_person(agent, Outcome.ANSWERED),)
        return _told(call, [cdr], columns, people, at=ended)

    def _direct(self, call: PlannedCall) -> _Told:
        attempt, ended, customer = call.attempts[0], _first_ended(call), given(call.customer)
        ring = seconds(call.started_at, attempt.until)
        if call.disposition is Disposition.VOICEMAIL:
            spoken = seconds(attempt.until, ended)
            cdr = _cdr(
                call,
                "VoiceMail",
                "VOICEMAIL",
                caller=customer.dialled,
                did=call.line.dialled,
                dialtime=ring,
                duration=spoken,
            )
            cdr["record"] = _record(cdr)
            columns = {"ring_seconds": ring, "did": call.line.dialled, **_talked(call, ended=ended, talk=0)}
            return _told(call, [cdr], {**columns, **_agent_columns(None)}, (), at=ended)
        if call.answered_at is not None and call.transfer is None and self._chance.random() < FORWARDED:
            return self._forwarded(call)
        agent = attempt.agent
        talk = 0 if call.answered_at is None else seconds(call.answered_at, ended)
        status = "ANSWER" if call.answered_at is not None else _STATUSES[call.disposition]
        ring = seconds(call.started_at, call.answered_at or ended)
        cdr = _cdr(
            call,
            "Incoming Call",
            status,
            caller=customer.dialled,
            target=call.line.dialled,
            did=call.line.dialled,
            duration=talk,
            dialtime=ring,
            **_agent(agent, side="targetextension"),
        )
        answered = call.answered_at is not None
        columns = {
            "ring_seconds": ring,
            "did": call.line.dialled,
            "recording_url": None,
            "answered_at": to_second(call.answered_at),
            **_talked(call, ended=ended, talk=talk),
            **_agent_columns(agent if answered else None),
        }
        if answered:
            cdr["record"] = columns["recording_url"] = _record(cdr)
        outcome = Outcome.ANSWERED if answered else _OUTCOMES[status]
        return _told(call, [cdr], columns, [_person(agent, outcome)], at=ended, status=status)

    def _forwarded(self, call: PlannedCall) -> _Told:
        """A call that the account forwarded to a mobile phone: to Voicenter an outgoing one, of nobody's extension."""
        mobile = self._chance.choice(self._mobiles)
        ring = seconds(call.started_at, given(call.answered_at))
        cdr = _cdr(
            call,
            "Auto forward",
            "ANSWER",
            caller=given(call.customer).dialled,
            target=mobile.dialled,
            duration=call.talk_seconds,
            dialtime=ring,
            price=21,
        )
        columns: dict[str, Expected] = {
            "direction": Direction.OUTBOUND,
            "callee_number": mobile.dialled,
            "external_number": mobile.e164,
            "ring_seconds": ring,
            "answered_at": to_second(call.answered_at),
            **_talked(call, ended=call.ended_at, talk=call.talk_seconds),
            **_agent_columns(None),
        }
        return _told(call, [cdr], columns, (), at=call.ended_at)

    def _menu(self, call: PlannedCall) -> _Told:
        cdr = _cdr(
            call,
            "Incoming Call",
            "VOEND" if call.hung_up is Side.SYSTEM else "TE",
            caller=given(call.customer).dialled,
            did=call.line.dialled,
            duration=call.duration_seconds,
            IVR=self._layers(),
        )
        columns: dict[str, Expected] = {"did": call.line.dialled, **_talked(call, ended=call.ended_at, talk=0)}
        return _told(call, [cdr], {**columns, **_agent_columns(None)}, (), at=call.ended_at)

    def _outgoing(self, call: PlannedCall) -> _Told:
        agent, customer = given(call.caller), given(call.customer)
        ring = seconds(call.started_at, call.answered_at or call.ended_at)
        status = "ANSWER" if call.answered_at is not None else _STATUSES[call.disposition]
        cdr = _cdr(
            call,
            "Extension Outgoing",
            status,
            caller=call.line.dialled,
            target=customer.dialled,
            duration=call.talk_seconds,
            dialtime=ring,
            price=14,
            **_agent(agent, side="callerextension"),
        )
        columns: dict[str, Expected] = {
            "callee_number": customer.dialled,
            "ring_seconds": ring,
            "answered_at": to_second(call.answered_at),
            **_talked(call, ended=call.ended_at, talk=call.talk_seconds),
            **_agent_columns(agent),
        }
        people = [_person(agent, Outcome.ANSWERED)] if call.answered_at is not None else []
        return _told(call, [cdr], columns, people, at=call.ended_at, status=status)

    def _click(self, call: PlannedCall) -> _Told:
        """A call that a click started, or an order: the agent's phone rings for a second, then the customer's. An agent
        who gives up never picked up, so the customer is not dialled."""
        agent, customer = given(call.caller), given(call.customer)
        custom: Mapping[str, str]
        if call.ordered is not None:
            (first, second), custom = _CLICKS[0], call.ordered
        else:
            first, second = self._chance.choice(_CLICKS)
            custom = {"var_case": f"C-{call.number}", "var_attempt": "1"}
        rung = 1
        dialled_at = call.started_at + timedelta(seconds=rung)
        opened: dict[str, Any] = {"caller": call.line.dialled, "target": _code(agent), "CustomData": custom}
        if call.disposition is Disposition.CANCELLED:
            leg = _cdr(
                call,
                first,
                "NOANSWER",
                dialtime=call.duration_seconds,
                **opened,
                **_agent(agent, side="targetextension"),
            )
            columns: dict[str, Expected] = {
                "direction": Direction.INTERNAL,
                "disposition": Disposition.NOT_DIALLED,
                "external_number": None,
                "ring_seconds": None,
                **_talked(call, ended=call.ended_at, talk=0),
                **_agent_columns(agent),
            }
            return _told(call, [leg], columns, [_person(agent, Outcome.NO_ANSWER)], at=call.ended_at)
        length = seconds(dialled_at, call.ended_at)
        leg1 = _cdr(
            call, first, "ANSWER", duration=length, dialtime=rung, **opened, **_agent(agent, side="targetextension")
        )
        status = "ANSWER" if call.answered_at is not None else _STATUSES[call.disposition]
        ring = seconds(dialled_at, call.answered_at or call.ended_at)
        leg2 = _cdr(
            call,
            second,
            status,
            after=rung,
            caller=call.line.dialled,
            target=customer.international,
            duration=length,
            actualCallDuration=call.talk_seconds,
            actualCallDialtime=ring,
            isAnswer=int(call.answered_at is not None),
            direction="outgoing",
            CustomData=custom,
            **_agent(agent, side="callerextension"),
        )
        columns = {
            "callee_number": customer.international,
            "ring_seconds": ring,
            "answered_at": to_second(call.answered_at),
            **_talked(call, ended=call.ended_at, talk=call.talk_seconds),
            **_agent_columns(agent),
            "started_at": to_second(dialled_at),
            "duration_seconds": length,
        }
        outcome = Outcome.ANSWERED if call.answered_at is not None else Outcome.NOT_BRIDGED
        return _told(call, [leg1, leg2], columns, [_person(agent, outcome)], at=call.ended_at, status=status)

    def _transferred(self, call: PlannedCall) -> _Told:
        """The second call of a blind transfer."""
        transfer, customer = given(call.transfer), given(call.customer)
        ring = seconds(transfer.at, transfer.answered_at)
        talk = seconds(transfer.answered_at, call.ended_at)
        cdr = _cdr(
            call,
            "XferCDR",
            "ANSWER",
            after=seconds(call.started_at, transfer.at),
            caller=customer.dialled,
            target=_code(transfer.to),
            duration=talk,
            dialtime=ring,
            OriginalIvrUniqueID=key_of(call),
            **_agent(transfer.to, side="targetextension"),
        )
        cdr["ivruniqueid"] = f"{key_of(call)}x"
        columns: dict[str, Expected] = {
            "direction": Direction.INTERNAL,
            "external_number": None,
            "linked_key": key_of(call),
            "started_at": to_second(transfer.at),
            "ring_seconds": ring,
            "answered_at": to_second(transfer.answered_at),
            **_talked(call, ended=call.ended_at, talk=talk),
            "duration_seconds": ring + talk,
            **_agent_columns(transfer.to),
        }
        person = Person(role=Role.TRANSFER, agent_id=_code(transfer.to), outcome=Outcome.ANSWERED)
        told = _told(call, [cdr], columns, [person], at=call.ended_at)
        return replace(told, entry=replace(told.entry, call_key=cdr["ivruniqueid"]))

    def _layers(self) -> Any:
        chance = self._chance
        layers = [
            {"layer_id": 8000 + place, "layer_name": name, "layer_number": place, "Dtmf": chance.randrange(10)}
            | {"dtmf_order": place + 1}
            for place, name in enumerate(_LAYERS[: chance.randint(1, len(_LAYERS))])
        ]
        return json.dumps(layers) if chance.random() < 0.3 else layers


def _cdr(call: PlannedCall, kind: str, status: str, *, after: int = 0, **said: Any) -> dict[str, Any]:
    """A CDR with the fields that all have. `after`: seconds from the start of the call to that of this CDR."""
    common: dict[str, Any] = {
        "caller": "",
        "target": "",
        "time": int(call.started_at.timestamp()) + after,
        "duration": 0,
        "ivruniqueid": key_of(call),
        "type": kind,
        "status": status,
        "targetextension": "",
        "callerextension": "",
        "did": "",
        "queueid": 0,
        "queuename": "",
        "record": "",
        "price": 0,
        "dialtime": 0,
        "representative_name": "",
        "representative_code": "",
    }
    return common | said


def _told(
    call: PlannedCall,
    cdrs: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Expected],
    people: Sequence[Person],
    *,
    at: datetime,
    status: str = "",
) -> _Told:
    """The call with what all of its kinds let the hub know, and `columns`. A `status` of BUSY says busy, whatever
    happened."""
    customer = call.customer
    common: dict[str, Expected] = {
        "direction": call.direction,
        "state": State.ENDED,
        "disposition": Disposition.BUSY if status == "BUSY" else call.disposition,
        "started_at": to_second(call.started_at),
        "linked_key": key_of(call),
        "external_number": None if customer is None else customer.e164,
    }
    entry = Entry(system=SYSTEM, call_key=key_of(call), columns={**common, **columns}, people=tuple(people))
    return _Told(at=at, cdrs=cdrs, entry=entry)


def _talked(call: PlannedCall, *, ended: datetime, talk: int) -> dict[str, Expected]:
    return {"ended_at": to_second(ended), "duration_seconds": seconds(call.started_at, ended), "talk_seconds": talk}


def _first_ended(call: PlannedCall) -> datetime:
    """When the first call ended: where it was transferred blind, then."""
    return call.transfer.at if call.transfer is not None and _is_blind(call) else call.ended_at


def _is_blind(call: PlannedCall) -> bool:
    return call.transfer is not None and call.transfer.kind is TransferKind.BLIND


def key_of(call: PlannedCall) -> str:
    """The `ivruniqueid` of a call, in Click2Call's answer `CALLID`."""
    return f"{call.started_at:%Y%m%d%H%M%S%f}"[:17] + f"{call.number:08x}"


def _code(agent: Agent) -> str:
    return SIP_CODE + agent.extension


def _agent(agent: Agent | None, *, side: str) -> dict[str, Any]:
    if agent is None:
        return {}
    return {side: _code(agent), "representative_name": agent.name, "representative_code": f"1234{agent.extension}"}


def _agent_columns(agent: Agent | None) -> dict[str, Expected]:
    code = None if agent is None else _code(agent)
    return {"agent_id": code, "agent_extension": code, "agent_name": None if agent is None else agent.name}


def _person(agent: Agent, outcome: Outcome) -> Person:
    return Person(role=Role.AGENT, agent_id=_code(agent), outcome=outcome)


def _record(cdr: Mapping[str, Any]) -> str:
    return f"https://cpanel.voicenter.co.il/CallsHistory/PlayRecord/{cdr['ivruniqueid']}-aws.mp3"
