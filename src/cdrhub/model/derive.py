"""What follows from the legs: the columns of a call that no record states.

The definitions are those of docs/model.md: `answered_at`, wait, ring, agent and queue belong to the first person
who answered, later people are legs; talk is all seconds with a person; what cannot be told is None. A record that
states a column outranks all of this, also when it states that the column is not derivable (None).

Of a call that we placed, one side picks up before the other is called: until both are there nobody talks, whatever the
record of that side's channel says of its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cdrhub.model.call import Call, Leg
from cdrhub.model.disposition import (
    DISPOSITION_RANK,
    OUR_PEOPLE,
    OUTCOME_DISPOSITION,
    PICKED_UP,
    Direction,
    Disposition,
    EndedBy,
    Outcome,
    Role,
    State,
)
from cdrhub.model.update import MAX_SECONDS

END_UNSEEN = "end_unseen"  #: the flag of a call whose end was told, and not how it ended for the customer
ANSWER_UNSEEN = "answer_unseen"  #: the flag of a call that is told as a conversation, and of which no answer was told

DAY_SECONDS = 86_400
HALF_MICROSECONDS = 500_000

_FAR = datetime.max.replace(tzinfo=UTC)
_TALKERS = OUR_PEOPLE | {Role.CUSTOMER}
_AGENT_COLUMNS = ("agent_id", "agent_name", "agent_extension", "team")


def whole_seconds(since: datetime, until: datetime) -> int:
    """Seconds from `since` to `until`, rounded half up, never negative, at most what a column holds (68 years)."""
    span = until - since
    seconds = span.days * DAY_SECONDS + span.seconds + (span.microseconds >= HALF_MICROSECONDS)
    return min(MAX_SECONDS, seconds) if seconds > 0 else 0


def derive(
    call_key: str,
    values: dict[str, Any],
    legs: tuple[Leg, ...],
    *,
    attributes: dict[str, Any],
    flags: set[str],
    final: bool,
    opened: bool,
) -> Call:
    """The call of these merged values and legs. Changes `values`, `attributes` and `flags` in place."""
    direction = values.get("direction") or Direction.UNKNOWN
    ended = values.get("state") == State.ENDED
    if not ended:  # one side has gone, and the call goes on
        values.pop("ended_at", None)
    started, stopped = values.get("started_at"), values.get("ended_at")
    if stopped is not None:
        legs = tuple(_until(leg, stopped) for leg in legs)
    if legs:
        legs = _from_legs(values, legs, direction=direction, ended_at=stopped, ended=ended)
    if flags and values.get("talk_seconds") is not None:
        flags.discard("talk_includes_wait")  # another record of the call told the talk
    if flags and values.get("agent_id") is not None:
        flags.discard("agent_unknown")
    values["direction"] = direction
    if "state" not in values:
        values["state"] = State.RINGING
    if not ended:
        values["disposition"] = None
    elif values.get("disposition") is None:
        values["disposition"] = Disposition.UNKNOWN
    if flags and values["disposition"] == Disposition.ANSWERED:
        flags.discard("picked_up_elsewhere")  # whose phone stopped ringing is a leg; the colleague's line told the call
    if flags and (direction == Direction.INBOUND or values["disposition"] in (None, Disposition.ANSWERED)):
        flags -= {END_UNSEEN, ANSWER_UNSEEN}
    elif END_UNSEEN in flags and _is_end_seen(legs, ended_by=values.get("ended_by")):
        flags.discard(END_UNSEEN)
    if "talk_seconds" not in values and _nobody_answered(values["disposition"]):
        values["talk_seconds"] = 0  # no leg either: a menu, or a call that reached nobody
    if "duration_seconds" not in values and started and stopped:
        values["duration_seconds"] = whole_seconds(started, stopped)
        if values["duration_seconds"] == MAX_SECONDS:
            flags.add("value_dropped")
    if direction == Direction.INBOUND:
        values["external_number"] = values.get("caller_e164")
    elif direction == Direction.OUTBOUND:
        values["external_number"] = values.get("callee_e164")
    if "recording_state" not in values:
        values["recording_state"] = "announced" if values.get("recording_url") else "none"
    return Call(
        call_key=call_key,
        attributes=attributes,
        flags=tuple(sorted(flags)) if flags else (),
        legs=legs,
        final=final,
        opened=opened,
        **values,
    )


def _from_legs(
    values: dict[str, Any], legs: tuple[Leg, ...], *, direction: str, ended_at: datetime | None, ended: bool
) -> tuple[Leg, ...]:
    """Fill in what the legs tell; the legs, in the light of each other."""
    queues: list[Leg] = []
    customers: list[Leg] = []
    ours: list[Leg] = []
    connected = None
    held: list[int] = []
    for leg in legs:
        if leg.role == Role.QUEUE:
            queues.append(leg)
        elif leg.role == Role.CUSTOMER:
            customers.append(leg)
        elif leg.role in OUR_PEOPLE:
            ours.append(leg)
        if leg.answered_at is not None and (connected is None or leg.answered_at < connected):
            connected = leg.answered_at
        if leg.hold_seconds is not None:
            held.append(leg.hold_seconds)
    decisive = customers or ours
    answered = _answered(decisive)
    ours_answered = _answered(ours) if customers else answered
    # Someone of ours can have been on the line, unless legs of ours are known, or a queue, and none answered.
    there = bool(ours_answered) if ours else not queues or bool(_answered(queues))
    joined = bool(answered) and (not customers or there)
    first = answered[0] if joined else None

    since = _joined_at(first, ours_answered) if first is not None else None
    if first is not None:
        values.setdefault("answered_at", since)
    values.setdefault("connected_at", connected)
    if "ringing_at" not in values:
        values["ringing_at"] = min((leg.offered_at for leg in decisive if leg.offered_at), default=None)
    _agent(values, ours, ours_answered, outbound=direction == Direction.OUTBOUND or bool(customers))
    if queues:
        _queue(values, queues, first, since=since)
    _ring(values, decisive, first, queued=bool(queues))
    if "talk_seconds" not in values:
        if joined:
            values["talk_seconds"] = _talk(answered, since=since, until=ended_at)
        else:  # answered all the same: by somebody who is none of the legs' people
            nobody = ended and values.get("disposition") != Disposition.ANSWERED
            values["talk_seconds"] = 0 if nobody else None
    if "hold_seconds" not in values:
        values["hold_seconds"] = _summed(held)
    if ended:
        _disposition(values, legs, customers, ours, joined=joined)
    else:
        _open_state(values, queues, ours, customers, joined=joined)
    if not customers:
        return legs
    if since is not None:
        return tuple(_from_then_on(leg, since=since, until=ended_at) for leg in legs)
    return tuple(map(_not_bridged, legs)) if _nobody_answered(values.get("disposition")) else legs


def _is_end_seen(legs: Sequence[Leg], *, ended_by: str | None) -> bool:
    """Whether these legs of a call that we placed tell that nobody talked: the customer's end was told, or ours ended
    it while the customer's phone rang or before anybody had picked up."""
    customers = [leg for leg in legs if leg.role == Role.CUSTOMER]
    ours = [leg for leg in legs if leg.role in OUR_PEOPLE]
    if any(leg.left_at is not None for leg in customers):
        return True
    if ended_by == EndedBy.CALLEE or not any(leg.left_at is not None for leg in ours):
        return False
    rang = any(leg.offered_at is not None for leg in customers)
    return rang or all(leg.outcome == Outcome.NO_ANSWER for leg in ours)


