"""Nobody is rung who is in a call, was in one a moment ago, or may be ringing already, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdrhub.model.dialling import Accepted, Refusal, Refused, Standing
from cdrhub.redial.in_call import UNDECIDED
from support import ledger

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


async def requested(bench: Any, code: str = "C-1", *numbers: str, **values: Any) -> tuple[str, str]:
    """A case whose first number was requested, and its attempt."""
    case_id = await bench.case(code, *numbers, round=0, **values)
    await bench.orders().dial(tenant="", code=code)
    assert len(await bench.claim()) == 1
    attempt_id = await bench.live_attempt(case_id)
    await bench.dialling().answered(attempt_id, Accepted())
    return case_id, attempt_id


async def inbound(bench: Any, key: str, number: str = FIRST, *, final: bool = False, **values: Any) -> None:
    """The record of a call that the person made to another agent."""
    said = {"direction": "inbound", "started_at": 100.0, "caller_number": number, "agent_id": "900"}
    if number.startswith("+"):
        said |= {"caller_e164": number, "external_number": number}
    body = ledger.message(key, key + repr(values), values=said | values, final=final)
    seconds = (bench.clock.now - ledger.START).total_seconds()
    await bench.store.write([ledger.item(body, received=seconds)])


async def test_a_call_that_ended_holds_its_number_until_it_is_decided(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await inbound(bench, "in", state="ended", disposition="answered", ended_at=109.0)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"
    bench.pass_time(15)
    await bench.decide()
    await bench.dialling().due()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert await bench.attempts(case_id) == []


async def test_a_call_that_ended_stops_a_request_that_is_about_to_leave(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.orders().dial(tenant="", code="C-1")
    await inbound(bench, "in", SECOND, state="ended", disposition="answered", ended_at=109.0)
    assert await bench.claim() == []
    assert (await bench.of_case(case_id))["state_reason"] == "number_in_call"


async def test_what_is_told_later_of_a_decided_call_holds_nobody_unless_it_reached_them(bench: Any) -> None:
    await requested(bench)
    await bench.call("k1", started_at=110.0, ended_at=111.0, received=111)
    bench.pass_time(5)
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", values={"queue": "sales"}), received=115)])
    assert await bench.claim() == [SECOND]


async def test_a_call_that_reached_them_holds_nobody_once_it_is_decided(bench: Any) -> None:
    await requested(bench)
    await bench.call("k1", disposition="answered", started_at=110.0, ended_at=111.0, received=111)
    bench.pass_time(5)
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", values={"queue": "sales"}), received=115)])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "first_untried"


async def test_a_call_that_turns_out_to_have_reached_them_holds_them(bench: Any) -> None:
    await requested(bench)
    await bench.call("k1", started_at=110.0, ended_at=111.0, received=111)
    bench.pass_time(5)
    await bench.decide()
    better = ledger.message("k1", "more", values={"disposition": "answered"})
    await bench.store.write([ledger.item(better, received=115)])
    assert await bench.claim() == []


@pytest.mark.parametrize("direction", ["unknown", "internal"])
async def test_a_call_without_a_direction_that_ended_holds_its_numbers_until_it_is_decided(
    bench: Any, direction: str
) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    said = {"direction": direction, "state": "ended", "disposition": "answered", "started_at": 90.0, "ended_at": 109.0}
    who = {"caller_number": FIRST, "caller_e164": FIRST, "agent_id": "900"}
    await bench.store.write([ledger.item(ledger.message("in", values=said | who), received=110)])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"
    bench.pass_time(15)
    await bench.decide()
    await bench.dialling().due()
    assert (await bench.of_case(case_id))["state"] == "contacted"


@pytest.mark.parametrize("state", ["ringing", "ended"])
async def test_a_number_without_an_e164_form_is_in_a_call_as_well(bench: Any, state: str) -> None:
    await bench.case("C-1", "12345", round=0)
    over: dict[str, Any] = {"disposition": "answered", "ended_at": 109.0} if state == "ended" else {}
    await inbound(bench, "in", "12 345", state=state, **over)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"


async def test_a_number_that_is_only_known_as_it_was_dialled_is_in_a_call_as_well(bench: Any) -> None:
    await bench.case("C-1", "12345", round=0)
    said = {"direction": "outbound", "state": "ringing", "started_at": 100.0, "dialed_number": "12 345"}
    await bench.store.write([ledger.item(ledger.message("out", values=said), received=101)])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"


async def test_a_phone_system_whose_clock_is_ahead_holds_nobody_for_longer(bench: Any) -> None:
    """How long an undecided call holds a number counts from when the hub heard of it."""
    await bench.case("C-1", FIRST, round=0)
    ahead = UNDECIDED.total_seconds() + 100.0
    await inbound(bench, "in", state="ended", disposition="answered", started_at=ahead, ended_at=ahead + 9)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"
    bench.pass_time(UNDECIDED.total_seconds() + 1)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]


async def test_an_old_call_that_is_read_today_holds_nobody(bench: Any) -> None:
    await bench.case("C-1", FIRST, round=0)
    long_ago = 100.0 - UNDECIDED.total_seconds()
    await inbound(bench, "in", state="ended", disposition="answered", started_at=long_ago, ended_at=long_ago + 9)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "first_untried"


@pytest.mark.parametrize("final", [True, False])
async def test_a_call_that_ended_is_as_good_as_seen_at_a_deadline(bench: Any, final: bool) -> None:
    case_id, attempt_id = await requested(bench)
    bench.pass_time(121)
    values = {"state": "ended", "direction": "outbound", "disposition": "no_answer", "agent_id": "102"}
    times = {"started_at": 112.0, "ended_at": 230.0}
    number = {"callee_number": FIRST, "callee_e164": FIRST, "external_number": FIRST}
    body = ledger.message("k1", values=values | times | number, final=final)
    await bench.store.write([ledger.item(body, received=230.5)])
    assert not await bench.dialling().standing(attempt_id, Standing())
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    bench.pass_time(5)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_a_stopped_case_that_is_dialled_again_waits_for_the_call_that_was_asked_for(bench: Any) -> None:
    case_id, attempt_id = await requested(bench)
    bench.pass_time(2)
    await bench.orders().stop(tenant="", code="C-1")
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_requested"
    await bench.call("k1", started_at=112.0, ended_at=125.0, received=125, contact_ref=attempt_id)
    bench.pass_time(16)
    await bench.decide()
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]
    assert (await bench.attempts(case_id))[0] == (FIRST, "superseded", "no_answer")


async def test_a_call_that_nobody_saw_holds_until_its_deadline(bench: Any) -> None:
    await requested(bench)
    await bench.orders().stop(tenant="", code="C-1")
    await bench.orders().dial(tenant="", code="C-1")
    bench.pass_time(119)
    await bench.dialling().due()
    assert await bench.claim() == []
    bench.pass_time(16)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]


async def test_being_dropped_shortens_no_hold(bench: Any) -> None:
    bench.settings = replace(bench.settings, hangup_superseded=True)
    _, attempt_id = await requested(bench)
    await bench.orders().stop(tenant="", code="C-1")
    assert [one.attempt_id for one in await bench.dialling().unwanted(under_way=())] == [attempt_id]
    assert await bench.dialling().unwanted(under_way=()) == ()
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_requested"


async def test_what_was_refused_holds_nobody(bench: Any) -> None:
    await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    (claimed,) = await bench.dialling().claim(room={"crm": 1})
    await bench.dialling().answered(claimed.order.attempt_id, Refused(refusal=Refusal.NUMBER, detail="unallocated"))
    assert await bench.claim() == [SECOND]


async def test_a_request_for_another_case_holds_all_numbers_of_the_person(bench: Any) -> None:
    """Also where `shared_hold_seconds` is 0; another tenant's is another person."""
    bench.settings = replace(bench.settings, shared_hold=timedelta(0))
    await requested(bench, "C-1", FIRST)
    await bench.case("C-2", SECOND, FIRST, agent="103", round=0)
    await bench.case("C-3", FIRST, agent="104", tenant="other", round=0)
    assert (await bench.orders().dial(tenant="", code="C-2")).rule == "number_requested"
    assert (await bench.orders().dial(tenant="other", code="C-3")).rule == "first_untried"


