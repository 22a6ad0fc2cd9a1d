"""From a decided attempt to a request and its answer, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cdrhub.model.dialling import Accepted, Refusal, Refused, Standing, Unseen
from cdrhub.model.disposition import Disposition
from cdrhub.redial.orders import GivenVerdict
from cdrhub.redial.policy import Mode
from support import ledger

FIRST, SECOND = "+2348039100001", "+2348039100002"


async def decided(bench: Any, *numbers: str) -> str:
    """A case whose first number was ordered to be dialled."""
    case_id: str = await bench.case("C-1", *numbers, round=0)
    await bench.orders().dial(tenant="", code="C-1", reference="media-7")
    return case_id


async def test_an_attempt_is_claimed_once(bench: Any) -> None:
    case_id = await decided(bench)
    claims = await asyncio.gather(*(bench.claim() for _ in range(4)), return_exceptions=True)
    assert max(claim for claim in claims if isinstance(claim, list)) == [FIRST]
    assert sum(len(claim) for claim in claims if isinstance(claim, list)) == 1
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]


async def test_nothing_is_claimed_without_room_or_in_another_mode(bench: Any) -> None:
    await decided(bench)
    assert await bench.claim(room=0) == []
    bench.settings = replace(bench.settings, mode=Mode.OBSERVE)
    assert await bench.claim() == []


async def test_an_accepted_order_waits_for_its_call(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    assert not await bench.dialling().answered(attempt_id, Accepted(vendor_ref="job-1"))
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    await bench.call("job-1", started_at=111.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_the_record_may_come_before_the_answer(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    await bench.call("k1", started_at=111.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    assert not await bench.dialling().answered(attempt_id, Accepted(vendor_ref="job-1"))
    assert not await bench.dialling().answered(attempt_id, Refused(refusal=Refusal.NUMBER, detail="late"))
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_a_refused_number_leads_to_the_next(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    assert await bench.dialling().answered(attempt_id, Refused(refusal=Refusal.NUMBER, detail="unallocated"))
    assert await bench.attempts(case_id) == [(FIRST, "refused", None), (SECOND, "decided", None)]


async def test_an_agent_who_is_away_is_asked_again_for_the_same_number(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    await bench.dialling().answered(
        await bench.live_attempt(case_id), Refused(refusal=Refusal.AGENT, detail="not signed in")
    )
    assert (await bench.of_case(case_id))["state"] == "waiting"
    assert await bench.dialling().due() == 0
    bench.pass_time(61)
    assert await bench.dialling().due() == 1
    assert await bench.attempts(case_id) == [(FIRST, "refused", None), (FIRST, "decided", None)]


async def test_an_unseen_answer_is_never_repeated(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    await bench.dialling().answered(attempt_id, Unseen(detail="time-out"))
    assert await bench.claim() == []
    bench.pass_time(119)
    assert await bench.dialling().overdue() == []
    bench.pass_time(2)
    assert [one.attempt_id for one in await bench.dialling().overdue()] == [attempt_id]
    await bench.dialling().standing(attempt_id, Standing())
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "attempt_unknown")
    assert await bench.attempts(case_id) == [(FIRST, "unknown", None)]
    assert (await bench.told())[-2:] == ["attempt.unknown", "case.paused"]


async def test_a_call_that_is_seen_going_on_is_not_given_up(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    body = ledger.message("k1", values={"state": "answered", "direction": "outbound", "callee_e164": FIRST})
    await bench.store.write([ledger.item(body, received=112)])
    bench.pass_time(121)
    await bench.dialling().standing(attempt_id, Standing())
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]
    assert await bench.dialling().overdue() == []


async def test_the_vendors_word_ends_an_attempt(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    bench.pass_time(121)
    attempt_id = await bench.live_attempt(case_id)
    assert await bench.dialling().standing(attempt_id, Standing(outcome=Disposition.BUSY))
    assert await bench.attempts(case_id) == [(FIRST, "ended", "busy"), (SECOND, "decided", None)]


async def test_what_changed_since_the_decision_stops_the_request(bench: Any) -> None:
    case_id = await decided(bench, FIRST)
    await bench.orders().forbid([GivenVerdict(number="08039100001", region_of="lagos", source="registry")])
    assert await bench.claim() == []
    assert await bench.attempts(case_id) == [(FIRST, "cancelled", None)]
    assert (await bench.of_case(case_id))["state"] == "exhausted"


@pytest.mark.parametrize("not_reached", [False, True])
async def test_a_paused_case_goes_on_with_the_next_number(bench: Any, not_reached: bool) -> None:
    case_id = await decided(bench)
    await bench.claim()
    bench.pass_time(121)
    await bench.dialling().standing(await bench.live_attempt(case_id), Standing())
    await bench.orders().resume(tenant="", code="C-1", not_reached=not_reached)
    first = ("ended", "no_answer") if not_reached else ("unknown", None)
    assert await bench.attempts(case_id) == [(FIRST, *first), (SECOND, "decided", None)]


async def test_what_a_vendor_says_long_after_the_request_dials_nobody(bench: Any) -> None:
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    bench.pass_time(bench.settings.timing.max_age.total_seconds() + 1)
    assert not await bench.dialling().standing(attempt_id, Standing(outcome=Disposition.NO_ANSWER))
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer")]
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "late")
