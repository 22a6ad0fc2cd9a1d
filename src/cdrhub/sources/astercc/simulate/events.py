"""The events of a planned call, as asterCC pushes them, and what the hub must show of them.

Pure: one centre gives one stream. The text is that of the vendor's published sample: not URL-encoded, blanks, `/`, `@`
and `;` as they are, `&` at the end (https://wiki.astercc.org, "receive call events via http post"). Some events arrive
late, behind younger ones, and some twice.

Of the common centre it shows what the vendor documents: queues and direct calls (dialin), agents and campaigns that
call (dialout, the agent's phone first), consultations, logins and the work after a call. Which events a menu, a
transfer or an internal call makes, the vendor does not say, so there are none. The ledger holds what these events let
anyone know: no busy and no voicemail, for asterCC tells answered from unanswered and nothing more.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import count
from types import MappingProxyType
from typing import Final
from zlib import crc32
from zoneinfo import ZoneInfo

from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.sources.simulation.centre import MIX as CENTRE_MIX
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Entry, Expected, Person
from cdrhub.sources.simulation.numbers import Number
from cdrhub.sources.simulation.planned import Attempt, Course, PlannedCall, Side, seconds, to_second
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.simulation.simulation import Due

SYSTEM: Final = "astercc"
CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
ORGANISATION: Final = "demo"
CAMPAIGN_ID: Final = "10"
DIALLING_AGENTS: Final = 8001  #: agent number of the first of those who work for campaigns; as many as are needed
SUPERVISOR: Final = "6999"  #: phone of the person whom agents consult

USERDATA: Final = "userdata"
AGENT_PREFIX: Final = "7"  #: makes the number of an agent out of the extension
REPEATED: Final = 0.03  #: share of events that come twice, byte for byte
LATE: Final = 0.06  #: share of events that come some seconds late, behind younger ones
LATE_SECONDS: Final = 4
CONSULTED: Final = 0.08  #: share of the longer conversations with a consultation
CONSULTS_FROM_SECONDS: Final = 45
BREAKS: Final = 0.1  #: share of the work after a call that a break follows

MIX: Final[Mapping[Course, float]] = MappingProxyType(
    {course: share for course, share in CENTRE_MIX.items() if course not in (Course.MENU, Course.INTERNAL)}
)
"""The courses of which the vendor documents the events."""

_ENDED_BY: Final = {"CALLER": EndedBy.CALLER, "CALLEE": EndedBy.CALLEE, "AGENT": EndedBy.AGENT}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """One event of one call, before it is written."""

    at: datetime
    source: str
    event: str
    number: str = ""  #: activenum
    agent: str = ""
    channel: str = ""
    first: str = ""  #: hangupfirst


@dataclass(frozen=True, kw_only=True, slots=True)
class _Desk:
    """An agent as asterCC knows him."""

    agent: str  #: agentno
    phone: str
    ring: int = 0  #: how many phones the call rang before; each ringing is a channel of its own


_Story = tuple[list[_Event], Entry, _Desk | None]
"""The events of a call, what the hub must show of it, and the agent who works on after it."""


class Team:
    """Renders planned calls, and keeps who has logged in and which campaign agent is free when.

    `timezone` (IANA) is the server's, in which it writes `eventTime`. `broken` is the share of calls beside which a
    body comes that nobody can read.
    """

    def __init__(self, centre: Centre, *, timezone: str, broken: float = 0.0) -> None:
        self._centre = centre
        self._zone = ZoneInfo(timezone)
        self._broken = broken
        self._chance = random.Random(centre.seed)  # noqa: S311 - repeatable, not secret
        self._groups = {queue.name: queue.number for queue in centre.queues}
        self._here: set[str] = set()
        self._dialling: list[tuple[datetime, int]] = []  #: campaign agents by the moment from which they are free
        self._numbers = count(DIALLING_AGENTS)

    def render(self, call: PlannedCall) -> Iterable[Due[Push]]:
        """Everything that is pushed because of `call`, its entry at the last event of the call itself. Nothing for a
        course of which no events are documented."""
        if call.customer is None or call.course not in MIX or call.transfer is not None:
            return ()
        story = self._incoming if call.direction is Direction.INBOUND else self._outgoing
        events, entry, desk = story(call, call.customer)
        common = self._common(call, call.customer, session=entry.call_key)
        # Of an ordered call nothing is late: the next one is ordered by what was told of it so far.
        pushed = self._pushed(events, common, late=0.0 if call.ordered is not None else LATE)
        last = max(range(len(pushed)), key=lambda place: (pushed[place].at, place))
        pushed[last] = replace(pushed[last], entry=entry)
        if desk is not None:
            pushed += self._states(call, desk)
        if self._chance.random() < self._broken:
            pushed.append(Due(at=call.ended_at, what=self._unreadable(call)))
        return pushed

    # Calls

    def _incoming(self, call: PlannedCall, customer: Number) -> _Story:
        caller = _spelled(call, customer)
        trunk = f"SIP/trunk1-{call.number:08x}"
        events = [_Event(at=call.started_at, source="CALLER", event="incoming", number=caller, channel=trunk)]
        people = []
        desk = None
        for ring, attempt in enumerate(call.attempts):
            if attempt.outcome is Outcome.BUSY:
                continue  # his phone was never rung
            rung, answered = _desk(attempt, ring=ring), attempt.outcome is Outcome.ANSWERED
            desk = rung if answered else desk
            outcome = Outcome.ANSWERED if answered else Outcome.NO_ANSWER
            people.append(Person(role=Role.AGENT, agent_id=rung.agent, outcome=outcome))
            events.append(self._of_agent(rung, attempt.offered_at, "ringing", call))
            events.append(self._of_agent(rung, attempt.until, "answer" if answered else "hangup", call))
        taken = call.answer
        agent, first = "", ""
        if taken is not None and desk is not None:
            agent, first = desk.agent, "CALLER" if call.hung_up is Side.CALLER else "AGENT"
            people += self._consultation(events, desk, call, answered_at=taken.until)
            events.append(self._of_agent(desk, call.ended_at, "hangup", call, first=first))
        events += (
            _Event(
                at=call.ended_at,
                source="CALLER",
                event="hangup",
                number=caller,
                agent=agent,
                channel=trunk,
                first=first,
            ),
            _Event(at=call.ended_at, source="CONVERSATION", event="hangup", agent=agent),
        )
        answered_at = taken.until if taken is not None else None
        columns: dict[str, Expected] = {
            "caller_number": caller.replace(" ", "+"),
            "caller_e164": customer.e164,
            "external_number": customer.e164,
            "callee_number": call.line.dialled,
            "did": call.line.dialled,
            "queue_id": self._group(call),
            "disposition": Disposition.ANSWERED if taken is not None else Disposition.ABANDONED,
            "started_at": to_second(call.started_at),
            "queued_at": to_second(call.started_at),
            "wait_seconds": seconds(call.started_at, answered_at or call.ended_at),
            "ring_seconds": seconds(taken.offered_at, taken.until) if taken is not None else None,
            "ended_by": _ENDED_BY.get(first),
            "duration_seconds": call.duration_seconds,
            "contact_ref": None,
        }
        entry = self._entry(call, columns, desk=desk, answered_at=answered_at, people=tuple(people))
        return events, entry, desk

    def _outgoing(self, call: PlannedCall, customer: Number) -> _Story:
        picked_up = call.connected_at  # asterCC does not know a machine from a person
        if call.caller is not None:
            desk = _Desk(agent=AGENT_PREFIX + call.caller.extension, phone=call.caller.extension)
        else:
            desk = self._campaign_agent(call)
        if call.ordered is not None and call.disposition is Disposition.CANCELLED:
            return self._not_picked_up(call, customer, desk)
        number, trunk = customer.dialled, f"SIP/trunk1-{call.number:08x}"

        def of_callee(at: datetime, event: str, *, first: str = "") -> _Event:
            return _Event(
                at=at, source="CALLEE", event=event, number=number, agent=desk.agent, channel=trunk, first=first
            )

        events = [
            self._of_agent(desk, call.started_at, "ringing", call),
            self._of_agent(desk, call.started_at, "answer", call),
        ]
        if call.ringing_at is not None:
            events.append(of_callee(call.ringing_at, "ringing"))
        outcome = Outcome.ANSWERED if picked_up is not None else Outcome.NOT_BRIDGED
        people = [Person(role=Role.AGENT, agent_id=desk.agent, outcome=outcome)]
        first = ""
        if picked_up is not None:
            first = "CALLEE" if call.hung_up is Side.CALLEE else "AGENT"
            events.append(of_callee(picked_up, "answer"))
            people += self._consultation(events, desk, call, answered_at=picked_up)
        events.append(of_callee(call.ended_at, "hangup", first=first))
        events.append(self._of_agent(desk, call.ended_at, "hangup", call, first=first))
        events.append(_Event(at=call.ended_at, source="CONVERSATION", event="hangup", agent=desk.agent))
        begun = call.ringing_at or call.started_at
        unanswered = Disposition.FAILED if call.ringing_at is None else Disposition.NO_ANSWER
        rang = seconds(call.ringing_at, picked_up or call.ended_at) if call.ringing_at is not None else None
        columns: dict[str, Expected] = {
            "caller_number": desk.phone,
            "caller_e164": None,
            "callee_number": number,
            "callee_e164": customer.e164,
            "external_number": customer.e164,
            "dialed_number": number,
            "queue_id": None,
            "disposition": Disposition.ANSWERED if picked_up is not None else unanswered,
            "started_at": to_second(begun),
            "queued_at": None,
            "wait_seconds": None,
            "ring_seconds": rang,
            "ended_by": _ENDED_BY.get(first),
            "duration_seconds": seconds(begun, call.ended_at),
            "contact_ref": _reference(call),
        }
        entry = self._entry(call, columns, desk=desk, answered_at=picked_up, people=tuple(people))
        return events, entry, desk

    def _not_picked_up(self, call: PlannedCall, customer: Number, desk: _Desk) -> _Story:
        """An ordered call whose agent did not pick up: two events of the agent's phone, and the customer never rang."""
        events = [
            self._of_agent(desk, call.started_at, "ringing", call),
            self._of_agent(desk, call.ended_at, "hangup", call),
        ]
        columns: dict[str, Expected] = {
            "caller_number": desk.phone,
            "callee_number": customer.dialled,
            "external_number": customer.e164,
            "dialed_number": None,
            "disposition": Disposition.NOT_DIALLED,
            "started_at": to_second(call.started_at),
            "duration_seconds": call.duration_seconds,
            "contact_ref": _reference(call),
        }
        people = (Person(role=Role.AGENT, agent_id=desk.agent, outcome=Outcome.NO_ANSWER),)
        return events, self._entry(call, columns, desk=desk, answered_at=None, people=people), None

    def _entry(
        self,
        call: PlannedCall,
        columns: Mapping[str, Expected],
        *,
        desk: _Desk | None,
        answered_at: datetime | None,
        people: tuple[Person, ...],
    ) -> Entry:
        return Entry(
            system=SYSTEM,
            call_key=self._session(call),
            columns={
                "direction": call.direction,
                "state": State.ENDED,
                "agent_id": desk.agent if desk is not None else None,
                "agent_extension": desk.phone if desk is not None else None,
                "agent_name": None,
                "queue": None,
                "team": ORGANISATION,
                "campaign": CAMPAIGN_ID if _of_campaign(call) else None,
                "answered_at": to_second(answered_at),
                "ended_at": to_second(call.ended_at),
                "talk_seconds": seconds(answered_at, call.ended_at) if answered_at is not None else 0,
                **columns,
            },
            people=people,
        )

    def _consultation(
        self, events: list[_Event], desk: _Desk, call: PlannedCall, *, answered_at: datetime
    ) -> list[Person]:
        """Now and then the agent puts the customer on hold and asks the supervisor; the events are added."""
        talk = seconds(answered_at, call.ended_at)
        if talk < CONSULTS_FROM_SECONDS or self._chance.random() >= CONSULTED:
            return []
        held = answered_at + timedelta(seconds=self._chance.randint(10, talk - 30))
        took, back = (held + timedelta(seconds=span) for span in (self._chance.randint(2, 8), 25))
        channel = f"SIP/{SUPERVISOR}-{call.number:08x}"
        events.append(self._of_agent(desk, held, "onhold", call))
        events += (
            _Event(at=at, source="CONSULT", event=event, number=SUPERVISOR, agent=desk.agent, channel=channel)
            for at, event in ((held, "ringing"), (took, "answer"), (back, "hangup"))
        )
        events.append(self._of_agent(desk, back, "resume", call))
        return [Person(role=Role.CONSULT, agent_id=None, outcome=Outcome.ANSWERED)]

    def _campaign_agent(self, call: PlannedCall) -> _Desk:
        """Who dials for a campaign: an agent of its own, the one who has been free for longest."""
        free, number = self._dialling[0] if self._dialling else (None, 0)
        if free is not None and free <= call.started_at:
            heapq.heappop(self._dialling)
        else:
            number = next(self._numbers)
        heapq.heappush(self._dialling, ((call.wrapped_up_at or call.ended_at) + timedelta(seconds=5), number))
        return _Desk(agent=str(number), phone=str(number - 1000))

    def _of_agent(self, desk: _Desk, at: datetime, event: str, call: PlannedCall, *, first: str = "") -> _Event:
        channel = f"Local/{desk.phone}@hosted-agent-{call.number:06x}{desk.ring:02x};1"
        return _Event(
            at=at, source="AGENT", event=event, number=desk.phone, agent=desk.agent, channel=channel, first=first
        )

    # Writing

    def _common(self, call: PlannedCall, customer: Number, *, session: str) -> dict[str, str]:
        """What all events of a call say."""
        direction = "dialin" if call.direction is Direction.INBOUND else "dialout"
        said = {
            "calleridnum": _spelled(call, customer) if direction == "dialin" else customer.dialled,
            "didnumber": call.line.dialled if direction == "dialin" else "",
            "sessionid": session,
            "AgentTeamId": "31",
            "modeltype": "Campaign" if _of_campaign(call) else "BusinessApp",
            "model_id": CAMPAIGN_ID if _of_campaign(call) else "1",
            "AgentGroupId": self._group(call),
            "calltype": direction,
            "from": direction,
            "orgidentity": ORGANISATION,
        }
        reference = _reference(call)
        return said | ({USERDATA: reference} if reference else {})

    def _pushed(self, events: Iterable[_Event], common: Mapping[str, str], *, late: float) -> list[Due[Push]]:
        """Each event as it arrives: a share of them late, some twice."""
        chance = self._chance
        pushed = []
        for place, event in enumerate(sorted(events, key=lambda event: event.at)):
            said = dict(common) | {
                "activenum": event.number,
                "source": event.source,
                "event": event.event,
                "uniqueid": _unique(event, common["sessionid"]),
                "eventTime": self._local(event.at),
                "channel": event.channel,
                "agentno": event.agent,
                "eventid": str(self._milliseconds(event.at) * 100 + place),
            }
            if event.first:
                said["hangupfirst"] = event.first
            push = Push(body=_written(said), content_type=CONTENT_TYPE)
            delay = chance.randint(1, LATE_SECONDS) if chance.random() < late else 0
            at = event.at + timedelta(seconds=delay)
            pushed.append(Due(at=at, what=push))
            if chance.random() < REPEATED:
                again = replace(push, repeated=True)
                pushed.append(Due(at=at + timedelta(seconds=chance.randint(0, LATE_SECONDS)), what=again))
        return pushed

    def _states(self, call: PlannedCall, desk: _Desk) -> list[Due[Push]]:
        """The login of an agent who is seen for the first time, the work after the call, a break now and then."""
        said: list[tuple[datetime, str]] = []
        if desk.agent not in self._here:
            self._here.add(desk.agent)
            said += [(call.started_at, word) for word in ("login", "workwayall", "acwanswer")]
        done = call.wrapped_up_at
        if done is not None:
            said += [(call.ended_at, "hangupacw"), (done, "acwstop")]
            if self._chance.random() < BREAKS:
                said += [(done, "paused"), (done + timedelta(seconds=1), "nopaused")]
        return [
            Due(
                at=at,
                what=Push(
                    body=_written(
                        {
                            "event": word,
                            "agentno": desk.agent,
                            "AgentGroupId": self._group(call),
                            "AgentTeamId": "31",
                            "eventTime": self._local(at),
                            "eventid": str(self._milliseconds(at) * 100 + 90 + place),
                        }
                    ),
                    content_type=CONTENT_TYPE,
                    silent=True,
                ),
            )
            for place, (at, word) in enumerate(said)
        ]

    def _unreadable(self, call: PlannedCall) -> Push:
        said = {"source": "AGENT", "event": "ringing", "eventTime": self._local(call.ended_at), "agentno": "7101"}
        body = _written(said | {"eventid": str(call.number)})
        return Push(body=body, content_type=CONTENT_TYPE, broken=True)

    def _session(self, call: PlannedCall) -> str:
        name = f"{self._centre.start.isoformat()}/{self._centre.seed}/{call.number}"
        return blake2b(name.encode(), digest_size=16).hexdigest()

    def _group(self, call: PlannedCall) -> str:
        if call.queue is not None:
            return call.queue.number
        agent = call.caller or (call.attempts[0].agent if call.attempts else None)
        return self._groups[agent.team] if agent is not None else self._centre.queues[0].number

    def _local(self, at: datetime) -> str:
        return f"{at.astimezone(self._zone):%Y-%m-%d %H:%M:%S}"

    def _milliseconds(self, at: datetime) -> int:
        return max(0, int((at - self._centre.start).total_seconds() * 1000))


def _desk(attempt: Attempt, *, ring: int) -> _Desk:
    return _Desk(agent=AGENT_PREFIX + attempt.agent.extension, phone=attempt.agent.extension, ring=ring)


def _spelled(call: PlannedCall, customer: Number) -> str:
    """The caller's number as trunks present it: national, international, and that after a form was decoded."""
    forms = (customer.dialled, customer.e164, " " + customer.international)
    return forms[(0, 0, 0, 1, 2)[call.number % 5]]


def _reference(call: PlannedCall) -> str | None:
    """`userdata`, which the vendor gives back for campaigns."""
    if call.ordered is not None:
        return call.ordered.get(USERDATA)
    return f"{call.contact.ref}-{call.position + 1}" if call.contact is not None else None


def _of_campaign(call: PlannedCall) -> bool:
    return call.contact is not None or bool(call.ordered)


def _unique(event: _Event, session: str) -> str:
    """The id of the channel."""
    return f"{session[:8]}.{crc32(event.channel.encode())}" if event.channel else ""


def _written(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}&" for key, value in fields.items()).encode()
