"""From a decided attempt to a request and its answer, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdrhub.model.dialling import Accepted, Refusal, Refused, Standing, Unseen
from cdrhub.model.disposition import Disposition
from cdrhub.redial.given import GivenCase, GivenDoNotCall, GivenNumber
from cdrhub.redial.policy import Mode, Policy
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


async def test_a_record_that_only_the_answer_tells_whose_it_is_may_come_before_it(bench: Any) -> None:
    """Of another agent, as far as the phone system's names go."""
    case_id = await decided(bench, FIRST, SECOND)
    (claimed,) = await bench.dialling().claim(room={"crm": 1})
    values = {"started_at": 112.0, "ended_at": 120.0, "agent_id": "SIP/102"}
    await bench.call("job-7", received=121, **values)
    bench.pass_time(12)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]
    await bench.dialling().answered(claimed.order.attempt_id, Accepted(vendor_ref="job-7"))
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]
    assert (await bench.told()).count("call.ended") == 1


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
    await bench.orders().forbid([GivenDoNotCall(number="08039100001", region_of="lagos", source="registry")])
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


@pytest.mark.parametrize(("mode", "reason"), [(Mode.OBSERVE, "observed"), (Mode.OFF, "redial_off")])
async def test_what_was_decided_pauses_where_nothing_is_dialled_any_more(bench: Any, mode: Mode, reason: str) -> None:
    case_id = await decided(bench)
    bench.settings = replace(bench.settings, mode=mode)
    assert await bench.claim() == []
    assert await bench.dialling().due() == 1
    assert await bench.dialling().oldest_due() is None
    assert await bench.attempts(case_id) == [(FIRST, "cancelled", None)]
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", reason)
    assert (await bench.told())[-1] == "case.paused"


async def waiting(bench: Any) -> str:
    """A case whose first number is due in a minute, for its agent was away."""
    case_id = await decided(bench)
    await bench.claim()
    away = Refused(refusal=Refusal.AGENT, detail="not signed in")
    await bench.dialling().answered(await bench.live_attempt(case_id), away)
    return case_id


@pytest.mark.parametrize(("seconds", "state"), [(60 + 300, "dialling"), (60 + 301, "paused")])
async def test_what_was_due_long_before_the_hub_began_rings_nobody(bench: Any, seconds: int, state: str) -> None:
    case_id = await waiting(bench)
    bench.pass_time(seconds)
    assert await bench.dialling(since=bench.clock.now).due() == 1
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == (state, "late" if state == "paused" else "")


async def test_what_waits_for_its_turn_in_a_hub_that_works_is_not_late(bench: Any) -> None:
    case_id = await waiting(bench)
    began = bench.clock.now
    bench.pass_time(86_400)
    assert await bench.dialling(since=began).due() == 1
    assert (await bench.of_case(case_id))["state"] == "dialling"


async def test_what_waits_is_looked_at_once_under_new_settings(bench: Any) -> None:
    """As of a hub that was started, or whose configuration was reloaded: a hundred cases at a time."""
    until = bench.clock.now + timedelta(days=7)
    waits = {"state": "waiting", "next_action_at": until}
    for place in range(101):
        number = f"+23480391{place:05d}"
        await bench.case(f"C-{place}", number, agent=f"a{place}", state_reason="cool_down", next_key=number, **waits)
    wanted = await bench.case("C-101", "+2348039200000", agent="b", state_reason="callback", **waits)
    hub = bench.dialling(since=bench.clock.now)
    assert [await hub.look_anew() for _ in range(3)] == [100, 1, 0]
    assert await bench.decisions() == [("next", "due")] * 101
    assert (await bench.of_case(wanted))["next_action_at"] == until


async def test_what_waits_by_the_same_rule_waits_on_in_silence_until_its_moment_of_now(bench: Any) -> None:
    bench.settings = replace(bench.settings, policy=Policy(cool_down={Disposition.BUSY: timedelta(days=7)}))
    case_id = await bench.case("C-1", FIRST)
    await bench.accepted(case_id)
    await bench.call("k1", disposition="busy")
    await bench.decide()
    await bench.orders().dial(tenant="", code="C-1")
    told = await bench.told()
    for days in (7, 1, 9):
        bench.settings = replace(bench.settings, policy=Policy(cool_down={Disposition.BUSY: timedelta(days=days)}))
        assert await bench.dialling().look_anew() == 1
        assert (await bench.of_case(case_id))["next_action_at"] == ledger.at(95) + timedelta(days=days)
    assert await bench.told() == told
    bench.settings = replace(bench.settings, mode=Mode.OFF, policy=Policy())
    assert await bench.dialling().look_anew() == 0
    bench.settings = replace(bench.settings, mode=Mode.ON)
    assert await bench.dialling().look_anew() == 1
    assert await bench.claim() == [FIRST]


