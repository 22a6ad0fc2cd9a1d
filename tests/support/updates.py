"""Synthetic updates for tests of the fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import strategies as st

from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.update import Authority, CallUpdate, LegUpdate
from cdrhub.model.update import Sequence as VendorSequence

START = datetime(2026, 3, 9, 10, 0, tzinfo=UTC)
_numbers = count(1)


def at(seconds: float) -> datetime:
    """`seconds` after START."""
    return START + timedelta(seconds=seconds)


def update(
    *legs: LegUpdate,
    kind: str = "cdr",
    digest: bytes | None = None,
    seconds: float = 0,
    attributes: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    authority: Authority = Authority.RECORD,
    opens: bool = True,
    event_id: str | None = None,
    **values: Any,
) -> CallUpdate:
    """An update of the call `call`, with a digest of its own."""
    return CallUpdate(
        call_key="call",
        kind=kind,
        digest=digest or next(_numbers).to_bytes(16, "big"),
        values=values,
        legs=legs,
        attributes=attributes or {},
        flags=frozenset(flags),
        at=at(seconds),
        authority=authority,
        opens=opens,
        event_id=event_id,
    )


def leg(
    leg_key: str = "101",
    role: Role | None = Role.AGENT,
    outcome: Outcome | None = None,
    *,
    attempt: float | None = None,
    name: str | None = None,
    **values: Any,
) -> LegUpdate:
    """A leg; `attempt` is its time in seconds after START, `name` the attempt's."""
    said = {"role": role, "outcome": outcome} | values
    return LegUpdate(
        leg_key=leg_key,
        values={key: value for key, value in said.items() if value is not None},
        attempt_at=at(attempt) if attempt is not None else None,
        attempt_id=name,
    )


_TIMES = st.integers(0, 6).map(at)
_WORDS = st.sampled_from(["x", "y"])

_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([State.QUEUED, State.RINGING, State.ANSWERED, State.ENDED]),
        "direction": st.sampled_from(Direction),
        "disposition": st.sampled_from(Disposition),
        "ended_by": st.sampled_from(EndedBy),
        "started_at": _TIMES,
        "queued_at": _TIMES,
        "connected_at": st.none() | _TIMES,
        "answered_at": st.none() | _TIMES,
        "ended_at": st.none() | _TIMES,
        "caller_number": _WORDS,
        "agent_id": _WORDS,
        "talk_seconds": st.none() | st.integers(0, 5),
        "recording_url": _WORDS,
    },
)
_LEG_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(Role),
        "outcome": st.sampled_from(Outcome),
        "parent_leg": st.sampled_from(["1", "2"]),
        "agent_id": _WORDS,
        "queue": _WORDS,
        "offered_at": _TIMES,
        "answered_at": _TIMES,
        "left_at": _TIMES,
        "talk_seconds": st.none() | st.integers(0, 5),
    },
)
_LEGS = st.builds(
    LegUpdate,
    leg_key=st.sampled_from(["1", "2", "3"]),
    values=_LEG_VALUES,
    attempt_at=st.none() | _TIMES,
    attempt_id=st.none() | _WORDS,
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), _WORDS | st.dictionaries(_WORDS, st.integers(0, 2), max_size=2), max_size=3
)


def updates() -> st.SearchStrategy[list[CallUpdate]]:
    """Updates of one call that contradict each other in every way; equal digests are equal updates."""
    one = st.builds(
        CallUpdate,
        call_key=st.just("call"),
        kind=st.sampled_from(["event", "cdr"]),
        digest=st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(16, "big")),
        values=_VALUES,
        legs=st.lists(_LEGS, max_size=3).map(tuple),
        attributes=_ATTRIBUTES,
        flags=st.frozensets(st.sampled_from(["late", "time_ambiguous"])),
        at=st.none() | _TIMES,
        sequence=st.none()
        | st.builds(VendorSequence, core=st.sampled_from(["core-1", "core-2"]), number=st.integers(1, 6)),
        event_id=st.none() | st.sampled_from(["event-1", "event-2", "event-3"]),
        authority=st.sampled_from(Authority),
        final=st.booleans(),
        opens=st.booleans(),
    )
    return st.lists(one, min_size=1, max_size=6, unique_by=lambda update: update.digest)