def _sooner(left: datetime | None, until: datetime | None) -> datetime | None:
    """When a leg's part in the call was over: `until`, the call's end, if not before."""
    return min((at for at in (left, until) if at is not None), default=None)


def _nobody_answered(disposition: str | None) -> bool:
    """Whether a call that ended so is known to have had nobody who talked."""
    return disposition not in (None, Disposition.ANSWERED, Disposition.UNKNOWN)


def _until(leg: Leg, stopped: datetime) -> Leg:
    """A leg that outlasted its call, as that of somebody consulted who then has the customer: its talk of this call."""
    if leg.talk_seconds is None or leg.answered_at is None or leg.left_at is None or leg.left_at <= stopped:
        return leg
    most = whole_seconds(leg.answered_at, stopped)
    return leg if leg.talk_seconds <= most else replace(leg, talk_seconds=most)


def _from_then_on(leg: Leg, *, since: datetime, until: datetime | None) -> Leg:
    """A leg of somebody who waited for the other side: he talked from when both were there."""
    if leg.outcome != Outcome.ANSWERED or leg.role not in _TALKERS:
        return leg
    began, stopped = leg.answered_at, _sooner(leg.left_at, until)
    if began is None or began >= since:
        return leg
    return replace(leg, talk_seconds=whole_seconds(since, stopped) if stopped is not None else None)


