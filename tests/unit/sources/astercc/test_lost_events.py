"""Calls of which events were lost: asterCC sends none again, and the lost one may have been the answer."""

from __future__ import annotations

from itertools import combinations

import pytest

from cdrhub.model.call import Call
from cdrhub.model.derive import ANSWER_UNSEEN, END_UNSEEN
from cdrhub.model.disposition import Direction, Disposition, State
from support.astercc import call_of, event

ORDERED = {"userdata": "order-7"}


def marks(call: Call) -> set[str]:
    return {END_UNSEEN, ANSWER_UNSEEN} & set(call.flags)


def is_marked(call: Call) -> bool:
    return bool(marks(call))


def hung_up(source: str, second: int, *, first: str = "") -> bytes:
    return event(source, "hangup", second, **ORDERED | ({"hangupfirst": first} if first else {}))


def begun() -> list[bytes]:
    return [event("AGENT", "ringing", 0, **ORDERED), event("AGENT", "answer", 5, **ORDERED)]


def conversation(first: str) -> list[bytes]:
    """All events of a call in which the customer talked."""
    return [
        *begun(),
        event("CALLEE", "ringing", 7, **ORDERED),
        event("CALLEE", "answer", 15, **ORDERED),
        hung_up("CALLEE", 75, first=first),
        hung_up("AGENT", 75, first=first),
        hung_up("CONVERSATION", 75),
    ]


def parts_of(events: list[bytes]) -> list[list[bytes]]:
    """What may be left of them, at least one and not all."""
    return [list(part) for size in range(1, len(events)) for part in combinations(events, size)]


def test_a_conversation_of_which_all_events_came_is_not_marked() -> None:
    for first in ("CALLEE", "AGENT"):
        call = call_of(*conversation(first))
        assert (call.disposition, call.talk_seconds, is_marked(call)) == (Disposition.ANSWERED, 60, False)


def test_no_part_of_a_conversation_that_the_customer_ended_tells_for_certain_that_nobody_talked() -> None:
    """The next number was dialled, or the same once more, of a person who had been talked to."""
    seen = set()
    for part in parts_of(conversation("CALLEE")):
        call = call_of(*part)
        if call.opened and call.state is State.ENDED and call.disposition is not Disposition.ANSWERED:
            assert is_marked(call), part
            seen.add(call.disposition)
    assert seen == {Disposition.NOT_DIALLED, Disposition.NO_ANSWER, Disposition.FAILED, Disposition.UNKNOWN}


def test_of_a_conversation_that_the_agent_ended_only_one_that_rang_looks_like_a_call_without_an_answer() -> None:
    ringing, agent_left = event("CALLEE", "ringing", 7, **ORDERED), hung_up("AGENT", 75, first="AGENT")
    certain = [
        part
        for part in parts_of(conversation("AGENT"))
        if (call := call_of(*part)).opened
        and call.state is State.ENDED
        and call.disposition is not Disposition.ANSWERED
        and not is_marked(call)
    ]
    assert certain
    assert all(ringing in part and agent_left in part for part in certain)
    assert not any(hung_up("CALLEE", 75, first="AGENT") in part for part in certain)


CONSULTED = [
    event("CONSULT", word, second, **ORDERED) for word, second in (("ringing", 30), ("answer", 33), ("join", 40))
]
HELD = [event("CALLEE", "onhold", 30, **ORDERED), event("AGENT", "resume", 50, **ORDERED)]


@pytest.mark.parametrize("meanwhile", [CONSULTED, HELD], ids=["consulted", "held"])
def test_whoever_was_put_on_hold_or_consulted_about_had_answered(meanwhile: list[bytes]) -> None:
    """Also where the agent hung up first, and no hang-up of the customer tells of a conversation."""
    rang = event("CALLEE", "ringing", 7, **ORDERED)
    over = [hung_up("AGENT", 75, first="AGENT"), hung_up("CONVERSATION", 75)]
    for told in meanwhile:
        call = call_of(*begun(), rang, told, *over)
        assert (call.state, call.disposition, marks(call)) == (State.ENDED, Disposition.NO_ANSWER, {ANSWER_UNSEEN})
        assert not is_marked(call_of(*begun(), rang, event("CALLEE", "answer", 15, **ORDERED), told, *over))


