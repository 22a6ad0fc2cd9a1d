"""What a 3CX line says of its call: direction, disposition, who answered first.

time-answered is set as soon as a queue or an IVR picks up, so it does not mean a person. The last party decides:
final-* where the called party changed, else to-*. The rules are those of docs/sources/3cx.md, *who answered*; why an
answer needs no extension stands in docs/decisions/0009-3cx-answered-without-an-extension.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cdrhub.model.disposition import Direction, Disposition
from cdrhub.sources.threecx.parties import Party
from cdrhub.sources.threecx.words import Change, Ending, Kind

_PEOPLE = frozenset({Kind.PERSON, Kind.CONFERENCE})
_NAMELESS = frozenset({Kind.GROUP, Kind.OUTSIDE})
"""What does not pick up by itself: where it is connected, a person took the call, of ours but unnamed, or outside."""

_TAKEN_BY_ANOTHER = frozenset({Change.FORWARDED, Change.DIVERTED, Change.PICKED_UP, Change.OVERFLOW})

#: All that is, or may be, connected before a person is: the line's times hold the wait.
_PICKS_UP_ITSELF = frozenset(Kind) - _PEOPLE - _NAMELESS
_KEEPS_WAITING = frozenset({Kind.QUEUE, Kind.IVR, Kind.VOICEMAIL, Kind.MACHINE})


class Course(NamedTuple):
    """What a line tells of the course of its call."""

    src: Party
    to: Party
    final: Party
    between: Sequence[Party]  #: the other parties of the chain, in order
    change: Change
    ending: Ending
    connected: bool  #: anything picked up
    at_once: bool  #: it did so within a second of the start
    no_talk: bool  #: the duration is zero
    dialled_outside: bool


class Verdict(NamedTuple):
    """What follows from it."""

    direction: Direction
    disposition: Disposition
    reached: bool  #: a person on each side
    to: Party  #: to-* as it is understood after all
    first: Party | None  #: who answered first, where the call came to our side: a person, a ring group, one outside
    after_machine: bool  #: a queue, an IVR or a click stood before the person: the vendor's times hold the wait
    assumed: bool  #: `Ext.` alone named a party that behaved like a queue or an IVR: the directory should name it

    @property
    def before_the_rest(self) -> bool:
        """Whether the person was on the line before every other party of the chain."""
        return self.reached and (self.first is self.to or self.direction is Direction.OUTBOUND)


def judge(course: Course) -> Verdict:
    """The verdict on one line of a call that a person dialled."""
    direction = direction_of(course)
    if direction is Direction.OUTBOUND:
        return _outbound(course)
    to, assumed = _understood(course, direction)
    change, ending, final = course.change, course.ending, course.final
    last = _last(course, to)
    failed_transfer = change is Change.FAILED_TRANSFER
    by_person = to.kind in _PEOPLE
    first: Party | None = None
    if failed_transfer:
        # Who took the call and then transferred it in vain has talked; a machine that transferred it has not.
        if course.connected and to.kind is Kind.PERSON and not course.no_talk:
            first = to
    elif course.connected:
        if by_person and change in _TAKEN_BY_ANOTHER:
            first = last if last.kind in _PEOPLE else None
        elif by_person:
            first = to
        elif last.kind in _PEOPLE and ending.by_participant:
            first = last
        if first is None and last.kind in _NAMELESS and ending.by_participant and not course.no_talk:
            first = None if change is Change.PICKED_UP else last
    reached = first is not None
    disposition = (
        Disposition.ANSWERED if reached else _unanswered(course, [party for party in (to, final) if _is_there(party)])
    )
    waited = to.kind in _PICKS_UP_ITSELF or (first is not to and _keeps_waiting(course.between))
    return Verdict(direction, disposition, reached, to, first, reached and waited, assumed)


def handed_to_a_machine(course: Course) -> bool:
    """Whether whoever took or placed the call sent it on to a queue or the like, where the duration goes on."""
    sent_on = course.change in (Change.REPLACED_DST, Change.REPLACED_SRC)
    return sent_on and _keeps_waiting((*course.between, course.final))


def _keeps_waiting(parties: Sequence[Party]) -> bool:
    return any(party.kind in _KEEPS_WAITING for party in parties)


def direction_of(course: Course) -> Direction:
    """From outside is inbound, also where it is forwarded out again; from inside to outside is outbound."""
    src, to = course.src.kind, course.to.kind
    if src is Kind.OUTSIDE:
        return Direction.INBOUND
    if to is Kind.OUTSIDE or (to is Kind.IVR and src is Kind.PERSON and course.dialled_outside):
        return Direction.OUTBOUND
    if Kind.NOBODY in (src, to):
        return Direction.UNKNOWN
    return Direction.INTERNAL


def judge_click(course: Course, customer: Party) -> Verdict:
    """The verdict on a line of a call that a click or an API started (`MakeCall` as from-no): to-* is the agent, who
    is rung first, so time-answered is the agent's."""
    inside = customer.kind not in (Kind.OUTSIDE, Kind.NOBODY)
    direction = Direction.INTERNAL if inside else Direction.OUTBOUND
    failed_transfer = course.change is Change.FAILED_TRANSFER
    reached = (
        course.connected
        and not failed_transfer
        and course.change is not Change.NONE
        and (customer.kind is Kind.OUTSIDE or (customer.kind in _PEOPLE and course.ending.by_participant))
    )
    if reached:
        disposition = Disposition.ANSWERED
    elif not course.connected:
        disposition = Disposition.NOT_DIALLED
    elif failed_transfer:
        disposition = Disposition.FAILED
    else:
        disposition = course.ending.disposition
    return Verdict(direction, disposition, reached, course.to, course.to if reached else None, reached, assumed=False)


