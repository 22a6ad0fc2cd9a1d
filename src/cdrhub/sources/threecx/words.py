"""The words of 3CX: party types, reasons for the end, reasons for a change of party.

Since v20 Update 6 a second, lower-case vocabulary comes over the same socket, so words are compared without regard to
case. They are the ones seen in published records and in the database of v20; 3CX documents none of them. A word that
is not here is kept as sent, flagged `unmapped_word` and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple, TypeVar

from cdrhub.model.disposition import Disposition, Outcome


class Kind(Enum):
    """What a party of a line is."""

    NOBODY = auto()  #: the line names none
    OUTSIDE = auto()
    PERSON = auto()
    QUEUE = auto()
    GROUP = auto()  #: a ring group: rings people, is no queue
    IVR = auto()  #: also call flow apps and the announcement before the end of a call
    VOICEMAIL = auto()
    CONFERENCE = auto()
    CLICK = auto()  #: `MakeCall`: a call started by a click or an API
    PICKUP = auto()  #: `PickupExt.125`: a colleague's call is picked up
    MACHINE = auto()  #: something inside that picks up at once: a queue or an IVR that nothing names


class Side(Enum):
    """Which side of the line ended the call."""

    SRC = auto()
    DST = auto()
    SYSTEM = auto()
    UNSAID = auto()


class Ending(NamedTuple):
    """What a reason-terminated says. `disposition` and `outcome` hold where no person answered."""

    disposition: Disposition
    outcome: Outcome
    side: Side
    by_participant: bool = False  #: someone on the line hung up: the last party had picked up
    rang: bool = True  #: False where no route was found, so nobody was rung
    elsewhere: bool = False  #: a colleague took the call


class Change(Enum):
    """Why the last party is another than the first one (reason-changed)."""

    NONE = auto()
    REPLACED_DST = auto()  #: transferred, or handed to an agent by a queue
    REPLACED_SRC = auto()  #: the calling side was replaced: the final party is the new caller
    OVERFLOW = auto()  #: a queue gave up
    FAILED_TRANSFER = auto()  #: a blind transfer failed
    FORWARDED = auto()  #: the first party rang and did not take it
    DIVERTED = auto()  #: the first party was not rung
    PICKED_UP = auto()
    UNKNOWN = auto()


def _ending(
    disposition: Disposition,
    outcome: Outcome,
    side: Side = Side.SYSTEM,
    *,
    by_participant: bool = False,
    rang: bool = True,
    elsewhere: bool = False,
) -> Ending:
    return Ending(disposition, outcome, side, by_participant, rang, elsewhere)


#: A caller who hangs up before anybody answered gave up: that is `cancelled`, under either word for it.
_BY_SRC = _ending(Disposition.CANCELLED, Outcome.CANCELLED, Side.SRC, by_participant=True)
_BY_DST = _ending(Disposition.FAILED, Outcome.FAILED, Side.DST, by_participant=True)
_CANCELLED = _ending(Disposition.CANCELLED, Outcome.CANCELLED, Side.SRC)
_BUSY = _ending(Disposition.BUSY, Outcome.BUSY)
_REJECTED = _ending(Disposition.REJECTED, Outcome.REJECTED, Side.DST)
_NO_ANSWER = _ending(Disposition.NO_ANSWER, Outcome.NO_ANSWER)
_FAILED = _ending(Disposition.FAILED, Outcome.FAILED)
_NO_ROUTE = _ending(Disposition.FAILED, Outcome.FAILED, rang=False)
_ELSEWHERE = _ending(Disposition.CANCELLED, Outcome.LOST_RACE, elsewhere=True)

UNKNOWN_ENDING = _ending(Disposition.UNKNOWN, Outcome.UNKNOWN, Side.UNSAID)
"""Of a word never seen, and of a layout without reason-terminated."""

ENDINGS: Mapping[str, Ending] = {
    "TerminatedBySrc": _BY_SRC,
    "src_participant_terminated": _BY_SRC,
    "TerminatedByDst": _BY_DST,
    "dst_participant_terminated": _BY_DST,
    "Failed_Cancelled": _CANCELLED,
    "Failed_cancelled": _CANCELLED,
    "cancelled": _CANCELLED,
    "busy": _BUSY,
    "TargetBusy": _BUSY,
    "declined": _REJECTED,
    "rejected": _REJECTED,
    "timeout": _NO_ANSWER,
    "NoAnswerTimeout": _NO_ANSWER,
    "Fwd_NoAnswer": _NO_ANSWER,
    "NotAvailable": _NO_ANSWER,
    "Failed": _FAILED,
    "Redirected": _FAILED,
    "TerminatedByRule": _FAILED,
    "TerminatedBySync": _FAILED,
    "polling": _FAILED,
    "continued_in": _FAILED,
    "NoRouteExists": _NO_ROUTE,
    "RouteNotFound": _NO_ROUTE,
    "RouteBusy": _NO_ROUTE,
    "TargetNotFound": _NO_ROUTE,
    "no_route": _NO_ROUTE,
    "not_found": _NO_ROUTE,
    "Connected": _ELSEWHERE,
    "PickedUp": _ELSEWHERE,
    "completed_elsewhere": _ELSEWHERE,
}

CHANGES: Mapping[str, Change] = {
    "": Change.NONE,
    "ReplacedDst": Change.REPLACED_DST,
    "ReplacedSrc": Change.REPLACED_SRC,
    "QFwdToDNA": Change.OVERFLOW,
    "FailedBXferOfSrc": Change.FAILED_TRANSFER,
    "FailedBXferOfDst": Change.FAILED_TRANSFER,
    "Fwd_NoAnswer": Change.FORWARDED,
    "Fwd_OnNotRegistered": Change.DIVERTED,
    "Fwd_Unconditional": Change.DIVERTED,
    "Redirected": Change.DIVERTED,
    "PickedUp": Change.PICKED_UP,
}

TYPES: Mapping[str, Kind] = {
    "Extension": Kind.PERSON,
    "Line": Kind.OUTSIDE,
    "LineSet": Kind.OUTSIDE,
    "external_line": Kind.OUTSIDE,
    "provider": Kind.OUTSIDE,
    "outbound_rule": Kind.OUTSIDE,
    "Queue": Kind.QUEUE,
    "ring_group_ring_all": Kind.GROUP,
    "Ivr": Kind.IVR,
    "ServiceCall": Kind.IVR,
    "script": Kind.IVR,
    "EndCall": Kind.IVR,
    "VMail": Kind.VOICEMAIL,
    "voicemail": Kind.VOICEMAIL,
    "ConfPlace": Kind.CONFERENCE,
}

NAMELESS_TYPES = frozenset({"inbound_routing"})
"""Types that are known and do not say who the party is."""

_EDITED_TYPES = frozenset({"external", "internal"})
"""What a published, edited export has in the columns of the types."""

_Word = TypeVar("_Word")


def _lowered(words: Mapping[str, _Word]) -> dict[str, _Word]:
    return {word.lower(): meaning for word, meaning in words.items()}


_ENDINGS, _CHANGES, _TYPES = _lowered(ENDINGS), _lowered(CHANGES), _lowered(TYPES)


def ending_of(word: str) -> Ending | None:
    """The meaning of a reason-terminated; None for a word never seen."""
    return ENDINGS.get(word) or _ENDINGS.get(word.lower())


def change_of(word: str) -> Change:
    """The meaning of a reason-changed; UNKNOWN for a word never seen."""
    known = CHANGES.get(word)
    if known is not None:
        return known
    lower = word.lower()
    if lower.startswith("failedbxfer"):
        return Change.FAILED_TRANSFER
    if lower.startswith("fwd_"):
        return Change.FORWARDED
    return _CHANGES.get(lower, Change.UNKNOWN)


def kind_of(word: str) -> Kind | None:
    """The kind that a type word names; None for a word never seen or that says nothing."""
    kind = TYPES.get(word) or _TYPES.get(word.lower())
    if kind is None and word.lower().startswith("ring_group"):
        return Kind.GROUP
    return kind


def names_a_type(word: str) -> bool:
    """Whether the word can stand in a column of types, also where it does not say what the party is."""
    return word in TYPES or kind_of(word) is not None or word.lower() in NAMELESS_TYPES | _EDITED_TYPES