async def test_a_case_does_not_wait_for_ever_for_a_source_that_is_there_no_more(bench: Any) -> None:
    bench.systems.blind = {"lagos"}
    case_id = await bench.case("C-1", FIRST, round=0)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "source_unhealthy"
    bench.systems.dialler_name = ""
    bench.pass_time(30)
    await bench.dialling().due()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "no_dialler")


async def test_a_hub_that_could_not_look_for_long_dials_as_if_it_had_just_begun(bench: Any) -> None:
    case_id = await waiting(bench)
    hub = bench.dialling(since=bench.clock.now)
    assert await hub.due() == 0
    bench.pass_time(86_400)
    assert await hub.due() == 1
    assert (await bench.of_case(case_id))["state_reason"] == "late"


async def test_no_dialler_waits_behind_another(bench: Any) -> None:
    many = 120
    for place in range(many):
        number, agent = f"+23480391{place:05d}", f"a{place}"
        case_id = await bench.case(f"A-{place}", number, agent=agent)
        await bench.accepted(case_id, number, agent=agent, state="decided", requested_at=None, dialler="slow")
    case_id = await bench.case("B-1", SECOND, agent="b")
    await bench.accepted(case_id, SECOND, agent="b", state="decided", requested_at=None, dialler="fast")
    claimed = await bench.dialling().claim(room={"slow": 1, "fast": 5, "idle": 5, "full": 0})
    assert sorted(one.dialler for one in claimed) == ["fast", "slow"]


async def test_two_hubs_together_keep_to_what_a_dialler_may_have_live(bench: Any) -> None:
    """Both looked how many are live before either claimed."""
    for place in range(6):
        number, agent = f"+23480391{place:05d}", f"a{place}"
        case_id = await bench.case(f"A-{place}", number, agent=agent)
        await bench.accepted(case_id, number, agent=agent, state="decided", requested_at=None)
    hubs = [bench.dialling(since=bench.clock.now) for _ in range(2)]
    claims = [hub.claim(room={"crm": 2}, max_live={"crm": 3}) for hub in hubs]
    first, second = await asyncio.gather(*claims)
    assert sorted([len(first), len(second)]) == [1, 2]
    assert not await hubs[0].claim(room={"crm": 2}, max_live={"crm": 3})


@pytest.mark.parametrize("standing", [Standing(), Standing(outcome=Disposition.BUSY), Standing(live=True)])
async def test_the_vendors_word_after_the_record_decides_nothing(bench: Any, standing: Standing) -> None:
    """The vendor is asked at the deadline, and the record comes before it answers."""
    case_id = await decided(bench, FIRST, SECOND)
    await bench.claim()
    first = await bench.live_attempt(case_id)
    await bench.call("k1", started_at=111.0, ended_at=140.0, received=141)
    bench.pass_time(121)
    assert [one.attempt_id for one in await bench.dialling().overdue()] == [first]
    await bench.decide()
    told, decisions = await bench.told(), await bench.decisions()
    assert not await bench.dialling().standing(first, standing)
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]
    assert (await bench.of_case(case_id))["state"] == "dialling"
    assert (await bench.told(), await bench.decisions()) == (told, decisions)


async def test_a_superseded_call_is_dropped_soon_or_not_at_all(bench: Any) -> None:
    """A minute after it was asked for somebody may be talking, whenever it is superseded."""
    bench.settings = replace(bench.settings, hangup_superseded=True)
    case_id = await decided(bench)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    await bench.dialling().answered(attempt_id, Accepted())
    bench.pass_time(30)
    await bench.orders().stop(tenant="", code="C-1")
    bench.pass_time(30)
    assert await bench.dialling().unwanted(under_way=()) == ()
    bench.pass_time(-1)
    assert [one.attempt_id for one in await bench.dialling().unwanted(under_way=())] == [attempt_id]