def _outbound(course: Course) -> Verdict:
    outside = course.to.kind is Kind.OUTSIDE or _last(course, course.to).kind is Kind.OUTSIDE
    reached = course.connected and outside and course.change is not Change.FAILED_TRANSFER
    there = [party for party in (course.to, course.final) if _is_there(party)]
    disposition = Disposition.ANSWERED if reached else _unanswered(course, there)
    first = course.src if reached else None
    return Verdict(Direction.OUTBOUND, disposition, reached, course.to, first, after_machine=False, assumed=False)


def _last(course: Course, to: Party) -> Party:
    """The last called party. A replaced source leaves the called party as it was; a failed transfer too."""
    if course.change in (Change.NONE, Change.FAILED_TRANSFER, Change.REPLACED_SRC) or not _is_there(course.final):
        return to
    return course.final


def _is_there(party: Party) -> bool:
    return party.kind is not Kind.NOBODY


def _understood(course: Course, direction: Direction) -> tuple[Party, bool]:
    """to-* where `Ext.` alone names it, and whether that stays an assumption.

    A queue overflow (`QFwdToDNA`) can only come from a queue. Nobody picks up within a second of the start and hands
    over or is gone in the same second: that is a queue or an IVR, and which of the two is not said.
    """
    to = course.to
    if to.sure or to.kind is not Kind.PERSON or not course.connected:
        return to, False
    if course.change is Change.OVERFLOW:
        return to._replace(kind=Kind.QUEUE), False
    if not course.at_once:
        return to, False
    handed_over = course.change in (Change.REPLACED_DST, Change.FAILED_TRANSFER)
    if handed_over or (course.no_talk and course.change is Change.NONE and direction is Direction.INBOUND):
        return to._replace(kind=Kind.MACHINE), True
    return to, True


def _unanswered(course: Course, there: Sequence[Party]) -> Disposition:
    kinds = {party.kind for party in there}
    if course.ending.elsewhere or course.change is Change.PICKED_UP or Kind.PICKUP in kinds:
        return Disposition.CANCELLED
    if course.connected and Kind.VOICEMAIL in kinds:
        return Disposition.VOICEMAIL
    if (
        Kind.QUEUE in kinds
        or course.change is Change.OVERFLOW
        or any(party.kind is Kind.QUEUE for party in course.between)
    ):
        return Disposition.ABANDONED
    if course.connected and kinds == {Kind.IVR}:
        return Disposition.IVR
    if course.connected and course.no_talk and course.at_once and course.to.kind is Kind.PERSON and not course.to.sure:
        return Disposition.ABANDONED  # the documented trap: the caller gave up in a queue, the line says zero seconds
    return course.ending.disposition