def _not_bridged(leg: Leg) -> Leg:
    """A leg of one of ours who picked up, of a call whose customer did not."""
    if leg.outcome != Outcome.ANSWERED or leg.role not in OUR_PEOPLE:
        return leg
    return replace(leg, outcome=Outcome.NOT_BRIDGED, talk_seconds=None)


def _answered(legs: Sequence[Leg]) -> list[Leg]:
    """The answered ones, in the order of their answers; those whose moment is not known come last."""
    answered = [leg for leg in legs if leg.outcome == Outcome.ANSWERED]
    if len(answered) > 1:
        answered.sort(key=lambda leg: (leg.answered_at or _FAR, leg.seq))
    return answered


def _joined_at(first: Leg, ours_answered: Sequence[Leg]) -> datetime | None:
    """When both sides were on the line: whoever was called first waited for the other."""
    if first.answered_at is None or not ours_answered or ours_answered[0].answered_at is None:
        return first.answered_at
    return max(first.answered_at, ours_answered[0].answered_at)


def _summed(seconds: Sequence[int]) -> int | None:
    """What they add up to, at most what a column holds."""
    return min(sum(seconds), MAX_SECONDS) if seconds else None


def _agent(values: dict[str, Any], ours: Sequence[Leg], answered: Sequence[Leg], *, outbound: bool) -> None:
    """The agent of the call, unless a record names one: the first of `ours` who answered; of an outbound call that
    nobody answered, the first who was rung."""
    get = values.get
    if get("agent_id") is not None or get("agent_name") is not None or get("agent_extension") is not None:
        return
    who = answered[0] if answered else (ours[0] if ours and outbound else None)
    if who is not None:
        for name in _AGENT_COLUMNS:
            values.setdefault(name, getattr(who, name))


def _queue(values: dict[str, Any], queues: Sequence[Leg], first: Leg | None, *, since: datetime | None) -> None:
    """The queue that the call was answered from, else its last one, and the wait there: until the answer (`since`), or
    until the caller left. `first` is the leg that answered first, None if nobody did."""
    values.setdefault("queued_at", queues[0].offered_at)
    taken = [leg for leg in queues if leg.outcome == Outcome.ANSWERED]
    its = taken[0] if first is not None and taken else queues[-1]
    if values.get("queue") is None and values.get("queue_id") is None:
        values["queue"], values["queue_id"] = its.queue, its.queue_id
    if "wait_seconds" not in values:
        until = since if first is not None else its.left_at
        if since is not None and its.offered_at is not None and since < its.offered_at:
            until = its.answered_at or its.left_at  # whoever answered first did so before this queue was entered
        if until is not None and its.offered_at is not None:
            values["wait_seconds"] = whole_seconds(its.offered_at, until)


