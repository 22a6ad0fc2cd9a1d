"""A call of which no end came is closed after a time, and any word of asterCC outranks that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdrhub.model.call import Call
from cdrhub.model.disposition import Disposition, State
from cdrhub.model.fold import fold
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.record import INFERENCE
from cdrhub.model.update import CallUpdate
from cdrhub.sources.astercc import SYSTEM
from cdrhub.sources.astercc.config import AsterCCConfig
from support.astercc import PATH, call_of, event, updated
from support.records import raw_record

HOURS = timedelta(hours=1)
INCOMING = event("CALLER", "incoming", 0, calltype="dialin")
ANSWER = event("AGENT", "answer", 5, calltype="dialin", uniqueid="u1")


def concluded(call: Call, *, silent_for: timedelta, **config: Any) -> CallUpdate | None:
    """The update that the conclusion about `call` becomes."""
    said = SYSTEM.conclude(AsterCCConfig(path=PATH, **config), call, silent_for=silent_for)
    if said is None:
        return None
    update = decode_inference(raw_record(encode_inference(said), source="shanghai", content_type=INFERENCE))
    assert isinstance(update, CallUpdate)
    return update


def closed(*bodies: bytes) -> Call:
    """The call of these events after nothing more came."""
    conclusion = concluded(call_of(*bodies), silent_for=4 * HOURS)
    assert conclusion is not None
    return fold([*(updated(body) for body in bodies), conclusion])


@pytest.mark.parametrize(
    ("config", "silent_for", "closes"),
    [
        ({}, 4 * HOURS - timedelta(seconds=1), False),
        ({}, 4 * HOURS, True),
        ({"close_after": "30m"}, timedelta(minutes=30), True),
        ({"close_after": "12h"}, 11 * HOURS, False),
    ],
)
def test_a_silent_call_is_closed_after_the_configured_time(
    config: dict[str, str], silent_for: timedelta, closes: bool
) -> None:
    assert (concluded(call_of(INCOMING, ANSWER), silent_for=silent_for, **config) is not None) == closes


def test_an_ended_call_is_left_alone() -> None:
    call = call_of(INCOMING, ANSWER, event("CALLER", "hangup", 30, calltype="dialin"))
    assert concluded(call, silent_for=100 * HOURS) is None


def test_when_it_ended_is_not_made_up() -> None:
    call = closed(INCOMING, ANSWER)
    assert (call.state, call.disposition, call.ended_at) == (State.ENDED, Disposition.ANSWERED, None)
    assert (call.talk_seconds, call.duration_seconds, call.wait_seconds) == (None, None, 5)
    assert "end_inferred" in call.flags


def test_the_hang_up_of_an_agent_who_answered_tells_when() -> None:
    """Without `hangupfirst` the event alone cannot be told from one of an agent who never picked up."""
    call = closed(INCOMING, ANSWER, event("AGENT", "hangup", 35, calltype="dialin", uniqueid="u1"))
    assert (call.ended_at, call.talk_seconds) == (datetime(2026, 3, 9, 2, 0, 35, tzinfo=UTC), 30)


@pytest.mark.parametrize(
    ("bodies", "disposition"),
    [
        ([INCOMING], Disposition.ABANDONED),
        ([event("CALLEE", "ringing", 0)], Disposition.NO_ANSWER),
        ([event("CALLEE", "ringing", 0), event("CALLEE", "answer", 9)], Disposition.ANSWERED),
    ],
)
def test_what_was_seen_last_decides_how_it_ended(bodies: Sequence[bytes], disposition: Disposition) -> None:
    call = closed(*bodies)
    assert (call.disposition, call.ended_at) == (disposition, None)


def test_a_late_hang_up_outranks_the_conclusion() -> None:
    late = event("CALLER", "hangup", 300, calltype="dialin", hangupfirst="CALLER")
    conclusion = concluded(call_of(INCOMING, ANSWER), silent_for=4 * HOURS)
    assert conclusion is not None
    told = [updated(INCOMING), updated(ANSWER), updated(late)]
    assert fold([conclusion, *told]) == fold(told)


def test_two_hubs_write_the_same_bytes() -> None:
    early = concluded(call_of(INCOMING, ANSWER), silent_for=4 * HOURS)
    late = concluded(call_of(ANSWER, INCOMING, ANSWER), silent_for=9 * HOURS)
    assert early is not None
    assert early == late
