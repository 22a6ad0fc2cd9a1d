"""What people order, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from cdrhub.model.dialling import Refusal, Refused, Standing
from cdrhub.redial.given import GivenCase, GivenDoNotCall, GivenNumber
from cdrhub.redial.model import Reported
from cdrhub.redial.order_errors import CaseBusy, NoSuchAttempt, NoSuchCase, NumberUnusable, OrderError
from cdrhub.redial.policy import PRESETS
from cdrhub.store.redial_tables import attempts

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


def given(code: str = "C-1", *numbers: str, **values: Any) -> GivenCase:
    return GivenCase(code=code, source="lagos", numbers=[GivenNumber(number=number) for number in numbers], **values)


async def test_spellings_of_one_number_are_one_number(bench: Any) -> None:
    assert await bench.orders().keep([given("C-1", "08039100001", "+234 803 910 0001", "", SECOND)]) == (1, 0)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]


@pytest.mark.parametrize(
    ("number", "dialled"), [("+44 (0) 20794", "+4420794"), ("(+911)", "+911"), ("\uff0b999 123456", "+999123456")]
)
async def test_a_number_that_no_plan_knows_keeps_its_plus_sign(bench: Any, number: str, dialled: str) -> None:
    await bench.orders().keep([given("C-1", number)])
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [dialled]


async def test_one_without_a_plus_sign_gets_none(bench: Any) -> None:
    await bench.orders().keep([given("C-1", "0044 20794")])
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == ["004420794"]


async def test_a_number_that_is_marked_in_its_case_is_not_dialled_for_it(bench: Any) -> None:
    spellings = [GivenNumber(number="08039100001"), GivenNumber(number=FIRST, do_not_call=True)]
    case = replace(given("C-1"), numbers=[*spellings, GivenNumber(number=SECOND)])
    await bench.orders().keep([case, given("C-2", FIRST, agent="103")])
    for code in ("C-1", "C-2"):
        await bench.orders().dial(tenant="", code=code)
    assert sorted(await bench.claim()) == [FIRST, SECOND]
    await bench.orders().stop(tenant="", code="C-1")
    assert await bench.orders().keep([replace(case, numbers=spellings)]) == (0, 1)
    decision = await bench.orders().dial(tenant="", code="C-1")
    assert (decision.result, decision.detail) == ("exhausted", "do_not_call: marked in the case")


async def test_a_case_that_is_there_is_changed(bench: Any) -> None:
    assert await bench.orders().keep([given("C-1", FIRST)]) == (1, 0)
    assert await bench.orders().keep([given("C-1", SECOND), given("C-2", FIRST)]) == (1, 1)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [SECOND]


async def test_a_bad_number_keeps_none_of_the_cases(bench: Any) -> None:
    with pytest.raises(NumberUnusable):
        await bench.orders().keep([given("C-1", FIRST), given("C-2", "call me")])
    with pytest.raises(NoSuchCase):
        await bench.orders().dial(tenant="", code="C-1")


async def test_a_case_without_numbers_is_exhausted(bench: Any) -> None:
    await bench.orders().keep([given("C-1")])
    decision = await bench.orders().dial(tenant="", code="C-1")
    assert decision.result == "exhausted"


async def test_a_case_is_dialled_once_at_a_time(bench: Any) -> None:
    await bench.orders().keep([given("C-1", FIRST)])
    await bench.orders().dial(tenant="", code="C-1")
    with pytest.raises(CaseBusy):
        await bench.orders().dial(tenant="", code="C-1")


async def test_a_new_order_opens_a_round_in_which_nothing_was_tried(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST)
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "exhausted"
    decision = await bench.orders().dial(tenant="", code="C-1")
    assert (decision.result, (await bench.of_case(case_id))["round"]) == ("next", 2)


async def test_another_tenant_sees_no_case(bench: Any) -> None:
    await bench.orders().keep([given("C-1", FIRST)])
    with pytest.raises(NoSuchCase):
        await bench.orders().dial(tenant="other", code="C-1")


async def test_a_stopped_case_drops_what_is_pending(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.orders().stop(tenant="", code="C-1", why="paid")
    assert await bench.attempts(case_id) == [(FIRST, "cancelled", None)]
    assert await bench.claim() == []
    assert (await bench.told())[-1] == "case.cancelled"


async def test_an_announced_attempt_is_matched_like_ours(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().announce(tenant="", code="C-1", number="08039100001", reference="media-9")
    await bench.call("k1", started_at=115.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_only_a_paused_case_is_resumed(bench: Any) -> None:
    await bench.orders().keep([given("C-1", FIRST)])
    with pytest.raises(OrderError, match="not paused"):
        await bench.orders().resume(tenant="", code="C-1")


async def reached(bench: Any) -> str:
    """A case whose first number was answered; the attempt."""
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id: str = await bench.accepted(case_id)
    await bench.call("k1", disposition="answered")
    await bench.decide()
    return attempt_id


async def test_the_wrong_party_leads_to_the_next_number(bench: Any) -> None:
    attempt_id = await reached(bench)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.WRONG_PARTY)
    assert await bench.claim() == [SECOND]


async def test_what_is_reported_later_does_not_move_the_end_of_the_call(bench: Any) -> None:
    attempt_id = await reached(bench)
    ends = []
    for _ in range(2):
        async with bench.store.database.connect() as connection:
            ends.append(await connection.scalar(select(attempts.c.ended_at).where(attempts.c.id == attempt_id)))
        bench.pass_time(600)
        await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CONTACTED)
    assert ends[0] is not None
    assert ends[0] == ends[1]


@pytest.mark.parametrize("preset", PRESETS)
async def test_a_call_back_is_dialled_at_its_time(bench: Any, preset: str) -> None:
    bench.settings = replace(bench.settings, policy=PRESETS[preset])
    attempt_id = await reached(bench)
    at = bench.clock.now + timedelta(hours=2)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CALLBACK, at=at)
    assert await bench.dialling().due() == 0
    bench.pass_time(7201)
    assert await bench.dialling().due() == 1
    assert await bench.claim() == [FIRST]


async def asked_back(bench: Any) -> str:
    """A case on whose second number the person asked to be called back in two hours; its id."""
    case_id: str = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id, SECOND)
    await bench.call("k1", SECOND, disposition="answered")
    await bench.decide()
    at = bench.clock.now + timedelta(hours=2)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CALLBACK, at=at)
    return case_id


async def test_a_call_back_that_a_rule_holds_is_made_to_its_number(bench: Any) -> None:
    await asked_back(bench)
    bench.pass_time(7_200)
    assert await bench.dialling().due() == 1  # decided, and about to leave
    await bench.orders().pause(scope="all", name="", actor="test")
    assert await bench.claim() == []
    bench.pass_time(30)
    await bench.dialling().due()
    await bench.orders().unpause(scope="all", name="")
    bench.pass_time(30)
    await bench.dialling().due()
    assert await bench.claim() == [SECOND]


async def called_back_late(bench: Any) -> str:
    """Such a case, of which nobody was there to dial in time; its id."""
    case_id = await asked_back(bench)
    bench.pass_time(8_000)
    await bench.dialling(since=bench.clock.now).due()
    assert (await bench.of_case(case_id))["state_reason"] == "late"
    return case_id


async def test_a_call_back_that_came_late_is_made_to_its_number_when_a_person_resumes_it(bench: Any) -> None:
    await called_back_late(bench)
    assert (await bench.orders().resume(tenant="", code="C-1")).rule == "due"
    assert await bench.claim() == [SECOND]


async def test_an_agent_who_fails_too_often_is_asked_for_the_same_number_when_a_person_resumes_it(bench: Any) -> None:
    bench.settings = replace(bench.settings, timing=replace(bench.settings.timing, agent_retries=0))
    case_id = await called_back_late(bench)
    await bench.orders().resume(tenant="", code="C-1")
    dialling = bench.dialling()
    (claimed,) = await dialling.claim(room={"crm": 1})
    await dialling.answered(claimed.order.attempt_id, Refused(refusal=Refusal.AGENT, detail="busy"))
    assert (await bench.of_case(case_id))["state_reason"] == "agent_unavailable"
    await bench.orders().resume(tenant="", code="C-1")
    assert await bench.claim() == [SECOND]


async def test_a_case_that_is_stopped_means_no_number_any_more(bench: Any) -> None:
    case_id = await asked_back(bench)
    assert (await bench.of_case(case_id))["next_key"] == SECOND
    await bench.orders().stop(tenant="", code="C-1")
    assert (await bench.of_case(case_id))["next_key"] == ""


async def test_a_turn_that_came_late_is_begun_anew_when_a_person_resumes_it(bench: Any) -> None:
    """Its first number could not be dialled then, and can be now."""
    waits = {"state": "waiting", "state_reason": "spread", "next_action_at": bench.clock.now, "next_key": SECOND}
    case_id = await bench.case("C-1", FIRST, SECOND, **waits)
    bench.pass_time(8_000)
    await bench.dialling(since=bench.clock.now).due()
    assert (await bench.of_case(case_id))["state_reason"] == "late"
    await bench.orders().resume(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]


async def test_a_case_that_was_paused_goes_on_behind_the_number_that_was_tried(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, THIRD, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    bench.pass_time(121)
    await bench.dialling().standing(await bench.live_attempt(case_id), Standing())
    assert (await bench.of_case(case_id))["next_key"] == FIRST
    await bench.orders().resume(tenant="", code="C-1", not_reached=True)
    assert await bench.claim() == [SECOND]


async def test_a_call_back_at_a_time_that_is_over_is_refused_and_changes_nothing(bench: Any) -> None:
    attempt_id = await reached(bench)
    before = await bench.decisions()
    for at in (None, bench.clock.now, bench.clock.now - timedelta(hours=2)):
        with pytest.raises(OrderError, match="still to come"):
            await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CALLBACK, at=at)
    assert await bench.decisions() == before
    assert await bench.claim() == []


async def test_who_must_not_be_called_is_not_called_again(bench: Any) -> None:
    attempt_id = await reached(bench)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.DO_NOT_CALL)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [SECOND]


async def requested(bench: Any) -> tuple[str, str]:
    """A case whose first number the dialler was asked for; the case, the attempt."""
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    return case_id, await bench.live_attempt(case_id)


@pytest.mark.parametrize("result", [Reported.VOICEMAIL, Reported.WRONG_PARTY])
async def test_a_report_does_not_open_what_was_stopped(bench: Any, result: Reported) -> None:
    case_id, attempt_id = await requested(bench)
    await bench.orders().stop(tenant="", code="C-1", why="paid")
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=result)
    assert (await bench.of_case(case_id))["state"] == "cancelled"
    assert await bench.claim() == []
    assert (await bench.decisions())[-1] == ("nothing", "case_closed")


async def test_a_report_does_not_dial_who_was_reached_elsewhere(bench: Any) -> None:
    case_id, attempt_id = await requested(bench)
    bench.pass_time(30)
    said = {"direction": "inbound", "caller_number": FIRST, "caller_e164": FIRST, "agent_id": "105"}
    await bench.call("in1", disposition="answered", started_at=115.0, ended_at=135.0, received=138, **said)
    await bench.decide()
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.VOICEMAIL)
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert await bench.claim() == []


@pytest.mark.parametrize("result", [Reported.VOICEMAIL, Reported.WRONG_PARTY])
async def test_a_report_before_the_decision_about_a_call_that_reached_them_leaves_the_case_visible(
    bench: Any, result: Reported
) -> None:
    case_id, attempt_id = await requested(bench)
    bench.pass_time(30)
    said = {"direction": "inbound", "caller_number": SECOND, "caller_e164": SECOND, "agent_id": "105"}
    await bench.call("in1", disposition="answered", started_at=115.0, ended_at=135.0, received=138, **said)
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=result)
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "ambiguous")
    assert await bench.claim() == []
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


@pytest.mark.parametrize("result", [Reported.VOICEMAIL, Reported.WRONG_PARTY])
async def test_a_report_does_not_dial_who_called_back_before_it_came(bench: Any, result: Reported) -> None:
    """What was answered closed the case, so that the person's own call found nothing to cancel."""
    attempt_id = await reached(bench)
    bench.pass_time(300)
    said = {"direction": "inbound", "caller_number": SECOND, "caller_e164": SECOND, "agent_id": "105"}
    await bench.call("in1", disposition="answered", started_at=115.0, ended_at=135.0, received=138, **said)
    await bench.decide()
    decision = await bench.orders().report(tenant="", attempt_id=attempt_id, result=result)
    assert (decision.result, decision.rule) == ("nothing", "answered_elsewhere")
    assert await bench.claim() == []