async def test_a_request_holds_its_number_until_its_deadline_however_far_that_is(bench: Any) -> None:
    bench.settings = replace(bench.settings, shared_hold=timedelta(0), first_sign=timedelta(days=2))
    await requested(bench, "C-1", FIRST)
    await bench.case("C-2", FIRST, agent="103", round=0)
    bench.pass_time(25 * 3600)
    assert (await bench.orders().dial(tenant="", code="C-2")).rule == "number_requested"


async def test_one_claim_requests_one_person_once(bench: Any) -> None:
    bench.settings = replace(bench.settings, shared_hold=timedelta(0))
    for code, agent in (("C-1", "102"), ("C-2", "103")):
        await bench.case(code, FIRST, agent=agent, round=0)
        await bench.orders().dial(tenant="", code=code)
    assert await bench.claim() == [FIRST]


async def test_an_agent_whose_superseded_call_may_ring_is_busy(bench: Any) -> None:
    case_id, attempt_id = await requested(bench)
    await inbound(bench, "in", final=True, state="ended", disposition="answered", ended_at=109.0)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "superseded", None)]
    await bench.case("C-2", THIRD, round=0)
    assert (await bench.orders().dial(tenant="", code="C-2")).rule == "agent_busy"
    await bench.call("k1", started_at=110.0, ended_at=124.0, received=124, contact_ref=attempt_id)
    bench.pass_time(16)
    await bench.decide()
    await bench.dialling().due()
    assert await bench.claim() == [THIRD]


