"""Click2Call: two legs under one identity, of which the second decides."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from cdrhub.model.fold import fold
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.record import INFERENCE
from cdrhub.model.update import CallUpdate
from cdrhub.sources.voicenter.inference import LEG2_WITHIN, leg2_missing
from support.voicenter import after, call_of, cdr, decoded, leg1, leg2, record_of


def test_an_answered_leg_1_leaves_the_call_open() -> None:
    call = call_of(leg1())
    assert (call.state, call.disposition, call.answered_at, call.talk_seconds) == ("answered", None, None, None)
    assert call.callee_number is None
    assert not call.final


def test_an_unanswered_leg_1_means_that_the_customer_was_not_dialled() -> None:
    call = call_of(leg1("NOANSWER", duration=0, dialtime=60))
    assert (call.state, call.disposition, call.talk_seconds) == ("ended", "not_dialled", 0)
    assert call.final


@pytest.mark.parametrize("status", ["WHATEVER", ""])
def test_a_leg_1_that_does_not_say_whether_it_was_answered_leaves_the_call_open(status: str) -> None:
    first = decoded(leg1(status))
    call = fold([first])
    assert (call.state, call.disposition, call.talk_seconds, call.final) == ("ringing", None, None, False)

    inferred = leg2_missing(call, silent_for=LEG2_WITHIN)
    assert inferred is not None
    conclusion = decode_inference(record_of(encode_inference(inferred), content_type=INFERENCE))
    assert isinstance(conclusion, CallUpdate)
    closed = fold([first, conclusion])
    assert (closed.state, closed.disposition) == ("ended", "unknown")
    for order in permutations([first, decoded(leg2("BUSY"))]):
        assert (fold(order).state, fold(order).disposition) == ("ended", "busy")


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kind", ["Click2Call", "ProductiveCall"])
@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        ("ANSWER", "answered"),
        ("NOANSWER", "no_answer"),
        ("BUSY", "busy"),
        ("CANCEL", "cancelled"),
        ("VOICEMAIL", "voicemail"),
        ("CONGESTION", "failed"),
        ("NOTCALLED", "not_dialled"),
        ("WHATEVER", "unknown"),
    ],
)
def test_leg_2_decides_in_either_order(order: int, kind: str, status: str, disposition: str) -> None:
    parts = [part.replace(b"Click2Call", kind.encode()) for part in (leg1(), leg2(status))]
    call = call_of(*(parts if order == 0 else reversed(parts)))
    assert (call.state, call.disposition, call.final) == ("ended", disposition, True)
    assert call.direction == "outbound"
    assert (call.callee_number, call.external_number) == ("0541112222", "+972541112222")
    assert call.started_at == after(4)
    assert call.agent_id == "SIP1"
    assert [leg.role for leg in call.legs] == ["agent", "customer"]
    assert "conflict" not in call.flags
    assert call.attributes["duration"] == 20
    assert call.attributes["leg1.duration"] == 30


def test_attended_leg_2_decides() -> None:
    parts = [cdr("Attended CDR leg1", duration=9, dialtime=1), cdr("Attended CDR leg2", "NOANSWER", dialtime=20)]
    for order in permutations(parts):
        assert call_of(*order).disposition == "no_answer"
    assert call_of(parts[0]).disposition == "answered"


def test_leg_2_that_never_comes() -> None:
    first = decoded(leg1())
    call = fold([first])
    assert leg2_missing(call, silent_for=LEG2_WITHIN - timedelta(seconds=1)) is None
    inferred = leg2_missing(call, silent_for=LEG2_WITHIN)
    assert inferred is not None
    assert encode_inference(inferred) == encode_inference(leg2_missing(call, silent_for=LEG2_WITHIN * 9) or {})

    conclusion = decode_inference(record_of(encode_inference(inferred), content_type=INFERENCE))
    assert isinstance(conclusion, CallUpdate)
    closed = fold([first, conclusion])
    assert (closed.state, closed.disposition, closed.answered_at) == ("ended", "unknown", None)
    assert "end_inferred" in closed.flags
    assert leg2_missing(closed, silent_for=LEG2_WITHIN) is None

    for order in permutations([first, conclusion, decoded(leg2())]):
        late = fold(order)
        assert (late.disposition, late.callee_number, late.ended_at) == ("answered", "0541112222", after(34))


def test_leg_2_that_never_comes_of_a_call_without_times() -> None:
    first = decoded(leg1(time=0))
    inferred = leg2_missing(fold([first]), silent_for=LEG2_WITHIN)
    assert inferred is not None
    conclusion = decode_inference(record_of(encode_inference(inferred), content_type=INFERENCE))
    assert isinstance(conclusion, CallUpdate)
    closed = fold([first, conclusion])
    assert (closed.state, closed.sort_at, [leg.offered_at for leg in closed.legs]) == ("ended", None, [None, None])


def test_there_is_nothing_to_conclude_of_other_calls() -> None:
    assert leg2_missing(call_of(leg1(), leg2()), silent_for=LEG2_WITHIN) is None
    assert leg2_missing(call_of(leg1("BUSY")), silent_for=LEG2_WITHIN) is None
    assert leg2_missing(call_of(cdr()), silent_for=LEG2_WITHIN) is None


# Re-deliveries


@pytest.mark.parametrize("status", ["NOTCALLED", "NOTDIALED"])
def test_a_number_never_dialled_did_not_ring(status: str) -> None:
    leg1 = cdr("Click2Call leg1", duration=20, dialtime=5, target="101", extenUser="SIP1")
    leg2 = cdr("Click2Call leg2", status, duration=0, dialtime=0, time=1595333640, target="0501234567")
    for parts in ((leg1, leg2), (leg2, leg1), (leg2,)):
        call = call_of(*parts)
        assert (call.disposition, call.ringing_at, call.ring_seconds) == ("not_dialled", None, None)
        customer = next(leg for leg in call.legs if leg.role == "customer")
        assert (customer.offered_at, customer.ring_seconds, customer.cause) == (None, None, status)


@pytest.mark.parametrize(("status", "connected"), [("ANSWER", 38), ("NOANSWER", None)])
def test_the_agents_answer_is_not_when_the_customers_call_was_connected(status: str, connected: int | None) -> None:
    leg1 = cdr("Click2Call leg1", duration=60, dialtime=5, target="101", extenUser="SIP1")
    leg2 = cdr("Click2Call leg2", status, duration=20, dialtime=8, time=1595333640, target="0501234567")
    for order in permutations((leg1, leg2)):
        call = call_of(*order)
        assert call.started_at == after(30)
        assert call.connected_at == (None if connected is None else after(connected))
        agent = next(leg for leg in call.legs if leg.role == "agent")
        assert agent.answered_at == after(5)
