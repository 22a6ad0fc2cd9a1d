"""asterCC's pushed events as updates: one call per `sessionid`, one event at a time.

The published handler of the vendor knows outgoing calls only; incoming ones follow the published flow of events
(https://wiki.astercc.org, "receive call events via http post"). Events come late, twice, out of order or not at all:

- an outgoing call begins when the customer rings. The agent's phone, which rings first, opens no call by itself, except
  one that somebody ordered (`userdata`) and that ends before: whoever ordered it waits for its end;
- CALLER and CALLEE outrank the agent in when a call ended, the agent outranks CONVERSATION; that it is over the agent
  does not tell, for he may have transferred it;
- an AGENT hang-up without `hangupfirst` is a phone that was not picked up and ends nothing;
- an outgoing call of which the events that came do not tell that nobody talked is marked: redial does not go on by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.derive import ANSWER_UNSEEN, END_UNSEEN
from cdrhub.model.disposition import Direction, EndedBy, Outcome, Role, State
from cdrhub.model.numbers import NumberPlan, party
from cdrhub.model.record import RawRecord
from cdrhub.model.update import (
    Authority,
    CallUpdate,
    Decoded,
    Ignored,
    LegUpdate,
    Sequence,
    bounded_key,
    storable,
    storable_json,
)
from cdrhub.sources.astercc.agents import of_an_agent, read_agent_state
from cdrhub.sources.astercc.bodies import read_fields
from cdrhub.sources.astercc.config import AsterCCSettings
from cdrhub.sources.astercc.times import event_time
from cdrhub.sources.base import Decoder
from cdrhub.sources.digits import SEQUENCE_DIGITS, whole

EVENTS = frozenset({"ringing", "answer", "hangup", "join", "incoming", "onhold", "resume"})
SOURCES = frozenset({"AGENT", "CALLER", "CALLEE", "CONSULT", "CONVERSATION"})
_WHILE_TALKING = frozenset({"onhold", "resume"})  #: nobody holds a call that rings; nor consults anybody about it
MAX_WORD = 64  #: characters kept of a word that nobody knows

_AUTHORITY = {
    "CALLER": Authority.DECISIVE,
    "CALLEE": Authority.DECISIVE,
    "AGENT": Authority.RECORD,
    "CONSULT": Authority.RECORD,
    "CONVERSATION": Authority.PROVISIONAL,
}
_ENDED_BY = {"AGENT": EndedBy.AGENT, "CALLER": EndedBy.CALLER, "CALLEE": EndedBy.CALLEE}
_COLUMNS = frozenset(
    {"calleridnum", "calleridname", "activenum", "didnumber", "source", "event", "sessionid", "eventTime", "calltype"}
    | {"from", "agentno", "orgidentity", "eventid", "userdata", "hangupfirst", "uniqueid", "channel"}
)


def decoder(settings: AsterCCSettings) -> Decoder:
    """The decoder for these settings."""
    plan = settings.number_plan()

    def decode(record: RawRecord) -> Decoded:
        text = record.body.lstrip()
        if text.startswith((b"|Retuen|", b"|Return|")):
            return Ignored(why="reply")  # of MAKECALL, in a file that holds both
        fields = read_fields(text)
        if of_an_agent(fields.get("event", "").strip().lower()):
            return read_agent_state(fields, timezone=settings.timezone)
        if (ignored := _of_no_call(fields)) is not None:
            return ignored
        return _Event(fields, settings, plan).update(record)

    return decode


def _of_no_call(fields: dict[str, str]) -> Ignored | None:
    event = fields.get("event", "").strip()
    if fields.get("sessionid", "").strip():
        if event:
            return None
        raise DecodeError(Reason.BAD_VALUE, "a sessionid without an event")
    if event:
        raise DecodeError(Reason.MISSING_KEY, f"the event {event[:MAX_WORD]!r} has no sessionid")
    if "EVENT" in fields:
        return Ignored(why="command")
    if "diallogid" in fields:
        return Ignored(why="submit_post")  # an agent saved a campaign's result
    raise DecodeError(Reason.UNPARSABLE, "no event: the fields are not those of a pushed event")


class _Event:
    """One event of one call, on its way to an update."""

    def __init__(self, fields: dict[str, str], settings: AsterCCSettings, plan: NumberPlan) -> None:
        self.fields = fields
        self.settings = settings
        self.plan = plan
        self.values: dict[str, Any] = {}
        self.legs: list[LegUpdate] = []
        self.flags: set[str] = set()
        self.unmapped: dict[str, str] = {}
        self.event = self.field("event").lower()
        self.source = self.field("source").upper()
        self.agent = self.field("agentno")
        self.outgoing = self._direction()
        self.at = self._time()

    def field(self, name: str) -> str:
        return self.fields.get(name, "").strip()

    def update(self, record: RawRecord) -> CallUpdate:
        if self.event not in EVENTS:
            self.unmapped["event"] = self.event[:MAX_WORD]
        if self.source not in SOURCES:
            self.unmapped["source"] = self.source[:MAX_WORD]
        self._call()
        if self.source == "CONSULT":
            self._consult()
        elif self.outgoing:
            self._outgoing()
        else:
            self._incoming()
        session, event_id = self.field("sessionid"), self.field("eventid")
        number = whole(event_id, digits=SEQUENCE_DIGITS)
        attributes = self._attributes()
        return CallUpdate(
            call_key=bounded_key(session),
            kind=self._kind(),
            digest=record.digest,
            values=storable(self.values, self.flags),
            legs=tuple(self.legs),
            attributes=attributes,
            flags=frozenset(self.flags),
            at=self.at,
            # The number of an event rises as long as the server runs; sessions are told apart all the same.
            sequence=Sequence(core="astercc", number=number) if number is not None else None,
            # With what it says beside it: a server that numbers badly must not make one event of two.
            event_id=bounded_key("/".join((session, event_id, self.source, self.event, self.field("uniqueid"))))
            if number is not None
            else None,
            authority=_AUTHORITY.get(self.source, Authority.PROVISIONAL),
            opens=self._opens(),
        )

    def _kind(self) -> str:
        """What kind of event it is; another agent's contradicts nothing."""
        kind = f"{self.source}.{self.event}"[:MAX_WORD].lower()
        return bounded_key(f"{kind}.{self.agent}") if self.source == "AGENT" else kind

    def _opens(self) -> bool:
        if self.event not in EVENTS or self.source not in SOURCES or self.source == "CONSULT":
            return False
        return self.source == "CALLEE" or self._ordered_and_over() if self.outgoing else True

    def _ordered_and_over(self) -> bool:
        """Whether this is the end of a call that somebody ordered: perhaps the customer never rang."""
        return self.outgoing and self.event == "hangup" and bool(self.field("userdata"))

    def _in_vain(self) -> bool:
        """Whether the agent did not pick up a call that somebody ordered: nothing more will come of it."""
        return self._ordered_and_over() and self.source == "AGENT" and not self.field("hangupfirst")

    def _direction(self) -> bool:
        word = (self.field("calltype") or self.field("from")).lower()
        if word == "dialout":
            direction = Direction.OUTBOUND
        elif word == "dialin":
            direction = Direction.INBOUND
        elif word in ("", "consult"):
            direction = {"CALLEE": Direction.OUTBOUND, "CALLER": Direction.INBOUND}.get(self.source, Direction.UNKNOWN)
        else:
            direction = Direction.INTERNAL
            self.unmapped["calltype"] = word[:MAX_WORD]
        self.values["direction"] = direction
        if self.source != "CONSULT" and word:
            self.values["type_raw"] = word
        return direction == Direction.OUTBOUND or (direction == Direction.INTERNAL and self.source == "CALLEE")

    def _time(self) -> datetime | None:
        return event_time(self.field("eventTime"), timezone=self.settings.timezone, flags=self.flags)

    def _call(self) -> None:
        self.values["team"] = self.field("orgidentity") or self.field("AgentTeamId")
        self.values["contact_ref"] = self.field("userdata")
        if self.field("modeltype").lower() == "campaign":
            self.values["campaign"] = self.field("model_id")
        # Where it does not say which way the call went, other events of its session do.
        may_be_outgoing = self.outgoing or self.values["direction"] == Direction.UNKNOWN
        if may_be_outgoing and (self.source == "CONSULT" or self.event in _WHILE_TALKING):
            self.flags.add(ANSWER_UNSEEN)
        if self.event != "hangup":
            return
        first = self.field("hangupfirst").upper()
        if may_be_outgoing:
            self._may_lack_events(first)
        if first:
            by = _ENDED_BY.get(first)
            if by is None:
                self.unmapped["hangupfirst"] = first[:MAX_WORD]
            else:
                self.values["ended_by"] = by
        if self.source in ("CALLER", "CALLEE", "CONVERSATION") or self._in_vain():
            self.values.update(state=State.ENDED, ended_at=self.at)
        elif self.source == "AGENT" and first:
            self.values["ended_at"] = self.at  # of a call that is over: he may have left it to a colleague

    def _may_lack_events(self, first: str) -> None:
        """Mark what this hang-up leaves open, unless other events tell it: one that was lost is not sent again."""
        if self.source in ("AGENT", "CONVERSATION"):
            self.flags.add(END_UNSEEN)
        if first and self.source == "CALLEE":
            self.flags.add(ANSWER_UNSEEN)  # who hung up first is told of legs that were answered

    def _phone(self) -> str:
        """The agent's phone: what the configuration says, else his own number in his own events."""
        known = self.settings.agent_phones.get(self.agent)
        return known or (self.field("activenum") if self.source == "AGENT" else "")

    def _agent_leg(self, leg_key: str, **values: Any) -> None:
        self.leg(
            leg_key,
            role=Role.AGENT,
            agent_id=self.agent,
            agent_extension=self._phone(),
            number=self._phone(),
            team=self.values["team"],
            parent_leg="queue" if self.values["direction"] == Direction.INBOUND else None,
            **values,
        )

    def leg(self, leg_key: str, *, yields: bool = False, **values: Any) -> None:
        said = storable({name: value for name, value in values.items() if value is not None}, self.flags)
        self.legs.append(LegUpdate(leg_key=bounded_key(leg_key), values=said, yields=yields))

    def _outgoing(self) -> None:
        called = self.field("activenum") if self.source == "CALLEE" else ""
        party(self.values, self.flags, "callee", called or self.field("calleridnum"), self.plan)
        self.values["callee_name"] = self.field("calleridname")
        party(self.values, self.flags, "caller", self._phone(), self.plan)
        self.values["dialed_number"] = called
        agent_leg = f"agent:{self.agent}" if self.agent else "agent"
        if self.source == "AGENT":
            if self.event in ("ringing", "answer"):
                self.values["started_at"] = self.at  # of a call whose customer never rang; else CALLEE's outranks it
            self._own_leg(agent_leg, agent=True)
            self.leg("callee", role=Role.CUSTOMER)  # to whom nobody talked, unless CALLEE says so
        elif self.source == "CALLEE":
            if self.event in ("ringing", "answer"):
                self.values["started_at"] = self.at
            # The customer is called after the agent picked up, so an answer of the agent that was lost is known.
            self._agent_leg(agent_leg, outcome=Outcome.ANSWERED)
            self._own_leg("callee", agent=False)

    def _incoming(self) -> None:
        party(self.values, self.flags, "caller", self.field("calleridnum"), self.plan)
        self.values["caller_name"] = self.field("calleridname")
        party(self.values, self.flags, "callee", self.field("didnumber"), self.plan)
        self.values["did"] = self.field("didnumber")
        if self.source in ("CALLER", "AGENT") and self.event != "hangup":
            self.values["started_at"] = self.at
        if self.source == "AGENT":
            # Of a call between agents CALLEE tells of the calling one, too, and knows his number alone.
            internal = self.values["direction"] == Direction.INTERNAL
            channel = (self.agent if internal else "") or self.field("uniqueid") or self.agent
            self._own_leg(f"agent:{channel}" if channel else "agent", agent=True)
        if self.values["direction"] == Direction.INBOUND:
            self._queue_leg()

    def _queue_leg(self) -> None:
        answered = self.source == "AGENT" and self.event == "answer"
        gone = self.event == "hangup" and self.source in ("CALLER", "CONVERSATION")
        outcome = Outcome.ANSWERED if answered else Outcome.ABANDONED if gone else None
        self.leg(
            "queue",
            yields=True,  # an agent who answered outweighs a caller of whom we only saw the end
            role=Role.QUEUE,
            queue_id=self.field("AgentGroupId"),
            offered_at=self.at if self.event == "incoming" else None,
            answered_at=self.at if answered else None,
            left_at=self.at if gone else None,
            outcome=outcome,
        )

    def _own_leg(self, leg_key: str, *, agent: bool) -> None:
        """The leg of the party that this event is of."""
        times: dict[str, Any] = {}
        if self.event == "ringing":
            times = {"offered_at": self.at, "outcome": Outcome.NO_ANSWER}
        elif self.event == "answer":
            times = {"answered_at": self.at, "outcome": Outcome.ANSWERED}
        elif self.event == "hangup":
            times = {"left_at": self.at, "outcome": self._unanswered(agent=agent)}
        if agent:
            self._agent_leg(leg_key, **times)
        else:
            number = self.field("activenum") or self.field("calleridnum")
            self.leg(leg_key, role=Role.CUSTOMER, number=number, **times)

    def _unanswered(self, *, agent: bool) -> Outcome:
        """What a hang-up alone says of its leg; ringing and answer say more. A customer who never rang was not
        reached; an agent has answered where somebody is said to have hung up first."""
        if not agent:
            return Outcome.FAILED
        return Outcome.ANSWERED if self.field("hangupfirst") else Outcome.NO_ANSWER

    def _consult(self) -> None:
        party_id = self.field("uniqueid") or self.field("activenum")
        times: dict[str, Any] = {}
        if self.event == "ringing":
            times = {"offered_at": self.at, "outcome": Outcome.NO_ANSWER}
        elif self.event in ("answer", "join"):
            times = {"answered_at": self.at, "outcome": Outcome.ANSWERED}
        elif self.event == "hangup":
            times = {"left_at": self.at}
        leg_key = f"consult:{party_id}" if party_id else "consult"
        self.leg(leg_key, role=Role.CONSULT, number=self.field("activenum"), **times)

    def _attributes(self) -> dict[str, Any]:
        """What has no column: as sent, by the vendor's key; what differs from event to event under its source."""
        attributes: dict[str, Any] = {
            name: value for name, value in self.fields.items() if name not in _COLUMNS and value.strip()
        }
        if self.values["direction"] == Direction.INBOUND:
            attributes.pop("AgentGroupId", None)  # the queue's leg has it
        if self.outgoing and (did := self.field("didnumber")):
            attributes["didnumber"] = did
        channel = self.field("channel")
        if channel:
            attributes["channels"] = {self.field("uniqueid") or self.source.lower(): channel}
        if self.unmapped:
            self.flags.add("unmapped_word")
            attributes["unmapped"] = self.unmapped
        return {str(name): value for name, value in storable_json(attributes, self.flags).items()}
