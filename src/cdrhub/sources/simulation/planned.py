"""A planned call: everything that happens in one call of the simulated contact centre, before any of it is sent.

It is the truth that a simulated phone system renders in its own protocol, and from which it writes the ledger of what
the hub must show. Times are aware, UTC; all times of one call are whole seconds apart, so that a system that cuts its
times to seconds still tells the same spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import TypeVar

from cdrhub.model.disposition import Direction, Disposition, Outcome
from cdrhub.sources.simulation.numbers import Number

T = TypeVar("T")


class Course(StrEnum):
    """What kind of call it is."""

    QUEUE = auto()  #: a customer calls a queue, often through a menu
    DIRECT = auto()  #: a customer calls an agent's own number
    MENU = auto()  #: a customer calls, hears what he wanted from the menu (an IVR) and is gone
    OUTBOUND = auto()  #: an agent calls a customer
    CAMPAIGN = auto()  #: the dialler calls a customer, and then gives the call to an agent
    INTERNAL = auto()  #: an agent calls a colleague


class Side(StrEnum):
    """Who hung up. The caller of a campaign's call is the contact centre: the agent, if one was joined."""

    CALLER = auto()
    CALLEE = auto()
    SYSTEM = auto()  #: a time-out, a menu at its end, a network that found no way


class TransferKind(StrEnum):
    """How a call is given to a colleague."""

    BLIND = auto()
    CONSULTED = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """One person of the contact centre."""

    extension: str
    name: str
    team: str  #: the name of the queue that the agent serves


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """One queue. `ring_all`: all free agents of its team are rung at once, and the first who answers has the call."""

    number: str  #: its extension: 611
    name: str
    ring_all: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """A person whom a campaign wants to reach, with the numbers to try one after another."""

    ref: str
    campaign: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One ringing of one agent. `outcome`: answered, no_answer, rejected, busy (in another call, so never rung),
    cancelled (the caller gave up meanwhile) or lost_race (a colleague was faster)."""

    agent: Agent
    offered_at: datetime
    until: datetime  #: it stopped ringing: answered, or not
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """A call given to a colleague, who always takes it.

    Blind: the first agent leaves at `at`, the customer hears ringing until `answered_at`. Consulted: at `at` the
    customer is put on hold while the agent rings the colleague; `answered_at` is when the colleague takes that
    consultation, `joined_at` when the first agent leaves and the colleague has the customer (blind: `answered_at`).
    """

    kind: TransferKind
    to: Agent
    at: datetime
    answered_at: datetime
    joined_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCall:
    """One call from its first moment to its last. None: that did not happen."""

    number: int  #: counts the calls of a centre from 1 in the order of their start
    course: Course
    direction: Direction
    disposition: Disposition  #: what a system that sees everything says of it
    started_at: datetime
    ended_at: datetime
    hung_up: Side
    customer: Number | None = None  #: None for an internal call
    line: Number  #: the contact centre's own number: the one that was called, or is shown
    contact: Contact | None = None  #: of a campaign's call
    position: int = 0  #: of `customer` among the contact's numbers, from 0
    queue: Queue | None = None
    caller: Agent | None = None  #: who calls, outbound and internal
    attempts: tuple[Attempt, ...] = ()  #: agents who were rung, in order
    transfer: Transfer | None = None
    connected_at: datetime | None = None  #: a menu, a queue, a voicemail, or a person picked up
    queued_at: datetime | None = None
    ringing_at: datetime | None = None  #: the first phone rang: the customer's (outbound, campaign), or an agent's
    answered_at: datetime | None = None  #: a person on each side
    wrapped_up_at: datetime | None = None  #: the end of the after-call work of who had the call last
    ordered: Mapping[str, str] | None = None  #: of a call that was ordered: what it gives back, in the system's names

    @property
    def agent(self) -> Agent | None:
        """The first person of ours who had the other side on the line."""
        if self.answered_at is None:
            return None
        if self.caller is not None:
            return self.caller
        return next(attempt.agent for attempt in self.attempts if attempt.outcome is Outcome.ANSWERED)

    @property
    def answer(self) -> Attempt | None:
        """The attempt that was answered."""
        return next((attempt for attempt in self.attempts if attempt.outcome is Outcome.ANSWERED), None)

    @property
    def left_queue(self) -> Outcome | None:
        """How the caller left the queue: answered, abandoned, timeout."""
        if self.queue is None:
            return None
        if self.answered_at is not None:
            return Outcome.ANSWERED
        return Outcome.TIMEOUT if self.hung_up is Side.SYSTEM else Outcome.ABANDONED

    @property
    def wait_seconds(self) -> int | None:
        """From the entry into the queue to the answer, or to leaving it."""
        return None if self.queued_at is None else seconds(self.queued_at, self.answered_at or self.ended_at)

    @property
    def talk_seconds(self) -> int:
        """From the answer to the end, hold and the ringing of a transfer's target included."""
        return 0 if self.answered_at is None else seconds(self.answered_at, self.ended_at)

    @property
    def duration_seconds(self) -> int:
        """From the start to the end."""
        return seconds(self.started_at, self.ended_at)


def seconds(since: datetime, until: datetime) -> int:
    """Whole seconds between two times of one call."""
    return round((until - since).total_seconds())


def to_second(at: datetime | None) -> datetime | None:
    """A time as a system writes it that cuts off what is less than a second."""
    return None if at is None else at.replace(microsecond=0)


def given(value: T | None) -> T:
    """A part of a call that its course says is there."""
    if value is None:
        raise TypeError("a call without what its course needs")
    return value