async def test_an_order_that_was_refused_after_its_case_was_stopped_holds_nobody(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    (claimed,) = await bench.dialling().claim(room={"crm": 1})
    await bench.orders().stop(tenant="", code="C-1")
    refused = Refused(refusal=Refusal.AGENT, detail="away")
    assert not await bench.dialling().answered(claimed.order.attempt_id, refused)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "first_untried"
    assert (await bench.attempts(case_id))[0] == (FIRST, "refused", None)


async def made_anew(bench: Any) -> tuple[str, str]:
    """A case whose first number was requested, then stopped, deleted and made anew under another code; the old attempt,
    the new case."""
    _, attempt_id = await requested(bench)
    await bench.orders().stop(tenant="", code="C-1")
    await bench.orders().forget(tenant="", code="C-1")
    case_id = await bench.case("C-2", FIRST, SECOND, round=0, created_at=bench.clock.now)
    assert (await bench.orders().dial(tenant="", code="C-2")).rule == "number_requested"
    return attempt_id, case_id


@pytest.mark.parametrize("by_reference", [True, False])
async def test_the_call_of_a_case_that_was_deleted_holds_nobody_once_it_ended(bench: Any, by_reference: bool) -> None:
    attempt_id, case_id = await made_anew(bench)
    await bench.call(attempt_id if by_reference else "k1", started_at=112.0, ended_at=120.0, received=121)
    bench.pass_time(16)
    await bench.decide()
    await bench.dialling().due()
    assert await bench.claim() == [SECOND]  # the first one rang for another case a moment ago
    assert await bench.attempts(case_id) == [(SECOND, "requested", None)]


async def test_the_call_of_a_case_that_was_deleted_may_reach_the_person_of_the_new_one(bench: Any) -> None:
    attempt_id, case_id = await made_anew(bench)
    await bench.call(attempt_id, disposition="answered", started_at=112.0, ended_at=120.0, received=121)
    bench.pass_time(16)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_what_the_dialler_says_of_a_case_that_was_deleted_holds_nobody(bench: Any) -> None:
    attempt_id, _ = await made_anew(bench)
    refused = Refused(refusal=Refusal.NETWORK, detail="no line")
    await bench.dialling().answered(attempt_id, refused)
    bench.pass_time(16)
    await bench.dialling().due()
    assert await bench.claim() == [SECOND]  # for which it waited


async def test_a_number_of_cases_that_are_deleted_and_made_anew_is_rung_five_times_a_day(bench: Any) -> None:
    bench.settings = replace(bench.settings, shared_hold=timedelta(0))
    for time in range(5):
        _, attempt_id = await requested(bench, f"C-{time}", FIRST)
        seconds = (bench.clock.now - ledger.START).total_seconds()
        rang = {"started_at": seconds, "ended_at": seconds + 9, "received": seconds + 9}
        bench.pass_time(10)
        await bench.call(f"k{time}", disposition="busy", contact_ref=attempt_id, **rang)
        await bench.decide()
        await bench.orders().forget(tenant="", code=f"C-{time}")
    await bench.case("C-5", FIRST, round=0)
    decision = await bench.orders().dial(tenant="", code="C-5")
    assert (decision.rule, decision.due_at) == ("hard_stop", ledger.at(110) + timedelta(hours=24))


@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("direction", ["unknown", "internal"])
async def test_who_is_in_a_call_of_whatever_direction_is_in_a_call(bench: Any, side: str, direction: str) -> None:
    """A system may have a word for a call that nobody knows, and say of the call no more than its two numbers."""
    case_id = await bench.case("C-1", FIRST, round=0)
    said = {"direction": direction, "started_at": 100.0, f"{side}_number": FIRST, f"{side}_e164": FIRST}
    await bench.store.write([ledger.item(ledger.message("x", values=said | {"state": "answered"}), received=110)])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"
    over = said | {"state": "ended", "disposition": "answered", "ended_at": 115.0}
    await bench.store.write([ledger.item(ledger.message("x", "end", values=over, final=True), received=115)])
    bench.pass_time(6)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_an_answered_call_whose_number_is_told_later_has_reached_them(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    said = {"direction": "inbound", "state": "ended", "disposition": "answered", "started_at": 100.0, "ended_at": 109.0}
    await bench.store.write([ledger.item(ledger.message("in", values=said, final=True), received=110)])
    await bench.decide()
    await inbound(bench, "in", final=True)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_who_is_ordered_anew_is_not_reached_once_more_by_the_same_call(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await inbound(bench, "in", final=True, state="ended", disposition="answered", ended_at=109.0)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    await bench.orders().dial(tenant="", code="C-1")
    more = ledger.message("in", "more", values={"callee_number": "900"}, final=True)
    await bench.store.write([ledger.item(more, received=110)])
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "dialling"
