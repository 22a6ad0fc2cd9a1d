"""What a decoder may return, and what is a bug of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.checked import checked
from cdrhub.model.update import CallUpdate, Ignored, LegUpdate

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
NAIVE = datetime(2026, 3, 9, 12)  # noqa: DTZ001 - what is refused


def update(**said: Any) -> CallUpdate:
    values = {"state": "ended", "disposition": "answered", "started_at": NOON, "talk_seconds": 5, "caller_name": None}
    whole: dict[str, Any] = {"call_key": "k", "kind": "cdr", "digest": b"d", "at": NOON, "values": values}
    return CallUpdate(**whole | said)


def leg(**said: Any) -> CallUpdate:
    whole: dict[str, Any] = {"leg_key": "l", "values": {"role": "agent"}}
    return update(legs=(LegUpdate(**whole | said),))


def agent(**said: Any) -> AgentState:
    whole: dict[str, Any] = {"kind": AgentKind.STATE, "agent_id": "7", "state": AgentWord.WAITING, "state_raw": "w"}
    return AgentState(**whole | said)


class Own(CallUpdate):
    """One that whoever writes the rows would not know."""


@pytest.mark.parametrize(
    "said",
    [update(), leg(attempt_at=NOON), agent(at=NOON), Ignored(why="heartbeat")],
    ids=["call", "leg", "agent", "ignored"],
)
def test_what_a_decoder_may_say_is_what_it_said(said: Any) -> None:
    assert checked(said) is said


@pytest.mark.parametrize(
    "said",
    [
        None,  # a branch that forgot to return
        "an update",
        CallUpdate,
        Own(call_key="k", kind="cdr", digest=b"d", values={}),
        update(call_key=None),
        update(call_key=""),
        update(call_key=5),
        update(kind=None),
        update(digest="d"),
        update(event_id=5),
        update(sequence=5),
        update(authority="high"),
        update(at="noon"),
        update(at=NAIVE),
        update(flags=None),
        update(flags="late"),
        update(flags=frozenset({5})),
        update(attributes=["a"]),
        update(values=None),
        update(values={"nonsense": 1}),
        update(values={"call_key": "other"}),
        update(values={"started_at": "yesterday"}),
        update(values={"started_at": NAIVE}),
        update(values={"talk_seconds": 5.5}),
        update(values={"talk_seconds": True}),
        update(values={"caller_number": 5}),
        update(values={"cost": "0.07"}),
        update(values={"state": "finished"}),
        update(values={"state": "withdrawn"}),
        update(values={"disposition": "ANSWERED"}),
        update(values={"direction": "in"}),
        update(legs=None),
        update(legs=({"leg_key": "l"},)),
        leg(leg_key=None),
        leg(attempt_at=NAIVE),
        leg(values={"role": "boss"}),
        leg(values={"nonsense": 1}),
        agent(kind="state"),
        agent(agent_id=None),
        agent(at=NAIVE),
        agent(flags=None),
        Ignored(why="w" * 65),
        Ignored(why="\udcff"),
        Ignored(why=None),  # type: ignore[arg-type]
        Ignored(why="heartbeat", warning=5),  # type: ignore[arg-type]
    ],
    ids=lambda said: str(said)[:120],
)
def test_what_it_may_not_say_is_an_error(said: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        checked(said)
