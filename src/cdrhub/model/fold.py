"""The fold: `fold(updates) -> Call`, a pure function of the set of updates.

Order of arrival, repetition and batching cannot matter, because no field is "last one wins":

- starts take the earliest time, ends the latest; words take the highest rank; flags and attributes are united;
- identities are set once, by the first update in `in_order`, among those of the highest authority;
- what no record says is derived from the legs (`derive.py`);
- an end that the hub inferred stands as long as nothing of the call began after it;
- who hung up is who ended the part of the call that ended last.

A *conflict* is two different values of one set-once field from records of the same kind: both are kept (in
`attributes["conflict"]`), the call is flagged, and nothing is lost silently. What the hub inferred yields to every
vendor's record, and its flags go with it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from cdrhub.model.call import Call, Leg
from cdrhub.model.derive import derive, whole_seconds
from cdrhub.model.disposition import (
    DIRECTION_RANK,
    DISPOSITION_RANK,
    ENDED_BY_RANK,
    OUR_PEOPLE,
    OUTCOME_RANK,
    PICKED_UP,
    ROLE_RANK,
    STATE_RANK,
    Disposition,
    Outcome,
    Role,
    State,
)
from cdrhub.model.update import Authority, CallUpdate, LegUpdate, bounded_key

#: Two offers of one call to one agent further apart than this are two attempts. A switch states the same attempt's
#: time in whole seconds in one event and in microseconds in another, so it cannot be zero.
ATTEMPT_TOLERANCE = timedelta(seconds=1, milliseconds=500)

MOMENT = timedelta(seconds=1)  #: in which both sides of a call are told to have ended

CONFLICT = "conflict"  #: the flag, and the attribute that holds what contradicts

_EARLIEST = frozenset({"started_at", "queued_at", "ringing_at", "connected_at", "answered_at", "offered_at"})
_LATEST = frozenset({"ended_at", "left_at"})
_RANKED: Mapping[str, Mapping[Any, int]] = {
    "state": STATE_RANK,
    "direction": DIRECTION_RANK,
    "disposition": DISPOSITION_RANK,
    "ended_by": ENDED_BY_RANK,
    "outcome": OUTCOME_RANK,
    "role": ROLE_RANK,
}

#: Values of a kind of record that may differ from record to record without a contradiction: words of rank, times.
_NEVER_IN_CONFLICT = _EARLIEST | _LATEST | frozenset(_RANKED)

_FAR = datetime.max.replace(tzinfo=UTC)
_MACHINES = frozenset({Role.QUEUE, Role.IVR, Role.VOICEMAIL})

_Statement = tuple[CallUpdate, LegUpdate]
_Contradictions = dict[str, set[str]]


def fold(updates: Iterable[CallUpdate]) -> Call:
    """The call that these updates describe. They must share one call_key and be at least one."""
    ordered = list(updates)
    if len(ordered) != 1:
        if not ordered:
            raise ValueError("a call is made of at least one update")
        ordered = in_order(distinct(ordered))
    first = ordered[0]
    contradictions: _Contradictions = {}
    if len(ordered) == 1:
        values = dict(first.values)
        attributes = dict(first.attributes)
        flags = set(first.flags)
        final, opened = first.final, first.opens
    else:
        values, attributes, flags = _merge_calls(ordered, contradictions)
        final = any(update.final for update in ordered)
        opened = any(update.opens for update in ordered)
    legs: tuple[Leg, ...] = ()
    ended = values.get("state") == State.ENDED
    if len(ordered) > 1 or len(first.legs) > 1:
        answered = values.get("disposition") == Disposition.ANSWERED
        legs = _legs(ordered, contradictions, ended=ended, answered=answered)
    elif first.legs:
        only = first.legs[0]
        legs = (_leg(only.leg_key, 1, dict(only.values), ended=ended),)
    if contradictions:
        flags.add(CONFLICT)
        if (sent := attributes.get(CONFLICT)) is not None:  # the vendor's own, by chance of that name
            contradictions[CONFLICT] = {*contradictions.get(CONFLICT, ()), str(sent)}
        attributes[CONFLICT] = {name: sorted(values) for name, values in contradictions.items()}
    return derive(first.call_key, values, legs, attributes=attributes, flags=flags, final=final, opened=opened)


def distinct(updates: Iterable[CallUpdate]) -> list[CallUpdate]:
    """`updates` without repetitions: one per digest, and one per event id of the vendor (the fullest, then by
    digest, for the same event may come in two encodings)."""
    by_digest: dict[bytes, CallUpdate] = {}
    for update in updates:
        known = by_digest.setdefault(update.digest, update)
        if known is not update and known != update and _spelled(update) < _spelled(known):
            by_digest[update.digest] = update
    kept: dict[object, CallUpdate] = {}
    for update in sorted(by_digest.values(), key=lambda u: (-_fullness(u), u.digest)):
        kept.setdefault(update.event_id if update.event_id is not None else update.digest, update)
    return list(kept.values())


def _spelled(update: CallUpdate) -> tuple[int, str]:
    """Which of two readings of the same bytes counts (two sources of one call may have different zones): the fuller,
    then the one that sorts first as text."""
    return (-_fullness(update), repr(update))


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


def _merge_calls(
    ordered: Sequence[CallUpdate], contradictions: _Contradictions
) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Values, attributes and flags of several updates, in the order given; adds to `contradictions`."""
    statements = _hung_up_last(_standing(ordered))
    values, authority, in_values = _merge(statements)
    attributes, in_attributes = _merge_attributes(ordered)
    contradictions |= in_values | in_attributes
    flags: set[str] = set()
    for update, its in statements:
        stands = update.authority > Authority.INFERENCE or any(
            authority.get(name) == Authority.INFERENCE for name in its
        )
        if stands:
            flags |= update.flags
    return values, attributes, flags


