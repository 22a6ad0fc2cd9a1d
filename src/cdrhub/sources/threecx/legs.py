"""The legs of a 3CX line: the agent, the queue, the transfer target, who was polled and did not answer.

Leg keys name the role and the DN, so that an agent's own line (v20 Update 6 writes several lines a call) completes
the leg that the queue's line only named. What a line cannot tell of a leg is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cdrhub.model.disposition import Direction, Outcome, Role
from cdrhub.model.update import LegUpdate, bounded_key, storable
from cdrhub.sources.threecx.parties import Party
from cdrhub.sources.threecx.times import Times
from cdrhub.sources.threecx.verdict import Course, Verdict
from cdrhub.sources.threecx.words import Change, Kind, Side

_ROLES: Mapping[Kind, Role] = {
    Kind.PERSON: Role.AGENT,
    Kind.QUEUE: Role.QUEUE,
    Kind.IVR: Role.IVR,
    Kind.VOICEMAIL: Role.VOICEMAIL,
    Kind.CONFERENCE: Role.CONFERENCE,
}
_TALKS = frozenset({Role.AGENT, Role.TRANSFER, Role.CONFERENCE, Role.OTHER})
"""Roles of whom a leg says how long they talked."""


class Legs:
    """The legs of one line, as they are found."""

    def __init__(self, course: Course, verdict: Verdict, times: Times, duration: int | None, flags: set[str]) -> None:
        self._course = course
        self._verdict = verdict
        self._times = times
        self._duration = duration
        self._flags = flags
        self._found: list[LegUpdate] = []
        self._keys: set[str] = set()

    def of_call(self, missed: list[str], *, to_name: str, final_name: str) -> tuple[LegUpdate, ...]:
        """The legs of an inbound or internal call."""
        verdict, course = self._verdict, self._course
        self._first_party(verdict.to, to_name)
        for party in course.between:
            self._passed_through(party)
        final = course.final
        if final.kind is not Kind.NOBODY and (final.dn, final.number) != (verdict.to.dn, verdict.to.number):
            self._final_party(final, final_name)
        for dn in missed:
            self._add(Party(Kind.PERSON, dn, dn), Role.AGENT, outcome=Outcome.NO_ANSWER, again=True)
        return tuple(self._found)

    def of_outbound(self, customer: str, *, src_name: str, final_name: str) -> tuple[LegUpdate, ...]:
        """The legs of a call to the outside: the agent who dialled, the customer, whoever took over."""
        course, verdict, times = self._course, self._verdict, self._times
        reached, ending = verdict.reached, course.ending
        alone = course.change is not Change.REPLACED_SRC or course.final.kind is not Kind.PERSON
        if course.src.kind is Kind.PERSON:
            self._add(
                course.src,
                Role.AGENT,
                name=src_name,
                outcome=Outcome.ANSWERED if reached else Outcome.UNKNOWN,
                answered_at=times.answered_at if reached else None,
                left_at=times.ended_at if reached and alone else None,
                talk_seconds=self._duration if alone else None,
            )
        if reached:
            self._customer(
                customer,
                outcome=Outcome.ANSWERED,
                offered_at=times.started_at,
                answered_at=times.answered_at,
                left_at=times.ended_at,
                talk_seconds=self._duration,
            )
        else:
            rang = ending.rang and course.to.kind is Kind.OUTSIDE
            self._customer(
                customer,
                outcome=ending.outcome,
                offered_at=times.started_at if rang else None,
                left_at=times.ended_at,
            )
        if course.to.kind is Kind.IVR:
            self._passed_through(course.to)
        for party in course.between:
            if party.number != customer:
                self._passed_through(party)
        if course.final.kind is Kind.PERSON and course.final.dn != course.src.dn:
            self._add(course.final, Role.TRANSFER, name=final_name, outcome=self._taken_over())
        elif course.final.kind is Kind.QUEUE:
            self._machine(course.final, final_name, offered_at=None)
        return tuple(self._found)

    def of_click(self, customer: Party, *, agent_name: str, customer_name: str) -> tuple[LegUpdate, ...]:
        """The legs of a call that a click started: the agent was rung first, then the customer."""
        course, verdict, times = self._course, self._verdict, self._times
        ending = course.ending
        picked_up = Outcome.ANSWERED if verdict.reached else Outcome.NOT_BRIDGED
        rang = ending.rang or course.connected
        self._add(
            course.to,
            Role.AGENT,
            name=agent_name,
            outcome=picked_up if course.connected else ending.outcome,
            offered_at=times.started_at if rang else None,
            answered_at=times.answered_at,
            left_at=times.ended_at,
        )
        outcome = Outcome.ANSWERED if verdict.reached else ending.outcome
        if verdict.direction is Direction.INTERNAL:
            self._add(customer, Role.AGENT, name=customer_name, outcome=outcome)
        elif course.connected:
            self._customer(customer.number, outcome=outcome)
        for party in course.between:
            self._passed_through(party)
        return tuple(self._found)

    def _first_party(self, to: Party, name: str) -> None:
        """to-*, rung at the start of the call."""
        course, verdict, times = self._course, self._verdict, self._times
        change, ending, kind = course.change, course.ending, to.kind
        start, connected_at = times.started_at, times.answered_at
        if kind is Kind.PERSON or kind is Kind.CONFERENCE:
            role = _ROLES[kind]
            if verdict.first is to:
                moved_on = change is Change.REPLACED_DST
                self._add(
                    to,
                    role,
                    name=name,
                    outcome=Outcome.ANSWERED,
                    offered_at=start,
                    answered_at=connected_at,
                    left_at=None if moved_on else times.ended_at,
                    talk_seconds=None if moved_on else self._duration,
                    attempt_at=start,
                )
            elif change is Change.DIVERTED:
                self._add(to, role, name=name, outcome=Outcome.UNKNOWN)
            elif change in (Change.FORWARDED, Change.PICKED_UP) and course.final.kind is not Kind.NOBODY:
                outcome = Outcome.LOST_RACE if change is Change.PICKED_UP else Outcome.NO_ANSWER
                self._add(to, role, name=name, outcome=outcome, offered_at=start, attempt_at=start)
            else:
                self._add(
                    to,
                    role,
                    name=name,
                    outcome=ending.outcome,
                    offered_at=start if ending.rang else None,
                    left_at=times.ended_at if ending.rang else None,
                    attempt_at=start,
                )
        elif kind is Kind.VOICEMAIL:
            called = to.number.rpartition(".")[2] != to.dn
            if called and to.dn:
                rang = not course.at_once  # else before this line, if at all: another line tells that attempt
                self._add(
                    Party(Kind.PERSON, to.dn, to.dn),
                    Role.AGENT,
                    outcome=Outcome.NO_ANSWER,
                    offered_at=start if rang else None,
                    left_at=connected_at if rang else None,
                    attempt_at=start if rang else None,
                )
            self._machine(to, name, offered_at=connected_at)
        elif verdict.first is to:
            self._nameless(to, offered_at=start)
        else:
            self._machine(to, name, offered_at=start)

    def _final_party(self, final: Party, name: str) -> None:
        """final-*, where the call went on to after to-*."""
        course, verdict, times = self._course, self._verdict, self._times
        if final.kind not in (Kind.PERSON, Kind.CONFERENCE):
            if verdict.first is final:
                self._nameless(final, offered_at=None)
            else:
                self._machine(final, name, offered_at=None)
            return
        role = _ROLES[final.kind]
        if verdict.first is final:
            direct = not verdict.after_machine
            self._add(
                final,
                role,
                name=name,
                outcome=Outcome.ANSWERED,
                answered_at=times.answered_at if direct else None,
                left_at=times.ended_at if direct else None,
                talk_seconds=self._duration,
            )
        elif verdict.reached:
            self._add(final, Role.TRANSFER, name=name, outcome=self._taken_over())
        else:
            self._add(final, role, name=name, outcome=course.ending.outcome)

    def _taken_over(self) -> Outcome:
        change, ending = self._course.change, self._course.ending
        if not ending.by_participant:
            return ending.outcome
        return Outcome.FAILED if change is Change.FAILED_TRANSFER else Outcome.ANSWERED

    def _nameless(self, party: Party, *, offered_at: datetime | None) -> None:
        """A ring group of which nobody knows who took the call, or a person outside."""
        times, direct = self._times, not self._verdict.after_machine
        self._add(
            party,
            Role.OTHER,
            outcome=Outcome.ANSWERED,
            offered_at=offered_at,
            answered_at=times.answered_at if direct else None,
            left_at=times.ended_at if direct else None,
            talk_seconds=self._duration,
        )

    def _machine(self, party: Party, name: str, *, offered_at: datetime | None) -> None:
        """A queue, an IVR, a voicemail, or something of which the line says no more than the number."""
        connected_at = self._times.answered_at
        if party.kind is Kind.QUEUE:
            self._add(party, Role.QUEUE, name=name, outcome=self._queue_outcome(party), offered_at=offered_at)
        elif party.kind is Kind.IVR or party.kind is Kind.VOICEMAIL:
            if connected_at is None and party.kind is Kind.IVR:
                return
            outcome = Outcome.ANSWERED if connected_at else Outcome.UNKNOWN
            answered_at = None if offered_at is None else connected_at
            self._add(party, _ROLES[party.kind], outcome=outcome, offered_at=offered_at, answered_at=answered_at)
        elif party.kind is not Kind.NOBODY:
            self._add(party, Role.OTHER, outcome=Outcome.UNKNOWN, offered_at=offered_at)

    def _passed_through(self, party: Party) -> None:
        """A party of the chain: it was on the way, and when is not said."""
        if party.kind is Kind.PERSON:
            self._add(party, Role.AGENT if party.sure else Role.OTHER, outcome=Outcome.UNKNOWN)
        elif party.kind is not Kind.CLICK:
            self._machine(party, "", offered_at=None)

    def _queue_outcome(self, queue: Party) -> Outcome:
        """What became of a pass through a queue: the last queue before the person gave the call to that person."""
        course, verdict = self._course, self._verdict
        queues = [p for p in (verdict.to, *course.between, course.final) if p.kind is Kind.QUEUE]
        if queue is not queues[-1] or (course.change is Change.OVERFLOW and queue is verdict.to):
            return Outcome.OVERFLOW
        outbound = verdict.direction is Direction.OUTBOUND
        if verdict.reached and verdict.first is not None and verdict.first is not verdict.to and not outbound:
            return Outcome.ANSWERED
        ending = course.ending
        if ending.side is (Side.DST if outbound else Side.SRC):
            return Outcome.ABANDONED
        if ending.outcome is Outcome.NO_ANSWER or ending.side in (Side.SRC, Side.DST):
            return Outcome.TIMEOUT
        return Outcome.UNKNOWN

    def _customer(
        self,
        number: str,
        *,
        outcome: Outcome,
        offered_at: datetime | None = None,
        answered_at: datetime | None = None,
        left_at: datetime | None = None,
        talk_seconds: int | None = None,
    ) -> None:
        values: dict[str, Any] = {"role": Role.CUSTOMER, "outcome": outcome, "number": number}
        values |= _said(offered_at=offered_at, answered_at=answered_at, left_at=left_at)
        if answered_at is not None:
            values["talk_seconds"] = talk_seconds
        self._found.append(LegUpdate(leg_key="customer", values=storable(values, self._flags)))

    def _add(
        self,
        party: Party,
        role: Role,
        *,
        name: str = "",
        outcome: Outcome,
        offered_at: datetime | None = None,
        answered_at: datetime | None = None,
        left_at: datetime | None = None,
        talk_seconds: int | None = None,
        again: bool = False,
        attempt_at: datetime | None = None,
    ) -> None:
        """Add a leg. With `answered_at` the talk is said too, also that it cannot be told (None)."""
        dn = party.number if role is Role.OTHER else party.dn or party.number
        key = self._key(f"{role}:{dn}", again=again)
        if key is None:
            return
        name = name or party.name
        values: dict[str, Any] = {"role": role, "outcome": outcome, "number": party.number}
        values |= _said(offered_at=offered_at, answered_at=answered_at, left_at=left_at)
        if answered_at is not None and role in _TALKS:
            values["talk_seconds"] = talk_seconds
        if role is Role.AGENT or role is Role.TRANSFER:
            values |= {"agent_id": party.agent or dn, "agent_extension": dn}
            values |= {what: word for what, word in (("agent_name", name), ("team", party.team)) if word}
        elif role is Role.QUEUE:
            values |= {"queue_id": dn, "queue": name or dn, "team": party.team}
        self._found.append(
            LegUpdate(
                leg_key=bounded_key(key),
                values=storable(values, self._flags),
                attempt_at=attempt_at,
                # The queue's line does not know that the agent's line says that somebody answered. That of somebody
                # who sent the caller there knows that he answered before.
                yields=role is Role.QUEUE and outcome is not Outcome.OVERFLOW and not self._verdict.before_the_rest,
            )
        )

    def _key(self, key: str, *, again: bool) -> str | None:
        """The key of a further leg. None for one that is there, unless the same party may be rung `again`: then the
        second is `key/2`."""
        if key in self._keys:
            if not again:
                return None
            polls = 2
            while f"{key}/{polls}" in self._keys:
                polls += 1
            key = f"{key}/{polls}"
        self._keys.add(key)
        return key


def _said(**moments: datetime | None) -> dict[str, datetime]:
    return {name: at for name, at in moments.items() if at is not None}