def _ring(values: dict[str, Any], decisive: Sequence[Leg], first: Leg | None, *, queued: bool) -> None:
    """How long it rang for whoever answered first; all its ringing where nobody did, but not known of a queue."""
    if "ring_seconds" in values:
        return
    if first is not None:
        values["ring_seconds"] = first.ring_seconds
    elif not queued:
        rung = [leg.ring_seconds for leg in decisive if leg.ring_seconds is not None]
        values["ring_seconds"] = _summed(rung)


def _talk(answered: Sequence[Leg], *, since: datetime | None, until: datetime | None) -> int | None:
    """All seconds with a person, from when both sides were there. A leg that nobody closed ended with the call; before
    another person answered nobody knows when."""
    total = 0
    for leg in answered:
        if leg.left_at is None and leg.talk_seconds is None and leg is not answered[-1]:
            return None
        began, stopped = leg.answered_at, _sooner(leg.left_at, until)
        if began is not None and since is not None and began < since:
            began = since
        elif leg.talk_seconds is not None:
            total += leg.talk_seconds
            continue
        elif leg.left_at is not None:
            return None  # the record says that it cannot be told
        if began is None or stopped is None:
            return None
        total += whole_seconds(began, stopped)
    return min(total, MAX_SECONDS)


def _disposition(
    values: dict[str, Any], legs: Sequence[Leg], customers: Sequence[Leg], ours: Sequence[Leg], *, joined: bool
) -> None:
    """How the call ended, by its legs: answered, else voicemail, else abandoned, else what its decisive legs say.

    What a record states stays, unless the legs tell something of a higher rank (DISPOSITION_RANK).
    """
    stated = values.get("disposition")
    queues = [leg for leg in legs if leg.role == Role.QUEUE]
    if joined:
        from_legs = Disposition.ANSWERED
    elif any(leg.role == Role.VOICEMAIL and leg.outcome != Outcome.UNKNOWN for leg in legs):
        from_legs = Disposition.VOICEMAIL
    elif stated is None and "disposition" in values and queues and not _seen_to_end(queues[-1]):
        return  # not derivable, as nobody saw the caller leave the last queue: an agent may have answered
    elif stated == Disposition.UNKNOWN and queues and all(leg.outcome == Outcome.UNKNOWN for leg in queues):
        return  # the word that tells how the queue was left is not known: it may mean that an agent answered
    elif queues or any(c.outcome in PICKED_UP for c in customers):
        from_legs = Disposition.ABANDONED
    elif customers and ours and all(c.outcome == Outcome.UNKNOWN and c.offered_at is None for c in customers):
        from_legs = Disposition.NOT_DIALLED
    elif customers:
        from_legs = OUTCOME_DISPOSITION.get(Outcome(customers[-1].outcome), Disposition.UNKNOWN)
    elif ours and values.get("direction") == Direction.OUTBOUND:
        from_legs = Disposition.NOT_DIALLED
    elif ours:
        from_legs = OUTCOME_DISPOSITION.get(Outcome(ours[-1].outcome), Disposition.UNKNOWN)
    else:
        return
    if stated is None or DISPOSITION_RANK[from_legs] > DISPOSITION_RANK[stated]:
        values["disposition"] = from_legs


def _seen_to_end(leg: Leg) -> bool:
    """Whether any record tells how, or when, the caller left this queue."""
    return leg.outcome != Outcome.UNKNOWN or leg.left_at is not None


def _open_state(
    values: dict[str, Any], queues: Sequence[Leg], ours: Sequence[Leg], customers: Sequence[Leg], *, joined: bool
) -> None:
    """How far a call has come that has not ended, by its legs."""
    rung = [*ours, *(leg for leg in customers if leg.outcome not in PICKED_UP)]
    if joined:
        values["state"] = State.ANSWERED
    elif any(leg.left_at is None for leg in rung):
        values["state"] = State.RINGING
    elif queues:
        values["state"] = State.QUEUED