def _standing(ordered: Sequence[CallUpdate]) -> list[tuple[CallUpdate, Mapping[str, Any]]]:
    """What each update says of the call: nothing, where it is an end that the hub inferred and a leg began after it."""
    ends = {
        id(update): at
        for update in ordered
        if update.authority == Authority.INFERENCE and (at := update.values.get("ended_at")) is not None
    }
    if ends:
        offers = (leg.values.get("offered_at") for update in ordered for leg in update.legs)
        last = max((at for at in offers if at is not None), default=None)
        ends = {its: at for its, at in ends.items() if last is not None and last > at}
    return [(update, {} if id(update) in ends else update.values) for update in ordered]


def _hung_up_last(
    statements: list[tuple[CallUpdate, Mapping[str, Any]]],
) -> list[tuple[CallUpdate, Mapping[str, Any]]]:
    """What was said, without who hung up where that was of a part of the call that others outlasted."""
    ends = [at for _, its in statements if its.get("ended_by") and (at := its.get("ended_at")) is not None]
    last = max(ends, default=None)
    if last is None or last - min(ends) < MOMENT:
        return statements
    return [
        (update, {name: value for name, value in its.items() if name != "ended_by" or not _before(its, last)})
        for update, its in statements
    ]


def _before(its: Mapping[str, Any], last: datetime) -> bool:
    at = its.get("ended_at")
    return at is not None and last - at >= MOMENT


def _merge(
    statements: Sequence[tuple[CallUpdate, Mapping[str, Any]]], *, columns: bool = True
) -> tuple[dict[str, Any], dict[str, int], _Contradictions]:
    """One dictionary of several, field by field, whose word each is, and what records of one kind contradict.

    The names of `columns` have meanings: times, words of rank. Other names are the vendor's own, whatever they are
    called, and are set once.
    """
    merged: dict[str, Any] = {}
    authority: dict[str, int] = {}
    by_kind: dict[tuple[str, str], Any] = {}
    contradictions: _Contradictions = {}
    for update, values in statements:
        for name, value in values.items():
            if value is None:
                merged.setdefault(name, None)
                continue
            if not columns or (name not in _NEVER_IN_CONFLICT and name not in update.computed):
                before = by_kind.setdefault((name, update.kind), value)
                if before != value:
                    contradictions.setdefault(name, {str(before)}).add(str(value))
            known = merged.get(name)
            if known is None:
                merged[name], authority[name] = value, update.authority
            elif columns and name == "state":
                # How far a call has come is never taken back: not even by a record that outranks the end's.
                rank, known_rank = STATE_RANK[value], STATE_RANK[known]
                if (rank, update.authority) > (known_rank, authority[name]):
                    merged[name], authority[name] = value, update.authority
            elif update.authority > authority[name]:
                merged[name], authority[name] = value, update.authority
            elif columns and update.authority == authority[name]:
                merged[name] = _join(name, known, value)
    return merged, authority, contradictions


def _join(name: str, known: Any, value: Any) -> Any:
    """Of two values of one field with one authority, the one that stays; `known` comes first in the order."""
    if name in _EARLIEST:
        return min(known, value)
    if name in _LATEST:
        return max(known, value)
    if (ranks := _RANKED.get(name)) is not None:
        return value if ranks[value] > ranks[known] else known
    return known


