"""A believable contact centre: a seeded, pure generator of planned calls in the order of their start.

Calls arrive as they do in life (at random, at a rate that follows the hour), wait for agents who are in other calls,
give up, are not answered by one agent and then by another, are transferred; campaigns try the numbers of a contact one
after another. An agent is never in two calls, nor rung while in one. The same `Centre` gives the same calls.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from cdrhub.model.disposition import Direction, Disposition, Outcome
from cdrhub.sources.simulation.numbers import customers, lines
from cdrhub.sources.simulation.planned import (
    Agent,
    Attempt,
    Contact,
    Course,
    PlannedCall,
    Queue,
    Side,
    Transfer,
    TransferKind,
    seconds,
)

ALL_DAY: Final = (1.0,) * 24
"""The same rate at every hour."""

OFFICE_DAY: Final = (0.0,) * 8 + (0.4, 0.8, 1.0, 0.95, 0.6, 0.7, 0.9, 0.95, 0.75, 0.4) + (0.0,) * 6
"""Open from 8 to 18 with a peak before noon and one in the afternoon: the share of the busiest hour, by hour."""

QUEUES: Final = (
    Queue(number="611", name="Sales"),
    Queue(number="612", name="Support"),
    Queue(number="615", name="Billing", ring_all=True),
)

MIX: Final[Mapping[Course, float]] = MappingProxyType(
    {
        Course.QUEUE: 0.42,
        Course.DIRECT: 0.12,
        Course.MENU: 0.04,
        Course.OUTBOUND: 0.18,
        Course.CAMPAIGN: 0.16,
        Course.INTERNAL: 0.08,
    }
)

AGENT_SECONDS: Final = 125.0  #: of agents' time that the average call of MIX takes, the after-call work included
OCCUPANCY: Final = 0.75  #: that a centre is staffed for where the number of agents is not given
SPARE_AGENTS: Final = 4
MOST_AGENTS: Final = 900_000  #: extensions have six digits at most

AGENT_RINGS_SECONDS: Final = 15  #: then a queue tries the next agent
AGENT_PAUSES_SECONDS: Final = 30  #: an agent who did not answer is left alone for so long
QUEUE_TIMEOUT_SECONDS: Final = 300
DIALLER_WAITS_SECONDS: Final = 8  #: for a free agent, once the customer has picked up
RING_ALL_AGENTS: Final = 3
REACHABLE: Final = 0.7  #: share of the direct callers who choose an agent who is free
TRANSFER_AFTER_SECONDS: Final = 20  #: of talk, at least
LONGEST_TALK_SECONDS: Final = 2_400

_NAMES: Final = ("Ada", "Björn", "Chidi", "Dana", "Émile", "Farid", "Grace", "Hanna", "Ines", "Joe")
_PICKS: Final = 8  #: agents who are asked at random whether they are free before someone is called off

_DISPOSITIONS: Final = {
    Outcome.ANSWERED: Disposition.ANSWERED,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.BUSY: Disposition.BUSY,
    Outcome.REJECTED: Disposition.REJECTED,
    Outcome.CANCELLED: Disposition.CANCELLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Centre:
    """What the contact centre is like.

    `calls_per_hour` arrive or are made in the busiest hour of `day` (24 shares of it, UTC); `agents`: None for as many
    as they need. `abandoned`: the share of queue callers with hardly any patience; others give up too when they wait
    long. `region`: ISO 3166-1 alpha-2, where all numbers are valid (ValueError from `calls` where there are none).
    """

    seed: int = 1
    start: datetime  #: aware; no call starts before
    calls_per_hour: float = 300.0
    agents: int | None = None
    region: str = "FR"
    day: tuple[float, ...] = ALL_DAY
    mix: Mapping[Course, float] = field(default_factory=lambda: MIX)
    queues: tuple[Queue, ...] = QUEUES
    abandoned: float = 0.12
    transferred: float = 0.08  #: share of the answered inbound calls


def calls(centre: Centre) -> Iterator[PlannedCall]:
    """The calls of `centre`, endless, in the order of their start."""
    return _Floor(centre).calls()


def staff(centre: Centre) -> tuple[Agent, ...]:
    """The agents of `centre`: extensions from 101 on (from 1001 or more digits where there are more than 899)."""
    load = centre.calls_per_hour / 3600 * AGENT_SECONDS
    wanted = centre.agents if centre.agents is not None else math.ceil(load / OCCUPANCY) + SPARE_AGENTS
    number = max(2 * len(centre.queues), min(wanted, MOST_AGENTS))
    digits = max(3, len(str(number)))
    first = 10 ** (digits - 1) if number < 9 * 10 ** (digits - 1) else 10**digits
    teams = centre.queues
    return tuple(
        Agent(
            extension=str(first + place),
            name=f"{_NAMES[place % len(_NAMES)]} {first + place}",
            team=teams[place % len(teams)].name,
        )
        for place in range(1, number + 1)
    )


class _Floor:
    """The agents and when each is free again, and the contacts still to be tried."""

    def __init__(self, centre: Centre) -> None:
        if not any(centre.day) or len(centre.day) != 24:
            raise ValueError("a day has 24 hours, and calls in one of them")
        self.centre = centre
        self.chance = random.Random(centre.seed)  # noqa: S311 - a simulation, no secret
        self.customers = customers(centre.region)
        self.lines = lines(centre.region)
        self.agents = staff(centre)
        self.place = {agent.extension: place for place, agent in enumerate(self.agents)}
        start = centre.start.astimezone(UTC)
        self.free = [start] * len(self.agents)
        #: By team, who has been idle longest; an entry that is not in `free` any more is stale.
        self.idle: dict[str, list[tuple[datetime, int]]] = {queue.name: [] for queue in centre.queues}
        for place, agent in enumerate(self.agents):
            heapq.heappush(self.idle[agent.team], (start, place))
        self.courses = tuple(centre.mix)
        self.weights = tuple(centre.mix.values())
        self.again: list[tuple[datetime, int, Contact, int]] = []  #: when a contact's next number is dialled
        self.contacts = 0
        self.number = 0

    def calls(self) -> Iterator[PlannedCall]:
        """One call after another; an arrival for which nobody of ours is free to make the call makes none."""
        at = self._after(self.centre.start.astimezone(UTC))
        while True:
            if self.again and self.again[0][0] <= at:
                when, _, contact, position = heapq.heappop(self.again)
                yield self._campaign(when, contact, position)
                continue
            course = self.chance.choices(self.courses, self.weights)[0]
            call = self._planned(course, at)
            if call is not None:
                yield call
            at = self._after(at)

    def _planned(self, course: Course, at: datetime) -> PlannedCall | None:
        match course:
            case Course.QUEUE:
                return self._queue(at)
            case Course.DIRECT:
                return self._direct(at)
            case Course.MENU:
                return self._menu(at)
            case Course.OUTBOUND:
                return self._outbound(at)
            case Course.INTERNAL:
                return self._internal(at)
            case Course.CAMPAIGN:
                self.contacts += 1
                numbers = tuple(self.chance.sample(self.customers, self.chance.choice((1, 2, 2, 3, 3))))
                contact = Contact(ref=f"case-{self.contacts:06}", campaign="Winback", numbers=numbers)
                return self._campaign(at, contact, 0)

    # Arrivals

    def _after(self, at: datetime) -> datetime:
        """The next arrival after `at`: a Poisson process whose rate is that of the hour."""
        due = self.chance.expovariate(1.0)
        while True:
            rate = self.centre.calls_per_hour / 3600 * self.centre.day[at.hour]
            hour = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            held = rate * (hour - at).total_seconds()
            if due < held:
                later = at + timedelta(seconds=due / rate)
                return later.replace(microsecond=later.microsecond // 1000 * 1000)
            due -= held
            at = hour

    # Agents

    def _longest_idle(self, team: str, at: datetime) -> tuple[int, datetime]:
        """Who of a team can be rung first, and when, a whole number of seconds after `at`."""
        idle = self.idle[team]
        while self.free[idle[0][1]] != idle[0][0]:
            heapq.heappop(idle)
        free, place = idle[0]
        return place, at if free <= at else at + timedelta(seconds=math.ceil((free - at).total_seconds()))

    def _anyone(self, at: datetime, *, but: Agent | None = None) -> Agent | None:
        """Someone who is free at `at`; None where nobody is found."""
        for _ in range(_PICKS):
            agent = self.chance.choice(self.agents)
            if agent is not but and self.free[self.place[agent.extension]] <= at:
                return agent
        return None

    def _until(self, agent: Agent, until: datetime) -> None:
        """`agent` is not free before `until`."""
        place = self.place[agent.extension]
        self.free[place] = until
        heapq.heappush(self.idle[agent.team], (until, place))

    def _wrapped_up(self, agent: Agent, ended_at: datetime) -> datetime:
        """The end of the after-call work of `agent`, who is not free before it."""
        until = ended_at + timedelta(seconds=2 + min(120, int(self.chance.expovariate(1 / 15))))
        self._until(agent, until)
        return until

    # Spans

    def _between(self, least: int, most: int) -> timedelta:
        return timedelta(seconds=self.chance.randint(least, most))

    def _talk(self) -> timedelta:
        """Log-normal, as handling times are: half of them shorter than two minutes, a few very long."""
        talk = min(LONGEST_TALK_SECONDS, 4 + int(self.chance.lognormvariate(math.log(110), 0.85)))
        return timedelta(seconds=talk)

    def _side(self, *, customer: Side) -> Side:
        """Who hangs up after a conversation: the customer more often than the agent."""
        other = Side.CALLEE if customer is Side.CALLER else Side.CALLER
        return customer if self.chance.random() < 0.6 else other

    # Calls

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _queue(self, at: datetime) -> PlannedCall:
        chance = self.chance
        queue = chance.choice(self.centre.queues)
        queued = at + (self._between(4, 25) if chance.random() < 0.5 else timedelta())
        impatient = chance.random() < self.centre.abandoned
        patience = chance.randint(3, 40) if impatient else 100 + int(chance.expovariate(1 / 120))
        gives_up = queued + timedelta(seconds=min(patience, QUEUE_TIMEOUT_SECONDS))
        attempts, answered = self._rung(queue, queued, gives_up, slow=impatient)
        if answered is None:
            return PlannedCall(
                number=self._next(),
                course=Course.QUEUE,
                direction=Direction.INBOUND,
                disposition=Disposition.ABANDONED,
                started_at=at,
                connected_at=at,
                queued_at=queued,
                ringing_at=attempts[0].offered_at if attempts else None,
                ended_at=gives_up,
                hung_up=Side.CALLER if patience <= QUEUE_TIMEOUT_SECONDS else Side.SYSTEM,
                customer=chance.choice(self.customers),
                line=chance.choice(self.lines),
                queue=queue,
                attempts=attempts,
            )
        return self._conversation(
            PlannedCall(
                number=self._next(),
                course=Course.QUEUE,
                direction=Direction.INBOUND,
                disposition=Disposition.ANSWERED,
                started_at=at,
                connected_at=at,
                queued_at=queued,
                ringing_at=attempts[0].offered_at,
                answered_at=answered.until,
                ended_at=answered.until + self._talk(),
                hung_up=self._side(customer=Side.CALLER),
                customer=chance.choice(self.customers),
                line=chance.choice(self.lines),
                queue=queue,
                attempts=attempts,
            ),
            answered.agent,
        )

    def _rung(
        self, queue: Queue, queued: datetime, gives_up: datetime, *, slow: bool
    ) -> tuple[tuple[Attempt, ...], Attempt | None]:
        """Who is rung for a caller who gives up at `gives_up`, and who answers. `slow`: nobody answers in time."""
        attempts: list[Attempt] = []
        clock = queued + self._between(1, 10)
        while True:
            place, offered = self._longest_idle(queue.name, clock)
            if offered >= gives_up:
                return tuple(attempts), None
            rung = [self.agents[place]]
            if queue.ring_all:
                rung += self._colleagues(rung[0], offered)
            stops, outcome = self._answers(offered, slow=slow)
            if stops >= gives_up:
                stops, outcome = gives_up, Outcome.CANCELLED
            others = Outcome.LOST_RACE if outcome is Outcome.ANSWERED else outcome
            for number, agent in enumerate(rung):
                said = others if number else outcome
                attempts.append(Attempt(agent=agent, offered_at=offered, until=stops, outcome=said))
                missed = said in (Outcome.NO_ANSWER, Outcome.REJECTED)
                self._until(agent, stops + timedelta(seconds=AGENT_PAUSES_SECONDS if missed else 1))
            if outcome is Outcome.ANSWERED:
                return tuple(attempts), attempts[-len(rung)]
            if outcome is Outcome.CANCELLED:
                return tuple(attempts), None
            clock = stops + timedelta(seconds=1)

    def _colleagues(self, agent: Agent, at: datetime) -> list[Agent]:
        """Others of the team who are free at `at`, a few of those who have been idle longest."""
        idle = heapq.nsmallest(4 * RING_ALL_AGENTS, self.idle[agent.team])
        free = dict.fromkeys(place for since, place in idle if self.free[place] == since <= at)
        return [self.agents[place] for place in free if self.agents[place] is not agent][: RING_ALL_AGENTS - 1]

    def _answers(self, offered: datetime, *, slow: bool) -> tuple[datetime, Outcome]:
        """When an agent's phone stops ringing, and why."""
        happens = self.chance.random()
        if slow or happens < 0.07:
            return offered + timedelta(seconds=AGENT_RINGS_SECONDS), Outcome.NO_ANSWER
        if happens < 0.10:
            return offered + self._between(2, 6), Outcome.REJECTED
        return offered + self._between(2, 11), Outcome.ANSWERED

    def _conversation(self, call: PlannedCall, agent: Agent) -> PlannedCall:
        """`call`, which `agent` has answered, with a transfer or without, and with the agents taken until its end."""
        answered = call.answered_at or call.started_at
        talk = seconds(answered, call.ended_at)
        if self.chance.random() < self.centre.transferred and talk > 3 * TRANSFER_AFTER_SECONDS:
            at = answered + self._between(TRANSFER_AFTER_SECONDS, talk - 2 * TRANSFER_AFTER_SECONDS)
            colleague = self._anyone(at, but=agent)
            if colleague is not None:
                return self._transferred(call, agent, colleague, at)
        return replace(call, wrapped_up_at=self._wrapped_up(agent, call.ended_at))

    def _transferred(self, call: PlannedCall, agent: Agent, colleague: Agent, at: datetime) -> PlannedCall:
        kind = TransferKind.BLIND if self.chance.random() < 0.5 else TransferKind.CONSULTED
        took = at + self._between(2, 12)
        joined = took if kind is TransferKind.BLIND else took + self._between(3, 25)
        ended = max(call.ended_at, joined + timedelta(seconds=TRANSFER_AFTER_SECONDS))
        self._wrapped_up(agent, at if kind is TransferKind.BLIND else joined)
        return replace(
            call,
            ended_at=ended,
            transfer=Transfer(kind=kind, to=colleague, at=at, answered_at=took, joined_at=joined),
            wrapped_up_at=self._wrapped_up(colleague, ended),
        )

    def _direct(self, at: datetime) -> PlannedCall:
        chance = self.chance
        agent = (self._anyone(at) if chance.random() < REACHABLE else None) or chance.choice(self.agents)
        customer, line = chance.choice(self.customers), chance.choice(self.lines)
        happens = chance.random()
        if self.free[self.place[agent.extension]] > at:
            stops, outcome = at, Outcome.BUSY
        elif happens < 0.70:
            stops, outcome = at + self._between(3, 14), Outcome.ANSWERED
        elif happens < 0.75:
            stops, outcome = at + self._between(2, 8), Outcome.REJECTED
        elif happens < 0.85:
            stops, outcome = at + self._between(6, 20), Outcome.CANCELLED
        else:
            stops, outcome = at + timedelta(seconds=25), Outcome.NO_ANSWER
        call = PlannedCall(
            number=self._next(),
            course=Course.DIRECT,
            direction=Direction.INBOUND,
            disposition=_DISPOSITIONS[outcome],
            started_at=at,
            ringing_at=None if outcome is Outcome.BUSY else at,
            ended_at=stops,
            hung_up=Side.CALLER if outcome is Outcome.CANCELLED else Side.SYSTEM,
            customer=customer,
            line=line,
            attempts=(Attempt(agent=agent, offered_at=at, until=stops, outcome=outcome),),
        )
        if outcome is Outcome.ANSWERED:
            ended, hung_up = stops + self._talk(), self._side(customer=Side.CALLER)
            answered = replace(call, connected_at=stops, answered_at=stops, ended_at=ended, hung_up=hung_up)
            return self._conversation(answered, agent)
        if outcome is not Outcome.BUSY:
            self._until(agent, stops + timedelta(seconds=1))
        if outcome in (Outcome.BUSY, Outcome.NO_ANSWER) and chance.random() < 0.5:
            spoken = stops + self._between(4, 60)
            return replace(
                call, disposition=Disposition.VOICEMAIL, connected_at=stops, ended_at=spoken, hung_up=Side.CALLER
            )
        if outcome in (Outcome.BUSY, Outcome.REJECTED):
            return replace(call, ended_at=stops + timedelta(seconds=1), hung_up=Side.CALLEE)
        return call

    def _menu(self, at: datetime) -> PlannedCall:
        return PlannedCall(
            number=self._next(),
            course=Course.MENU,
            direction=Direction.INBOUND,
            disposition=Disposition.IVR,
            started_at=at,
            connected_at=at,
            ended_at=at + self._between(4, 60),
            hung_up=self.chance.choice((Side.CALLER, Side.SYSTEM)),
            customer=self.chance.choice(self.customers),
            line=self.chance.choice(self.lines),
        )

    def _outbound(self, at: datetime) -> PlannedCall | None:
        chance = self.chance
        agent = self._anyone(at)
        if agent is None:
            return None
        rings, rung, disposition, side = self._customer_rung(chance.random())
        call = PlannedCall(
            number=self._next(),
            course=Course.OUTBOUND,
            direction=Direction.OUTBOUND,
            disposition=disposition,
            started_at=at,
            ringing_at=at + timedelta(seconds=1) if rings else None,
            ended_at=at + timedelta(seconds=1) + rung,
            hung_up=side,
            customer=chance.choice(self.customers),
            line=chance.choice(self.lines),
            caller=agent,
        )
        if disposition is not Disposition.ANSWERED:
            return replace(call, wrapped_up_at=self._wrapped_up(agent, call.ended_at))
        answered = call.ended_at
        ended = answered + self._talk()
        return replace(
            call,
            connected_at=answered,
            answered_at=answered,
            ended_at=ended,
            hung_up=self._side(customer=Side.CALLEE),
            wrapped_up_at=self._wrapped_up(agent, ended),
        )

    def _customer_rung(self, happens: float) -> tuple[bool, timedelta, Disposition, Side]:
        """Whether a customer's phone rings, for how long, what comes of it, and who ends it if nothing does."""
        if happens < 0.52:
            return True, self._between(3, 25), Disposition.ANSWERED, Side.CALLER
        if happens < 0.72:
            return True, self._between(30, 45), Disposition.NO_ANSWER, Side.SYSTEM
        if happens < 0.82:
            return False, self._between(1, 3), Disposition.BUSY, Side.CALLEE
        if happens < 0.88:
            return True, self._between(2, 12), Disposition.REJECTED, Side.CALLEE
        if happens < 0.93:
            return True, self._between(5, 25), Disposition.CANCELLED, Side.CALLER
        return False, self._between(1, 4), Disposition.FAILED, Side.SYSTEM

    def _campaign(self, at: datetime, contact: Contact, position: int) -> PlannedCall:
        chance = self.chance
        happens = chance.random()
        if happens < 0.08:
            rings, rung, disposition, side = True, self._between(8, 25), Disposition.VOICEMAIL, Side.SYSTEM
        else:
            rings, rung, disposition, side = self._customer_rung(chance.random())
            if disposition is Disposition.CANCELLED:  # a dialler does not lose its patience
                disposition, side = Disposition.NO_ANSWER, Side.SYSTEM
        stops = at + timedelta(seconds=1) + rung
        call = PlannedCall(
            number=self._next(),
            course=Course.CAMPAIGN,
            direction=Direction.OUTBOUND,
            disposition=disposition,
            started_at=at,
            ringing_at=at + timedelta(seconds=1) if rings else None,
            ended_at=stops,
            hung_up=side,
            customer=contact.numbers[position],
            line=self.lines[0],
            contact=contact,
            position=position,
        )
        if disposition is Disposition.VOICEMAIL:
            call = replace(call, connected_at=stops, ended_at=stops + self._between(2, 6))
        elif disposition is Disposition.ANSWERED:
            call = self._joined(call, picked_up=stops)
        if call.answered_at is None and position + 1 < len(contact.numbers):
            later = call.ended_at + self._between(5, 90)
            heapq.heappush(self.again, (later, call.number, contact, position + 1))
        return call

    def _joined(self, call: PlannedCall, *, picked_up: datetime) -> PlannedCall:
        """`call`, whose customer has picked up, with the agent who is joined, if one is free soon enough."""
        team = self.chance.choice(self.centre.queues).name
        place, offered = self._longest_idle(team, picked_up)
        agent = self.agents[place]
        answered = offered + self._between(0, 3)
        gives_up = picked_up + timedelta(seconds=DIALLER_WAITS_SECONDS)
        if answered > gives_up:
            return replace(
                call,
                disposition=Disposition.ABANDONED,
                connected_at=picked_up,
                ended_at=gives_up,
                hung_up=Side.CALLEE,
            )
        ended = answered + self._talk()
        attempt = Attempt(agent=agent, offered_at=offered, until=answered, outcome=Outcome.ANSWERED)
        return replace(
            call,
            connected_at=picked_up,
            answered_at=answered,
            ended_at=ended,
            hung_up=self._side(customer=Side.CALLEE),
            attempts=(attempt,),
            wrapped_up_at=self._wrapped_up(agent, ended),
        )

    def _internal(self, at: datetime) -> PlannedCall | None:
        chance = self.chance
        caller = self._anyone(at)
        if caller is None:
            return None
        colleague = self._anyone(at, but=caller)
        if colleague is None:
            return None
        happens = chance.random()
        if happens < 0.75:
            stops, outcome, side = at + self._between(2, 14), Outcome.ANSWERED, self._side(customer=Side.CALLEE)
        elif happens < 0.88:
            stops, outcome, side = at + self._between(5, 20), Outcome.CANCELLED, Side.CALLER
        else:
            stops, outcome, side = at + timedelta(seconds=25), Outcome.NO_ANSWER, Side.SYSTEM
        answered = stops if outcome is Outcome.ANSWERED else None
        ended = stops if answered is None else answered + timedelta(seconds=4 + int(chance.expovariate(1 / 60)))
        self._until(colleague, ended + timedelta(seconds=1))
        self._until(caller, ended + timedelta(seconds=1))
        return PlannedCall(
            number=self._next(),
            course=Course.INTERNAL,
            direction=Direction.INTERNAL,
            disposition=_DISPOSITIONS[outcome],
            started_at=at,
            ringing_at=at,
            connected_at=answered,
            answered_at=answered,
            ended_at=ended,
            hung_up=side,
            line=self.lines[0],
            caller=caller,
            attempts=(Attempt(agent=colleague, offered_at=at, until=stops, outcome=outcome),),
        )