async def test_a_record_after_the_vendors_word_decides_nothing(bench: Any) -> None:
    """The second number waits for its agent: what was decided about the first does not make it ring."""
    case_id = await decided(bench, FIRST, SECOND)
    await bench.claim()
    first = await bench.live_attempt(case_id)
    bench.pass_time(121)
    await bench.dialling().standing(first, Standing(outcome=Disposition.NO_ANSWER))
    assert await bench.claim() == [SECOND]
    away = Refused(refusal=Refusal.AGENT, detail="not signed in")
    await bench.dialling().answered(await bench.live_attempt(case_id), away)
    await bench.call("k1", started_at=112.0, ended_at=230.0, received=231, contact_ref=first)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "refused", None)]
    assert (await bench.of_case(case_id))["state"] == "waiting"
    assert (await bench.decisions())[-1] == ("nothing", "decided_before")
    assert (await bench.told())[-1] == "call.hangup"


async def test_a_record_after_the_vendors_word_waits_for_no_report(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=600))
    case_id = await decided(bench, FIRST)
    await bench.claim()
    attempt_id = await bench.live_attempt(case_id)
    bench.pass_time(121)
    await bench.dialling().standing(attempt_id, Standing(outcome=Disposition.NO_ANSWER))
    await bench.call("k1", started_at=112.0, ended_at=230.0, received=231, contact_ref=attempt_id)
    await bench.decide()
    assert (await bench.told())[-1] == "call.ended"


async def test_a_retry_is_not_ended_by_another_record_of_the_call_before_it(bench: Any) -> None:
    timing = replace(bench.settings.timing, agent_retry=timedelta(seconds=10))
    bench.settings = replace(bench.settings, timing=timing)
    case_id = await decided(bench)
    await bench.claim()
    bench.pass_time(2)
    await bench.call("k1", disposition="not_dialled", started_at=110.0, ended_at=111.0, received=112)
    await bench.decide()
    bench.pass_time(11)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]
    await bench.call("the trunk's", started_at=110.5, ended_at=112.0, received=124)
    await bench.decide()
    assert (await bench.attempts(case_id))[:2] == [(FIRST, "ended", "not_dialled"), (FIRST, "requested", None)]


async def test_retries_are_counted_over_what_was_cancelled_between_them(bench: Any) -> None:
    case_id = await waiting(bench)
    for turn in range(bench.settings.timing.agent_retries):
        bench.pass_time(61)
        await bench.dialling().due()
        if turn == 1:  # the source goes blind between the decision and its request
            bench.systems.blind = {"lagos"}
            assert await bench.claim() == []
            bench.systems.blind = ()
            bench.pass_time(31)
            await bench.dialling().due()
        assert await bench.claim() == [FIRST]
        away = Refused(refusal=Refusal.AGENT, detail="not signed in")
        await bench.dialling().answered(await bench.live_attempt(case_id), away)
    assert (await bench.of_case(case_id))["state_reason"] == "agent_unavailable"


async def in_a_call(bench: Any, agent: str) -> None:
    """The agent talks with somebody else."""
    said = {"direction": "inbound", "state": "answered", "started_at": 100.0, "agent_id": agent, "caller_number": "601"}
    await bench.store.write([ledger.item(ledger.message(f"of {agent}", values=said), received=110)])


@pytest.mark.parametrize(("busy", "requested"), [("102", []), ("103", [FIRST])])
async def test_the_rules_are_asked_about_the_agent_that_is_rung(bench: Any, busy: str, requested: list[str]) -> None:
    """The agent of the attempt, who stays so when the case gets another one."""
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    change = GivenCase(code="C-1", source="lagos", numbers=[GivenNumber(number=FIRST)], agent="103")
    await bench.orders().keep([change])
    await in_a_call(bench, busy)
    claimed = await bench.dialling().claim(room={"crm": 1})
    assert [one.order.number for one in claimed] == requested
    assert [one.order.agent for one in claimed] == ["102"] * len(requested)
    if not claimed:  # what follows is for the agent that the case has now
        assert [one.order.agent for one in await bench.dialling().claim(room={"crm": 1})] == ["103"]
        assert await bench.attempts(case_id) == [(FIRST, "cancelled", None), (FIRST, "requested", None)]