def _merge_attributes(ordered: Sequence[CallUpdate]) -> tuple[dict[str, Any], _Contradictions]:
    """Attributes united, objects among them (`unmapped`, `agent_channels`) key by key, else set once."""
    flat: list[tuple[CallUpdate, dict[str, Any]]] = []
    members: dict[str, list[tuple[CallUpdate, Mapping[str, Any]]]] = {}
    for update in ordered:
        plain: dict[str, Any] = {}
        for name, value in update.attributes.items():
            if isinstance(value, Mapping):
                members.setdefault(name, []).append((update, value))
            else:
                plain[name] = value
        flat.append((update, plain))
    merged, _, contradictions = _merge(flat, columns=False)
    for name, nested in members.items():
        inner, _, within = _merge(nested, columns=False)
        merged[name] = inner
        contradictions |= {f"{name}.{key}": found for key, found in within.items()}
    return merged, contradictions


def _legs(
    ordered: Sequence[CallUpdate], contradictions: _Contradictions, *, ended: bool, answered: bool
) -> tuple[Leg, ...]:
    """The legs of several updates; adds to `contradictions`."""
    grouped: dict[str, list[_Statement]] = {}
    for update in ordered:
        for leg in update.legs:
            grouped.setdefault(leg.leg_key, []).append((update, leg))
    merged: list[tuple[str, dict[str, Any]]] = []
    yielding: set[str] = set()
    for leg_key, statements in grouped.items():
        if all(leg.yields for _, leg in statements):
            yielding.add(leg_key)
        if len(statements) == 1:
            merged.append((leg_key, dict(statements[0][1].values)))
            continue
        for number, attempt in enumerate(_attempts(statements), start=1):
            values, _, found = _merge([(update, leg.values) for update, leg in attempt])
            for name, said_of_it in found.items():
                contradictions.setdefault(f"{leg_key}.{name}", set()).update(said_of_it)
            merged.append((leg_key if number == 1 else _attempt_key(leg_key, number, grouped), values))
    if len(merged) > 1:
        merged.sort(key=_place)
    if len(merged) > 1 or yielding:
        _conclude_from_siblings(merged, yielding, ended=ended, answered=answered)
    return tuple(_leg(key, seq, values, ended=ended) for seq, (key, values) in enumerate(merged, start=1))


def _attempt_key(leg_key: str, number: int, others: Container[str]) -> str:
    """The key of a further attempt: the leg's with a number, and no other leg's, whatever those are called."""
    key = bounded_key(f"{leg_key}#{number}")
    while key in others:
        key = bounded_key(f"{key}#")
    return key


def _place(item: tuple[str, Mapping[str, Any]]) -> tuple[datetime, bool]:
    """By time; a queue before the agents that it rang in the same second; else as the records say."""
    values = item[1]
    return (values.get("offered_at") or values.get("answered_at") or _FAR, values.get("role") != Role.QUEUE)


def _attempts(statements: list[_Statement]) -> list[list[_Statement]]:
    """The attempts behind one leg key: by their names, else by their times.

    An update that has neither belongs to the last attempt that had begun when it was answered, else to the first. One
    that has a name only belongs to the attempt of that name, else to the last nameless one that had begun when it was
    answered, else it is an attempt of its own.
    """
    timed = sorted(
        (item for item in statements if item[1].attempt_at is not None), key=lambda item: item[1].attempt_at or _FAR
    )
    attempts: list[list[_Statement]] = []
    named: dict[str, list[_Statement]] = {}
    last = None
    for item in timed:
        at, name = item[1].attempt_at or _FAR, item[1].attempt_id
        attempt = named.get(name) if name is not None else None
        if attempt is None:
            if last is None or at - last > ATTEMPT_TOLERANCE:
                attempts.append([])
            attempt, last = attempts[-1], at
        if name is not None:
            named[name] = attempt
        attempt.append(item)
    nameless: list[_Statement] = []
    for item in statements:
        if item[1].attempt_at is None:
            if item[1].attempt_id is None:
                nameless.append(item)
            else:
                _named_attempt(attempts, item).append(item)
    if len(attempts) <= 1:
        return [statements]
    for item in nameless:
        _nameless_attempt(attempts, item).append(item)
    position = {id(item): place for place, item in enumerate(statements)}
    for attempt in attempts:
        attempt.sort(key=lambda item: position[id(item)])
    return attempts


