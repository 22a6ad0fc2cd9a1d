"""Voicenter's words: the types of its CDRs and their statuses, and what the model calls them.

Words are compared trimmed, case-folded and with blanks removed, for the vendor prints `" Click2Callleg1"` beside
`Click2Call leg1`. Sources: the CDR notification and Call Log pages (https://www.voicenter.com/API/Call-Log).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cdrhub.model.disposition import Direction, Disposition, Outcome, Role


class Part(StrEnum):
    """What part of its call a CDR of a type tells."""

    WHOLE = "whole"
    OPENS = "opens"  #: first leg of a call to a customer: our agent is rung; leg 2 tells of the customer
    FIRST = "first"  #: first leg that says something of the call by itself; leg 2 decides
    SECOND = "second"  #: the leg that decides


@dataclass(frozen=True, kw_only=True, slots=True)
class CdrType:
    """A type of CDR. `direction` is what it means when the CDR does not say; `key` names its leg."""

    key: str
    direction: Direction
    role: Role
    part: Part = Part.WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A status: the call's disposition, a person's leg's outcome and a queue leg's outcome."""

    disposition: Disposition
    person: Outcome
    queue: Outcome


def _type(key: str, direction: Direction, role: Role = Role.OTHER, part: Part = Part.WHOLE) -> CdrType:
    return CdrType(key=key, direction=direction, role=role, part=part)


_IN, _OUT, _INSIDE, _OPEN = Direction.INBOUND, Direction.OUTBOUND, Direction.INTERNAL, Direction.UNKNOWN

#: By the Call Log's number of the type.
_BY_NUMBER: dict[int, CdrType] = {
    1: _type("incomingcall", _IN, Role.AGENT),
    2: _type("cc", _OUT, Role.CUSTOMER),
    4: _type("extensionoutgoing", _OUT, Role.CUSTOMER),
    8: _type("queue", _IN, Role.AGENT),
    9: _type("click2callleg1", _INSIDE, Role.AGENT, Part.OPENS),
    10: _type("click2callleg2", _OUT, Role.CUSTOMER, Part.SECOND),
    11: _type("voicemail", _IN, Role.VOICEMAIL),
    12: _type("callference", _OPEN, Role.CONFERENCE),
    13: _type("xfercdr", _INSIDE, Role.TRANSFER),
    14: _type("productivecallleg1", _INSIDE, Role.AGENT, Part.OPENS),
    15: _type("productivecallleg2", _OUT, Role.CUSTOMER, Part.SECOND),
    16: _type("scrubber", _OPEN),
    17: _type("click2ivr", _INSIDE, Role.OTHER, Part.FIRST),
    18: _type("click2ivrincoming", _OUT, Role.CUSTOMER, Part.SECOND),
    19: _type("click2queueincoming", _OUT, Role.CUSTOMER, Part.SECOND),
    20: _type("faxcdr", _OPEN),
    21: _type("attendedcdrleg1", _INSIDE, Role.CONSULT, Part.FIRST),
    22: _type("attendedcdrleg2", _INSIDE, Role.TRANSFER, Part.SECOND),
    23: _type("autoforward", _OUT, Role.CUSTOMER),
}

TYPES: dict[str, CdrType] = {kind.key: kind for kind in _BY_NUMBER.values()} | {
    str(number): kind for number, kind in _BY_NUMBER.items()
}

_FAILED = Status(disposition=Disposition.FAILED, person=Outcome.FAILED, queue=Outcome.UNKNOWN)
_NOT_DIALLED = Status(disposition=Disposition.NOT_DIALLED, person=Outcome.FAILED, queue=Outcome.UNKNOWN)
_IN_IVR = Status(disposition=Disposition.IVR, person=Outcome.CANCELLED, queue=Outcome.UNKNOWN)


def _left_queue(how: Outcome) -> Status:
    return Status(disposition=Disposition.ABANDONED, person=Outcome.NO_ANSWER, queue=how)


STATUSES: dict[str, Status] = {
    "answer": Status(disposition=Disposition.ANSWERED, person=Outcome.ANSWERED, queue=Outcome.ANSWERED),
    "busy": Status(disposition=Disposition.BUSY, person=Outcome.BUSY, queue=Outcome.ABANDONED),
    "noanswer": Status(disposition=Disposition.NO_ANSWER, person=Outcome.NO_ANSWER, queue=Outcome.ABANDONED),
    "cancel": Status(disposition=Disposition.CANCELLED, person=Outcome.CANCELLED, queue=Outcome.ABANDONED),
    "abandone": _left_queue(Outcome.ABANDONED),
    "timeout": _left_queue(Outcome.TIMEOUT),
    "full": _left_queue(Outcome.FULL),
    "exit": _left_queue(Outcome.EXIT_KEY),
    "joinempty": _left_queue(Outcome.JOIN_EMPTY),
    "voend": _IN_IVR,
    "te": _IN_IVR,
    "voicemail": Status(disposition=Disposition.VOICEMAIL, person=Outcome.NO_ANSWER, queue=Outcome.OVERFLOW),
    "notdialed": _NOT_DIALLED,
    "notcalled": _NOT_DIALLED,
    "congestion": _FAILED,
    "chanunavail": _FAILED,
    "invalidargs": _FAILED,
    "sswpreauth": _FAILED,
}

MAX_REMEMBERED = 64  #: characters of a word; of what is longer none is kept in memory

UNKNOWN_STATUS = Status(disposition=Disposition.UNKNOWN, person=Outcome.UNKNOWN, queue=Outcome.UNKNOWN)

DIRECTIONS = {"incoming": Direction.INBOUND, "outgoing": Direction.OUTBOUND, "internal": Direction.INTERNAL}


def folded(word: str) -> str:
    """`word` as words are compared: case-folded, all blanks removed."""
    return _remembered(word) if len(word) <= MAX_REMEMBERED else _folded(word)


def _folded(word: str) -> str:
    return "".join(word.split()).casefold()


_remembered = lru_cache(maxsize=1024)(_folded)