async def test_the_wrong_party_that_calls_back_is_nobody_of_the_case(bench: Any) -> None:
    attempt_id = await reached(bench)
    bench.pass_time(300)
    said = {"direction": "inbound", "caller_number": FIRST, "caller_e164": FIRST, "agent_id": "105"}
    await bench.call("in1", disposition="answered", started_at=115.0, ended_at=135.0, received=138, **said)
    await bench.decide()
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.WRONG_PARTY)
    assert await bench.claim() == [SECOND]


async def test_a_number_that_its_case_has_no_longer_is_forbidden_too(bench: Any) -> None:
    _, attempt_id = await requested(bench)
    await bench.orders().keep([given("C-1", SECOND)])
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.DO_NOT_CALL)
    await bench.orders().keep([given("C-2", FIRST, agent="103")])
    decision = await bench.orders().dial(tenant="", code="C-2")
    assert (decision.result, decision.detail) == ("exhausted", "do_not_call: on the do-not-call list")


async def test_nothing_is_reported_of_what_was_not_dialled(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    attempt_id = await bench.live_attempt(case_id)
    await bench.orders().stop(tenant="", code="C-1")
    with pytest.raises(OrderError, match="was not dialled"):
        await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.VOICEMAIL)


async def test_nobody_is_called_back_on_a_number_that_was_taken_out(bench: Any) -> None:
    _, attempt_id = await requested(bench)
    await bench.orders().keep([given("C-1", SECOND)])
    at = bench.clock.now + timedelta(hours=1)
    with pytest.raises(OrderError, match="the number of that attempt no longer"):
        await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CALLBACK, at=at)