def _nameless_attempt(attempts: list[list[_Statement]], item: _Statement) -> list[_Statement]:
    answered = item[1].values.get("answered_at")
    if answered is not None:
        for attempt in reversed(attempts):
            begun = (leg.attempt_at or leg.values.get("answered_at") for _, leg in attempt)
            if any(at is not None and at <= answered + ATTEMPT_TOLERANCE for at in begun):
                return attempt
    return attempts[0]


def _named_attempt(attempts: list[list[_Statement]], item: _Statement) -> list[_Statement]:
    name, answered = item[1].attempt_id, item[1].values.get("answered_at")
    free: list[_Statement] | None = None
    for attempt in attempts:
        names = {leg.attempt_id for _, leg in attempt} - {None}
        if name in names:
            return attempt
        begun = next((leg.attempt_at for _, leg in attempt if leg.attempt_at is not None), None)
        if not names and (answered is None or begun is None or begun <= answered + ATTEMPT_TOLERANCE):
            free = attempt
    if free is None:
        free = []
        attempts.append(free)
    return free


def _conclude_from_siblings(
    merged: Sequence[tuple[str, dict[str, Any]]], yielding: Container[str], *, ended: bool, answered: bool
) -> None:
    """What a leg became of which no record told it, or only one that could not know (`yielding`), where the legs
    beside it tell:

    - the queue of an agent who answered has answered, then. It is the leg that the agent's names as its parent, else
      the last one entered before the answer;
    - a queue of which no more is known, and after which another one was entered, has overflown, then;
    - an agent who was rung beside one who answered has lost the race;
    - of an answered call, the only person of ours has answered.
    """
    taken = {leg.get("parent_leg") for _, leg in merged if leg.get("outcome") == Outcome.ANSWERED} - {None}
    for key, leg in merged:
        unknown = leg.get("outcome", Outcome.UNKNOWN) == Outcome.UNKNOWN
        if key in taken and leg.get("role") == Role.QUEUE and (unknown or key in yielding):
            leg["outcome"] = Outcome.ANSWERED
            if key in yielding and leg.get("answered_at") is None:
                leg.pop("left_at", None)  # when the agent took it is not known: what is said is the end of his talk
        elif unknown and ended and leg.get("role") == Role.AGENT and leg.get("parent_leg") in taken:
            leg["outcome"] = Outcome.LOST_RACE
    if not yielding:
        return
    queues = [leg for key, leg in merged if key in yielding and leg.get("role") == Role.QUEUE]
    people = [(key, leg) for key, leg in merged if leg.get("role") in OUR_PEOPLE]
    answers = [leg.get("answered_at") for _, leg in people if leg.get("outcome") == Outcome.ANSWERED]
    for at in sorted((at for at in answers if at is not None), reverse=True):
        entered = [leg for leg in queues if leg.get("offered_at") is None or leg["offered_at"] <= at]
        if entered:
            entered[-1] |= {"outcome": Outcome.ANSWERED, "answered_at": at, "left_at": at}
    for leg, after in pairwise(queues):
        if leg.get("outcome", Outcome.UNKNOWN) == Outcome.UNKNOWN and after.get("offered_at") is not None:
            leg |= {"outcome": Outcome.OVERFLOW, "left_at": after["offered_at"]}
    if answered and len(people) == 1 and people[0][0] in yielding:
        people[0][1]["outcome"] = Outcome.ANSWERED


def _leg(leg_key: str, seq: int, values: dict[str, Any], *, ended: bool) -> Leg:
    role = values.pop("role", Role.OTHER)
    outcome = values.pop("outcome", Outcome.UNKNOWN)
    get = values.get
    left = get("left_at")
    if not ended and left is None and outcome not in PICKED_UP:
        outcome = Outcome.UNKNOWN  # it still rings: "not answered so far" is no outcome
    if role not in _MACHINES:
        offered, answered = get("offered_at"), get("answered_at")
        if outcome == Outcome.ANSWERED:
            if answered:
                if offered and "ring_seconds" not in values:
                    values["ring_seconds"] = whole_seconds(offered, answered)
                if left and "talk_seconds" not in values:
                    values["talk_seconds"] = whole_seconds(answered, left)
        elif offered and "ring_seconds" not in values and (rang_until := answered or left):
            values["ring_seconds"] = whole_seconds(offered, rang_until)
    return Leg(leg_key=leg_key, seq=seq, role=role, outcome=outcome, **values)
