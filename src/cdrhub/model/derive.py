"""What follows from the legs: the columns of a call that no record states.

The definitions are those of docs/model.md: `answered_at`, wait, ring, agent and queue belong to the first person
who answered, later people are legs; talk is all seconds with a person; what cannot be told is None. A record that
states a column outranks all of this, also when it states that the column is not derivable (None).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cdrhub.model.call import Call, Leg
from cdrhub.model.disposition import (
    DISPOSITION_RANK,
    OUR_PEOPLE,
    OUTCOME_DISPOSITION,
    Direction,
    Disposition,
    Outcome,
    Role,
    State,
)

_FAR = datetime.max.replace(tzinfo=UTC)
_AGENT_COLUMNS = ("agent_id", "agent_name", "agent_extension", "team")


def derive(
    call_key: str,
    values: dict[str, Any],
    legs: tuple[Leg, ...],
    *,
    attributes: dict[str, Any],
    flags: set[str],
    final: bool,
) -> Call:
    """The call of these merged values and legs. Changes `values`, `attributes` and `flags` in place."""
    direction = values.get("direction") or Direction.UNKNOWN
    ended = values.get("state") == State.ENDED
    if legs:
        _from_legs(values, legs, direction=direction, ended=ended)
    values["direction"] = direction
    if "state" not in values:
        values["state"] = State.RINGING
    if not ended:
        values["disposition"] = None
    elif values.get("disposition") is None:
        values["disposition"] = Disposition.UNKNOWN
    started, stopped = values.get("started_at"), values.get("ended_at")
    if "duration_seconds" not in values and started and stopped:
        values["duration_seconds"] = max(0, int((stopped - started).total_seconds() + 0.5))
    if direction == Direction.INBOUND:
        values["external_number"] = values.get("caller_e164")
    elif direction == Direction.OUTBOUND:
        values["external_number"] = values.get("callee_e164")
    if "recording_state" not in values:
        values["recording_state"] = "announced" if values.get("recording_url") else "none"
    return Call(call_key=call_key, attributes=attributes, flags=tuple(sorted(flags)), legs=legs, final=final, **values)


def _from_legs(values: dict[str, Any], legs: Sequence[Leg], *, direction: str, ended: bool) -> None:
    queues = [leg for leg in legs if leg.role == Role.QUEUE]
    customers = [leg for leg in legs if leg.role == Role.CUSTOMER]
    ours = [leg for leg in legs if leg.role in OUR_PEOPLE]
    decisive = customers or ours
    answered = sorted(
        (leg for leg in decisive if leg.outcome == Outcome.ANSWERED),
        key=lambda leg: (leg.answered_at or _FAR, leg.seq),
    )
    joined = bool(answered) and _both_sides(customers, ours)
    first = answered[0] if joined else None
    ours_answered = sorted(
        (leg for leg in ours if leg.outcome == Outcome.ANSWERED),
        key=lambda leg: (leg.answered_at or _FAR, leg.seq),
    )

    if first is not None:
        _fill(values, "answered_at", first.answered_at)
    _fill(values, "connected_at", min((leg.answered_at for leg in legs if leg.answered_at), default=None))
    _fill(values, "ringing_at", min((leg.offered_at for leg in decisive if leg.offered_at), default=None))
    _agent(values, ours, ours_answered, outbound=direction == Direction.OUTBOUND or bool(customers))
    _queue(values, queues, first)
    _ring(values, decisive, first, queued=bool(queues))
    if "talk_seconds" not in values:
        values["talk_seconds"] = _talk(answered if joined else [], ended=ended)
    if "hold_seconds" not in values:
        held = [leg.hold_seconds for leg in legs if leg.hold_seconds is not None]
        values["hold_seconds"] = sum(held) if held else None
    if ended:
        _disposition(values, legs, customers, ours, joined=joined)
    else:
        _open_state(values, queues, ours, customers, joined=joined)


def _fill(values: dict[str, Any], name: str, value: Any) -> None:
    if name not in values:
        values[name] = value


def _both_sides(customers: Sequence[Leg], ours: Sequence[Leg]) -> bool:
    """Whether someone of ours can have been on the line: always, unless legs of ours are known and none answered
    although the customer did."""
    if not customers:
        return True
    return not ours or any(leg.outcome == Outcome.ANSWERED for leg in ours)


def _agent(values: dict[str, Any], ours: Sequence[Leg], answered: Sequence[Leg], *, outbound: bool) -> None:
    if any(values.get(name) is not None for name in _AGENT_COLUMNS[:3]):
        return
    who = answered[0] if answered else (ours[0] if ours and outbound else None)
    if who is not None:
        for name in _AGENT_COLUMNS:
            _fill(values, name, getattr(who, name))


def _queue(values: dict[str, Any], queues: Sequence[Leg], first: Leg | None) -> None:
    if not queues:
        return
    _fill(values, "queued_at", queues[0].offered_at)
    taken = [leg for leg in queues if leg.outcome == Outcome.ANSWERED]
    its = taken[0] if first is not None and taken else queues[-1]
    if values.get("queue") is None and values.get("queue_id") is None:
        values["queue"], values["queue_id"] = its.queue, its.queue_id
    if "wait_seconds" not in values:
        until = first.answered_at if first is not None else its.left_at
        if until is not None and its.offered_at is not None:
            values["wait_seconds"] = max(0, int((until - its.offered_at).total_seconds() + 0.5))


def _ring(values: dict[str, Any], decisive: Sequence[Leg], first: Leg | None, *, queued: bool) -> None:
    if "ring_seconds" in values:
        return
    if first is not None:
        values["ring_seconds"] = first.ring_seconds
    elif not queued:
        rung = [leg.ring_seconds for leg in decisive if leg.ring_seconds is not None]
        values["ring_seconds"] = sum(rung) if rung else None


def _talk(answered: Sequence[Leg], *, ended: bool) -> int | None:
    if not answered:
        return 0 if ended else None
    seconds = [leg.talk_seconds for leg in answered]
    return None if None in seconds else sum(second or 0 for second in seconds)


def _disposition(
    values: dict[str, Any], legs: Sequence[Leg], customers: Sequence[Leg], ours: Sequence[Leg], *, joined: bool
) -> None:
    """answered > voicemail > abandoned > the rest by the decisive record."""
    if joined:
        from_legs = Disposition.ANSWERED
    elif any(leg.role == Role.VOICEMAIL and leg.outcome != Outcome.UNKNOWN for leg in legs):
        from_legs = Disposition.VOICEMAIL
    elif any(leg.role == Role.QUEUE for leg in legs) or any(c.outcome == Outcome.ANSWERED for c in customers):
        from_legs = Disposition.ABANDONED
    elif customers:
        from_legs = OUTCOME_DISPOSITION.get(Outcome(customers[-1].outcome), Disposition.UNKNOWN)
    elif ours and values.get("direction") == Direction.OUTBOUND:
        from_legs = Disposition.NOT_DIALLED
    elif ours:
        from_legs = OUTCOME_DISPOSITION.get(Outcome(ours[-1].outcome), Disposition.UNKNOWN)
    else:
        return
    stated = values.get("disposition")
    if stated is None or DISPOSITION_RANK[from_legs] > DISPOSITION_RANK[stated]:
        values["disposition"] = from_legs


def _open_state(
    values: dict[str, Any], queues: Sequence[Leg], ours: Sequence[Leg], customers: Sequence[Leg], *, joined: bool
) -> None:
    if joined:
        values["state"] = State.ANSWERED
    elif any(leg.left_at is None for leg in (*customers, *ours)):
        values["state"] = State.RINGING
    elif queues:
        values["state"] = State.QUEUED
