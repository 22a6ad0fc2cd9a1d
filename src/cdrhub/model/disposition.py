"""The words of the model and their order.

A call is assembled from observations that arrive in any order and any number of times, so every word that can
change over a call's life has a rank: the highest seen wins. The words are those of docs/model.md; a vendor's own
words stay in `disposition_raw`, `type_raw` and `cause`.
"""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Which way a call went, seen from the contact centre."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class State(StrEnum):
    """How far a call has come."""

    QUEUED = "queued"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"  #: replay moved all its records to other calls; hidden from the views


class Disposition(StrEnum):
    """How an ended call ended; null until then."""

    ANSWERED = "answered"  #: a person on each side
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"  #: left a queue unanswered; outbound: the customer answered and we had nobody
    IVR = "ivr"  #: ended in an IVR or announcement
    VOICEMAIL = "voicemail"
    FAILED = "failed"
    NOT_DIALLED = "not_dialled"  #: the customer's number was never tried
    UNKNOWN = "unknown"


class EndedBy(StrEnum):
    """Who hung up."""

    CALLER = "caller"
    CALLEE = "callee"
    AGENT = "agent"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a leg is."""

    CUSTOMER = "customer"
    AGENT = "agent"
    CONSULT = "consult"
    TRANSFER = "transfer"
    CONFERENCE = "conference"
    PARKED = "parked"
    QUEUE = "queue"
    IVR = "ivr"
    VOICEMAIL = "voicemail"
    OTHER = "other"


class Outcome(StrEnum):
    """What became of a leg. Persons, queues and machines use different words of this list (docs/model.md)."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    LOST_RACE = "lost_race"  #: a colleague took the call
    NOT_BRIDGED = "not_bridged"  #: picked up, and nobody was there on the other side
    FAILED = "failed"
    ABANDONED = "abandoned"
    TIMEOUT = "timeout"
    FULL = "full"
    JOIN_EMPTY = "join_empty"
    NO_AGENT = "no_agent"
    EXIT_KEY = "exit_key"
    OVERFLOW = "overflow"
    LEFT = "left"
    UNKNOWN = "unknown"


STATE_RANK = {State.QUEUED: 1, State.RINGING: 2, State.ANSWERED: 3, State.ENDED: 4, State.WITHDRAWN: 5}
DIRECTION_RANK = {Direction.UNKNOWN: 0, Direction.INTERNAL: 1, Direction.INBOUND: 1, Direction.OUTBOUND: 1}

#: "answered > voicemail > abandoned > the rest by the decisive record" (docs/model.md, dispositions)
DISPOSITION_RANK = dict.fromkeys(Disposition, 1) | {
    Disposition.UNKNOWN: 0,
    Disposition.ABANDONED: 2,
    Disposition.VOICEMAIL: 3,
    Disposition.ANSWERED: 4,
}

#: "where an agent's side hung up, agent wins over caller and callee"
ENDED_BY_RANK = {
    EndedBy.UNKNOWN: 0,
    EndedBy.SYSTEM: 1,
    EndedBy.CALLER: 2,
    EndedBy.CALLEE: 2,
    EndedBy.AGENT: 3,
}

OUTCOME_RANK = dict.fromkeys(Outcome, 2) | {
    Outcome.UNKNOWN: 0,
    Outcome.FAILED: 1,
    Outcome.ANSWERED: 3,
    Outcome.NOT_BRIDGED: 4,
}

#: A leg may be told first as a person who was rung and later as what that was: the target of a transfer.
ROLE_RANK = dict.fromkeys(Role, 1) | {Role.OTHER: 0, Role.TRANSFER: 2}

#: Legs that are people of ours; the customer is a person too, but not one of ours.
OUR_PEOPLE = frozenset({Role.AGENT, Role.TRANSFER, Role.CONFERENCE})

#: Outcomes of a leg that was picked up, whether or not anybody was there on the other side.
PICKED_UP = frozenset({Outcome.ANSWERED, Outcome.NOT_BRIDGED})

#: What an unanswered person's leg says of the call when nothing else does.
OUTCOME_DISPOSITION = {
    Outcome.ANSWERED: Disposition.ANSWERED,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.BUSY: Disposition.BUSY,
    Outcome.REJECTED: Disposition.REJECTED,
    Outcome.CANCELLED: Disposition.CANCELLED,
    Outcome.FAILED: Disposition.FAILED,
    Outcome.NOT_BRIDGED: Disposition.CANCELLED,
    Outcome.LOST_RACE: Disposition.CANCELLED,
}