async def test_an_announcement_is_explained_and_opens_nothing_that_was_stopped(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.orders().announce(tenant="", code="C-1", number=FIRST)
    assert await bench.decisions() == [("nothing", "announced")]
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CONTACTED)
    await bench.orders().announce(tenant="", code="C-1", number=FIRST)
    assert (await bench.of_case(case_id))["round"] == 2
    await bench.orders().stop(tenant="", code="C-1")
    with pytest.raises(OrderError, match="was stopped"):
        await bench.orders().announce(tenant="", code="C-1", number=FIRST)


async def test_nobody_reports_of_another_tenants_attempt(bench: Any) -> None:
    case_id, attempt_id = await requested(bench)
    with pytest.raises(NoSuchAttempt):
        await bench.orders().report(tenant="other", attempt_id=attempt_id, result=Reported.CONTACTED)
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]


async def test_a_number_is_permitted_in_its_own_tenant(bench: Any) -> None:
    await bench.orders().forbid([GivenDoNotCall(number=FIRST), GivenDoNotCall(number=FIRST, tenant="other")])
    assert await bench.orders().permit(tenant="other", number="0803 910 0001", region_of="lagos")
    assert not await bench.orders().permit(tenant="other", number=FIRST, region_of="lagos")
    await bench.orders().keep([given("C-1", FIRST)])
    assert (await bench.orders().dial(tenant="", code="C-1")).result == "exhausted"


