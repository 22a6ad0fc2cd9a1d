"""Cases, their numbers, the attempts on them: what redial knows of the world. Pure values, no I/O.

A *case* is one person to be reached, with telephone numbers in the order in which they are to be tried. A *round* is
opened by each order to dial; "tried", "exhausted" and "the next number" count within it, caps and cool-downs over all
rounds. An *attempt* is one order to one dialler for one number. Times are aware, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Disposition


class CaseState(StrEnum):
    """Where a case stands."""

    OPEN = "open"  #: nothing is asked of it
    DIALLING = "dialling"  #: an attempt is live
    WAITING = "waiting"  #: the next attempt is due at `next_action_at`
    PAUSED = "paused"  #: a person must look at it; `state_reason` says why
    CONTACTED = "contacted"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


MAY_HAVE_REACHED = frozenset({"abandoned", "ambiguous", "attempt_unknown", "contradiction"})
"""Reasons of a pause in which the person was, or may have been, reached: only a person says that more is to ring."""

CLOSED = frozenset({CaseState.CONTACTED, CaseState.EXHAUSTED, CaseState.CANCELLED})
"""States out of which only a new order to dial leads."""


class AttemptState(StrEnum):
    """Where an attempt stands."""

    DECIDED = "decided"  #: nothing has left the hub yet
    REQUESTED = "requested"  #: the request left; its answer was not seen
    ACCEPTED = "accepted"  #: the dialler said yes: no call yet, an order
    ENDED = "ended"  #: `outcome` says how
    REFUSED = "refused"  #: `refusal` says of which class
    UNKNOWN = "unknown"  #: its deadline passed and nobody could say what became of it
    CANCELLED = "cancelled"  #: dropped before the request left
    SUPERSEDED = "superseded"  #: the person was reached by another call, or somebody stopped the case


LIVE = frozenset({AttemptState.DECIDED, AttemptState.REQUESTED, AttemptState.ACCEPTED})
"""At most one attempt of a case, and one of an agent, is in one of these: unique columns of the table see to it."""


ASKED = frozenset({AttemptState.REQUESTED, AttemptState.ACCEPTED, AttemptState.SUPERSEDED})
"""States in which a request has left that may be, or become, a call."""


NOT_DIALLED = frozenset({AttemptState.DECIDED, AttemptState.CANCELLED, AttemptState.REFUSED})
"""States of attempts that nobody can report anything of."""


class Reported(StrEnum):
    """What a person reports of an attempt."""

    CONTACTED = "contacted"
    WRONG_PARTY = "wrong_party"
    VOICEMAIL = "voicemail"
    CALLBACK = "callback"
    DO_NOT_CALL = "do_not_call"
    REFUSED = "refused"


class PlacedBy(StrEnum):
    """Who ordered an attempt."""

    HUB = "hub"
    API = "api"  #: a CRM that dials by itself and announced it
    AGENT = "agent"  #: an agent's own call, known from its record


def may_ring(state: AttemptState, *, call_id: str | None, deadline_at: datetime | None, now: datetime) -> bool:
    """`Attempt.may_ring` of these columns of an attempt."""
    return state in ASKED and call_id is None and deadline_at is not None and deadline_at > now


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number of a case. `key` is what two spellings of it have in common: E.164, else the digits."""

    position: int  #: from 1, the order of trying
    number: str  #: as it was given
    key: str
    e164: str | None
    label: str = ""
    do_not_call: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One order to one dialler, or a call that counts as one."""

    id: str  #: UUIDv7; the reference that the vendor is given
    round: int
    key: str  #: Number.key, as it was then
    state: AttemptState
    source: str
    agent: str = ""
    placed_by: PlacedBy = PlacedBy.HUB
    reference: str = ""  #: the integrator's own, returned in every event
    vendor_ref: str = ""  #: what the dialler called it
    outcome: Disposition | None = None
    refusal: Refusal | None = None
    requested_at: datetime | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    call_id: str | None = None  #: the call that it was
    key_today: str = ""  #: Number.key of its number, where the case has that in another spelling by now

    @property
    def number_key(self) -> str:
        """Number.key of the number of the case that it was made to."""
        return self.key_today or self.key

    @property
    def live(self) -> bool:
        """Whether it may still become, or is, a call."""
        return self.state in LIVE

    def may_ring(self, now: datetime) -> bool:
        """Whether its request left and nobody saw its call end: somebody's telephone may ring until its deadline."""
        return may_ring(self.state, call_id=self.call_id, deadline_at=self.deadline_at, now=now)

    @property
    def tried(self) -> bool:
        """Whether its number counts as tried in its round.

        An attempt of which nobody knows what became counts: it is never repeated. One that ended without the number
        having been dialled, or whose agent or network failed, does not.
        """
        match self.state:
            case AttemptState.ENDED:
                return self.outcome is not Disposition.NOT_DIALLED
            case AttemptState.REFUSED:
                return self.refusal is Refusal.NUMBER
            case AttemptState.UNKNOWN | AttemptState.SUPERSEDED:
                return True
            case _:
                return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One person to be reached."""

    id: str
    tenant: str
    code: str  #: unique within the tenant
    source: str  #: the phone system that dials
    agent: str
    state: CaseState
    round: int  #: 0 until the first order to dial
    numbers: Sequence[Number]
    attempts: Sequence[Attempt] = ()  #: of all rounds, oldest first
    campaign: str = ""
    timezone: str = ""  #: IANA name of the person's zone; empty: that of the number
    state_reason: str = ""
    next_action_at: datetime | None = None
    next_key: str = ""  #: Number.key of the number that is, or was, meant to be dialled next
    created_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Whether nothing more happens without a new order."""
        return self.state in CLOSED

    @property
    def goes_on(self) -> bool:
        """Whether it goes on by itself. A call of such a case is told as `call.hangup`, all others as `call.ended`."""
        return self.state in (CaseState.WAITING, CaseState.DIALLING)

    @property
    def live_attempt(self) -> Attempt | None:
        """The one attempt that is live, if one is."""
        return next((attempt for attempt in self.attempts if attempt.live), None)

    def attempt(self, attempt_id: str) -> Attempt | None:
        """The attempt of that id."""
        return next((attempt for attempt in self.attempts if attempt.id == attempt_id), None)

    def number(self, key: str) -> Number | None:
        """The number of that key (`Number.key`)."""
        return next((number for number in self.numbers if number.key == key), None)

    def untried_number(self, key: str) -> Number | None:
        """The number of that key, if the present round has not tried it."""
        return next((number for number in self.untried() if number.key == key), None)

    def of_round(self) -> list[Attempt]:
        """The attempts of the present round, oldest first."""
        return [attempt for attempt in self.attempts if attempt.round == self.round]

    def untried(self) -> list[Number]:
        """The numbers that the present round has not tried, in their order; one that stands twice counts once."""
        seen = {attempt.number_key for attempt in self.of_round() if attempt.tried}
        left = []
        for number in sorted(self.numbers, key=lambda number: number.position):
            if number.key not in seen:
                seen.add(number.key)
                left.append(number)
        return left

    def agent_failures(self, key: str) -> int:
        """How often in a row, up to now, the agent failed an attempt on this number in the present round."""
        count = 0
        for attempt in reversed(self.of_round()):
            if attempt.number_key != key or attempt.live or attempt.state is AttemptState.CANCELLED:
                continue
            if attempt.refusal is not Refusal.AGENT and attempt.outcome is not Disposition.NOT_DIALLED:
                break
            count += 1
        return count

    def failed_before_dialling(self, key: str) -> bool:
        """Whether the last attempt on this number in the present round failed before the number was dialled."""
        for attempt in reversed(self.of_round()):
            if attempt.number_key == key and not attempt.live and attempt.state is not AttemptState.CANCELLED:
                return not attempt.tried
        return False