def test_a_customer_whose_phone_was_busy_may_be_who_hung_up_first() -> None:
    """The agent's leg was answered, so its hang-up says who did; the customer's own says nothing and tells the rest."""
    busy = [event("CALLEE", "ringing", 7, **ORDERED), hung_up("CALLEE", 8)]
    over = [hung_up("AGENT", 9, first="CALLEE"), hung_up("CONVERSATION", 9, first="CALLEE")]
    assert not is_marked(call_of(*begun(), *busy, *over))
    assert marks(call_of(*begun(), busy[0], *over)) == {END_UNSEEN}


def test_an_incoming_call_is_not_marked_by_a_consultation() -> None:
    caller = {"calltype": "dialin"}
    told = [event("CALLER", "incoming", 0, **caller), event("CONSULT", "ringing", 5, calltype="consult")]
    call = call_of(*told, event("CALLER", "hangup", 9, **caller))
    assert (call.direction, call.state, is_marked(call)) == (Direction.INBOUND, State.ENDED, False)


@pytest.mark.parametrize(
    ("told", "disposition"),
    [
        ([hung_up("AGENT", 30)], Disposition.NOT_DIALLED),
        ([event("AGENT", "ringing", 0, **ORDERED), hung_up("AGENT", 30)], Disposition.NOT_DIALLED),
        (
            [event("AGENT", "ringing", 0, **ORDERED), hung_up("AGENT", 30), hung_up("CONVERSATION", 30)],
            Disposition.NOT_DIALLED,
        ),
        (
            [
                *begun(),
                event("CALLEE", "ringing", 7, **ORDERED),
                hung_up("CALLEE", 40),
                hung_up("AGENT", 40),
                hung_up("CONVERSATION", 40),
            ],
            Disposition.NO_ANSWER,
        ),
        (
            [
                *begun(),
                event("CALLEE", "ringing", 7, **ORDERED),
                hung_up("AGENT", 40, first="AGENT"),
                hung_up("CONVERSATION", 40),
            ],
            Disposition.NO_ANSWER,
        ),
        ([*begun(), hung_up("CALLEE", 8), hung_up("AGENT", 9), hung_up("CONVERSATION", 9)], Disposition.FAILED),
    ],
    ids=["agent's end", "agent did not pick up", "the same, to the end", "no answer", "agent gave up", "never rang"],
)
def test_a_call_that_reached_nobody_is_not_marked(told: list[bytes], disposition: Disposition) -> None:
    call = call_of(*told)
    assert (call.state, call.disposition, is_marked(call)) == (State.ENDED, disposition, False)


def test_the_mark_goes_when_the_event_comes() -> None:
    told = [*begun(), hung_up("CONVERSATION", 75)]
    assert marks(call_of(*told)) == {END_UNSEEN}
    assert not is_marked(call_of(*told, hung_up("CALLEE", 75)))
    told = [*begun(), hung_up("CALLEE", 75, first="CALLEE")]
    assert marks(call_of(*told)) == {ANSWER_UNSEEN}
    assert not is_marked(call_of(*told, event("CALLEE", "answer", 15, **ORDERED)))


def test_a_call_that_came_in_is_not_marked() -> None:
    incoming = {"calltype": "dialin"}
    call = call_of(event("AGENT", "hangup", 30, **incoming), event("CONVERSATION", "hangup", 31, **incoming))
    assert (call.disposition, is_marked(call)) == (Disposition.ABANDONED, False)


def test_a_hang_up_that_does_not_say_which_way_its_call_went_is_read_as_those_of_its_session() -> None:
    """It was marked only if it said `dialout` itself: the next number was dialled of a person who may have talked."""
    rang = [*begun(), event("CALLEE", "ringing", 7, **ORDERED)]
    over = event("CONVERSATION", "hangup", 75, calltype="")
    assert marks(call_of(*rang, over)) == {END_UNSEEN}
    over = event("AGENT", "hangup", 75, calltype="", hangupfirst="CALLEE")
    assert marks(call_of(*rang, over, event("CONVERSATION", "hangup", 75, calltype=""))) == {END_UNSEEN}
    came_in = [event("CALLER", "incoming", 0, calltype="dialin"), event("AGENT", "ringing", 2, calltype="dialin")]
    assert not is_marked(call_of(*came_in, over))