async def test_a_busy_agent_is_not_announced_for_another_case(bench: Any) -> None:
    await requested(bench)
    await bench.orders().keep([given("C-2", SECOND, agent="102")])
    with pytest.raises(CaseBusy, match="agent '102'"):
        await bench.orders().announce(tenant="", code="C-2", number=SECOND)


async def test_a_case_that_is_being_dialled_is_not_announced_also_where_its_agent_is_not_known(bench: Any) -> None:
    await bench.orders().keep([given("C-1", FIRST, SECOND)])
    await bench.orders().announce(tenant="", code="C-1", number=FIRST)
    with pytest.raises(CaseBusy, match="has a live attempt"):
        await bench.orders().announce(tenant="", code="C-1", number=SECOND)


async def test_a_call_that_waits_for_a_report_is_told_as_soon_as_that_is_there(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=600))
    _, attempt_id = await requested(bench)
    await bench.call("k1", disposition="answered", started_at=111.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    assert await bench.told() == ["redial.requested"]
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.CONTACTED)
    await bench.decide()
    assert await bench.told() == ["redial.requested", "case.contacted", "call.ended"]


async def test_an_agent_of_any_length_has_one_attempt(bench: Any) -> None:
    agent = "ä" * 255
    await bench.orders().keep([given("C-1", FIRST, agent=agent), given("C-2", SECOND, agent=agent)])
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    decision = await bench.orders().dial(tenant="", code="C-2")
    assert (decision.result, decision.rule) == ("scheduled", "agent_busy")


@pytest.mark.parametrize("scope", [("all", ""), ("source", "lagos"), ("agent", "102")])
async def test_a_pause_holds_and_its_end_lets_go(bench: Any, scope: tuple[str, str]) -> None:
    await bench.case("C-1", FIRST, round=0)
    await bench.orders().pause(scope=scope[0], name=scope[1], actor="ops")
    decision = await bench.orders().dial(tenant="", code="C-1")
    assert (decision.result, decision.rule) == ("scheduled", "redial_paused")
    assert await bench.orders().unpause(scope=scope[0], name=scope[1])
    bench.pass_time(31)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]


@pytest.mark.parametrize("reason", ["abandoned", "ambiguous", "attempt_unknown", "contradiction"])
async def test_who_may_have_been_reached_is_dialled_by_no_announcement(bench: Any, reason: str) -> None:
    """Somebody else dials them; that nobody answers that is no decision of a person to go on."""
    case_id = await bench.case("C-1", FIRST, SECOND, state="paused", state_reason=reason)
    await bench.orders().announce(tenant="", code="C-1", number=FIRST)
    assert (await bench.of_case(case_id))["state"] == "dialling"
    await bench.call("k1", started_at=115.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", reason)
    assert await bench.claim() == []
    await bench.orders().resume(tenant="", code="C-1")
    assert await bench.claim() == [SECOND]


async def test_a_case_that_was_paused_for_another_reason_goes_on_with_an_announcement(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, state="paused", state_reason="late")
    await bench.orders().announce(tenant="", code="C-1", number=FIRST)
    await bench.call("k1", started_at=115.0, ended_at=140.0, received=141)
    bench.pass_time(35)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]
