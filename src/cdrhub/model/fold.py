"""The fold: `fold(updates) -> Call`, a pure function of the set of updates.

Order of arrival, repetition and batching cannot matter, because no field is "last one wins":

- starts take the earliest time, ends the latest; words take the highest rank; flags and attributes are united;
- identities are set once, by the first update in `in_order`, among those of the highest authority;
- what no record says is derived from the legs (`derive.py`).

A *conflict* is two different values of one set-once field from records of the same kind: both are kept (in
`attributes["conflict"]`), the call is flagged, and nothing is lost silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from cdrhub.model.call import Call, Leg
from cdrhub.model.derive import derive
from cdrhub.model.disposition import (
    DIRECTION_RANK,
    DISPOSITION_RANK,
    ENDED_BY_RANK,
    OUTCOME_RANK,
    STATE_RANK,
    Outcome,
    Role,
)
from cdrhub.model.update import CallUpdate, LegUpdate

#: Two offers of one call to one agent further apart than this are two attempts. A switch states the same attempt's
#: time in whole seconds in one event and in microseconds in another, so it cannot be zero.
ATTEMPT_TOLERANCE = timedelta(seconds=1, milliseconds=500)

_EARLIEST = frozenset({"started_at", "queued_at", "ringing_at", "connected_at", "answered_at", "offered_at"})
_LATEST = frozenset({"ended_at", "left_at"})
_RANKED: Mapping[str, Mapping[Any, int]] = {
    "state": STATE_RANK,
    "direction": DIRECTION_RANK,
    "disposition": DISPOSITION_RANK,
    "ended_by": ENDED_BY_RANK,
    "outcome": OUTCOME_RANK,
}

#: Values of a kind of record that may differ from record to record without a contradiction: words of rank, times.
_NEVER_IN_CONFLICT = _EARLIEST | _LATEST | frozenset(_RANKED)

_FAR = datetime.max.replace(tzinfo=UTC)


def fold(updates: Iterable[CallUpdate]) -> Call:
    """The call that these updates describe. They must share one call_key and be at least one."""
    ordered = list(updates)
    if len(ordered) > 1:
        ordered = in_order(distinct(ordered))
    elif not ordered:
        raise ValueError("a call is made of at least one update")
    if len(ordered) == 1:
        update = ordered[0]
        values = dict(update.values)
        attributes = dict(update.attributes)
        flags = set(update.flags)
    else:
        values, contradictions = _merge([(update, update.values) for update in ordered])
        attributes, in_attributes = _merge([(update, update.attributes) for update in ordered])
        flags = set[str]().union(*(update.flags for update in ordered))
        contradictions |= in_attributes
        _note_contradictions(attributes, flags, contradictions)
    legs = _legs(ordered, attributes, flags)
    return derive(
        ordered[0].call_key,
        values,
        legs,
        attributes=attributes,
        flags=flags,
        final=any(update.final for update in ordered),
    )


def distinct(updates: Iterable[CallUpdate]) -> list[CallUpdate]:
    """`updates` without repetitions: one per digest, and one per event id of the vendor (the fullest, then by
    digest, for the same event may come in two encodings)."""
    by_digest = {update.digest: update for update in updates}
    kept: dict[object, CallUpdate] = {}
    for update in sorted(by_digest.values(), key=lambda u: (-_fullness(u), u.digest)):
        kept.setdefault(update.event_id if update.event_id is not None else update.digest, update)
    return list(kept.values())


def in_order(updates: Sequence[CallUpdate]) -> list[CallUpdate]:
    """`updates` in the one order that depends on nothing but themselves: by the vendor's sequence within one core,
    cores and everything else by UTC time, then the fuller first, then by digest."""
    core_start: dict[str, datetime] = {}
    for update in updates:
        if update.sequence is not None:
            at = update.at or _FAR
            core_start[update.sequence.core] = min(at, core_start.get(update.sequence.core, _FAR))

    def key(update: CallUpdate) -> tuple[datetime, str, int, int, bytes]:
        if update.sequence is None:
            return (update.at or _FAR, "", 0, -_fullness(update), update.digest)
        core = update.sequence.core
        return (core_start[core], core, update.sequence.number, -_fullness(update), update.digest)

    return sorted(updates, key=key)


def _fullness(update: CallUpdate) -> int:
    return sum(value is not None for value in update.values.values()) + len(update.attributes)


_Contradictions = dict[str, set[str]]


def _merge(
    ordered: Sequence[tuple[CallUpdate, Mapping[str, Any]]],
) -> tuple[dict[str, Any], _Contradictions]:
    """One dictionary of several, field by field, and the contradictions between records of one kind."""
    merged: dict[str, Any] = {}
    authority: dict[str, int] = {}
    said: dict[tuple[str, str], Any] = {}
    contradictions: _Contradictions = {}
    for update, values in ordered:
        for name, value in values.items():
            if value is None:
                merged.setdefault(name, None)
                continue
            if name not in _NEVER_IN_CONFLICT:
                before = said.setdefault((name, update.kind), value)
                if before != value:
                    contradictions.setdefault(name, {str(before)}).add(str(value))
            known = merged.get(name)
            if known is None or update.authority > authority[name]:
                merged[name], authority[name] = value, update.authority
            elif update.authority == authority[name]:
                merged[name] = _join(name, known, value)
    return merged, contradictions


def _join(name: str, known: Any, value: Any) -> Any:
    """Of two values of one field with one authority, the one that stays; `known` comes first in the order."""
    if name in _EARLIEST:
        return min(known, value)
    if name in _LATEST:
        return max(known, value)
    if (ranks := _RANKED.get(name)) is not None:
        return value if ranks[value] > ranks[known] else known
    return known


def _note_contradictions(attributes: dict[str, Any], flags: set[str], contradictions: Mapping[str, set[str]]) -> None:
    if contradictions:
        flags.add("conflict")
        noted = attributes.setdefault("conflict", {})
        for name, values in contradictions.items():
            noted[name] = sorted({*noted.get(name, ()), *values})


def _legs(ordered: Sequence[CallUpdate], attributes: dict[str, Any], flags: set[str]) -> tuple[Leg, ...]:
    grouped: dict[str, list[tuple[CallUpdate, LegUpdate]]] = {}
    for update in ordered:
        for leg in update.legs:
            grouped.setdefault(leg.leg_key, []).append((update, leg))
    merged: list[tuple[str, dict[str, Any]]] = []
    for leg_key, said in grouped.items():
        for number, attempt in enumerate(_attempts(said), start=1):
            if len(attempt) == 1:
                values = dict(attempt[0][1].values)
            else:
                values, contradictions = _merge([(update, leg.values) for update, leg in attempt])
                _note_contradictions(attributes, flags, {f"{leg_key}.{name}": v for name, v in contradictions.items()})
            merged.append((leg_key if number == 1 else f"{leg_key}#{number}", values))
    if len(merged) > 1:
        merged.sort(key=lambda item: item[1].get("offered_at") or item[1].get("answered_at") or _FAR)
    return tuple(_leg(key, seq, values) for seq, (key, values) in enumerate(merged, start=1))


def _attempts(said: list[tuple[CallUpdate, LegUpdate]]) -> list[list[tuple[CallUpdate, LegUpdate]]]:
    """The attempts behind one leg key, by their times; what has no time belongs to the first."""
    timed = [item for item in said if item[1].attempt_at is not None]
    if len(timed) < 2:
        return [said]
    timed.sort(key=lambda item: item[1].attempt_at or _FAR)
    attempts = [[timed[0]]]
    for before, item in pairwise(timed):
        if (item[1].attempt_at or _FAR) - (before[1].attempt_at or _FAR) > ATTEMPT_TOLERANCE:
            attempts.append([])
        attempts[-1].append(item)
    position = {id(update): place for place, (update, _) in enumerate(said)}
    attempts[0].extend(item for item in said if item[1].attempt_at is None)
    for attempt in attempts:
        attempt.sort(key=lambda item: position[id(item[0])])
    return attempts


def _leg(leg_key: str, seq: int, values: dict[str, Any]) -> Leg:
    role = values.pop("role", Role.OTHER)
    outcome = values.pop("outcome", Outcome.UNKNOWN)
    offered, answered, left = (values.get(name) for name in ("offered_at", "answered_at", "left_at"))
    if role not in (Role.QUEUE, Role.IVR, Role.VOICEMAIL):
        if outcome == Outcome.ANSWERED:
            if "ring_seconds" not in values and offered and answered:
                values["ring_seconds"] = whole_seconds(offered, answered)
            if "talk_seconds" not in values and answered and left:
                values["talk_seconds"] = whole_seconds(answered, left)
        elif "ring_seconds" not in values and offered and left:
            values["ring_seconds"] = whole_seconds(offered, left)
    return Leg(leg_key=leg_key, seq=seq, role=role, outcome=outcome, **values)


def whole_seconds(since: datetime, until: datetime) -> int:
    """Seconds from `since` to `until`, rounded half up, never negative."""
    return max(0, int((until - since).total_seconds() + 0.5))
