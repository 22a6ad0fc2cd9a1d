"""What a decoder may return, and what is a bug of it."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import pytest

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.checked import checked
from cdrhub.model.update import Authority, CallUpdate, Ignored, LegUpdate, Sequence

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
NAIVE = datetime(2026, 3, 9, 12)  # noqa: DTZ001 - what is refused


class Nowhere(tzinfo):
    """A zone that does not say how far it is from UTC."""

    def utcoffset(self, moment: datetime | None) -> None:  # noqa: ARG002
        return None

    dst = tzname = utcoffset


NOWHERE = datetime(2026, 3, 9, 12, tzinfo=Nowhere())


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
    [
        update(),
        update(event_id="e", sequence=Sequence(core="c", number=1), computed=frozenset({"talk_seconds"})),
        update(values={"caller_name": AgentWord.IDLE, "talk_seconds": Authority.RECORD, "cost": Decimal("0.07")}),
        leg(attempt_at=NOON, attempt_id="a"),
        agent(at=NOON),
        agent(reason="lunch", queue="sales", event_id="e", sequence=1, flags=("unmapped_word",)),
        Ignored(why="w" * 64, warning="look"),
    ],
    ids=["call", "call by the vendor's order", "text and numbers by name", "leg", "agent", "agent in full", "ignored"],
)
def test_what_a_decoder_may_say_is_what_it_said(said: Any) -> None:
    assert checked(said, digest=b"d") is said


@pytest.mark.parametrize("word", ["none", "announced", "verified", "missing", "erased"])
def test_a_recording_is_in_any_state_that_the_model_has(word: str) -> None:
    said = update(values={"recording_state": word})
    assert checked(said, digest=b"d") is said


OF_ANY_KIND = {"final", "opens", "yields"}  #: looked at as true or false


@pytest.mark.parametrize(
    "said",
    [
        *(update(**{each.name: object()}) for each in fields(CallUpdate) if each.name not in OF_ANY_KIND),
        *(leg(**{each.name: object()}) for each in fields(LegUpdate) if each.name not in OF_ANY_KIND),
        *(agent(**{each.name: object()}) for each in fields(AgentState)),
    ],
    ids=lambda said: re.sub("0x[0-9a-f]+", "", str(said)),
)
def test_each_field_is_of_its_kind(said: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^`"):
        checked(said, digest=b"d")


@pytest.mark.parametrize(
    "said",
    [
        None,  # a branch that forgot to return
        "an update",
        CallUpdate,
        Own(call_key="k", kind="cdr", digest=b"d", values={}),
        update(call_key=None),
        update(call_key=""),
        update(digest=b"of another record"),
        update(sequence=Sequence(core=None, number=1)),  # type: ignore[arg-type]
        update(sequence=Sequence(core="c", number="1")),  # type: ignore[arg-type]
        update(at=NAIVE),
        update(at=NOWHERE),
        update(flags=None),
        update(flags="late"),
        update(flags=frozenset({5})),
        update(computed=None),
        update(computed="talk_seconds"),
        update(attributes=["a"]),
        update(values=None),
        update(values={"nonsense": 1}),
        update(values={"call_key": "other"}),
        update(values={"started_at": "yesterday"}),
        update(values={"started_at": NAIVE}),
        update(values={"started_at": NOWHERE}),
        update(values={"talk_seconds": 5.5}),
        update(values={"talk_seconds": True}),
        update(values={"caller_number": 5}),
        update(values={"cost": "0.07"}),
        update(values={"cost": Decimal("sNaN")}),
        update(values={"cost": Decimal("Infinity")}),
        update(values={"state": "finished"}),
        update(values={"state": "withdrawn"}),
        update(values={"disposition": "ANSWERED"}),
        update(values={"direction": "in"}),
        update(values={"ended_by": "them"}),
        update(values={"legs": ()}),
        update(legs=None),
        update(legs=({"leg_key": "l"},)),
        leg(attempt_at=NAIVE),
        leg(values={"role": "boss"}),
        leg(values={"outcome": "went home"}),
        leg(values={"nonsense": 1}),
        leg(values={"disposition": "answered"}),
        agent(kind="state"),
        agent(at=NAIVE),
        agent(flags=(5,)),
        Ignored(why="w" * 65),
        Ignored(why="\udcff"),
        Ignored(why="two\nlines"),
        Ignored(why="gruß"),
        Ignored(why=None),  # type: ignore[arg-type]
        Ignored(why="heartbeat", warning=5),  # type: ignore[arg-type]
    ],
    ids=lambda said: str(said)[:120],
)
def test_what_it_may_not_say_is_an_error(said: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^(`|'|a decoder returns)"):
        checked(said, digest=b"d")
