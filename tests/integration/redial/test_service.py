"""Redial at work: its loops, its diallers and its stop, on each database."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from cdrhub.model.dialling import Accepted, Refusal, Refused, Standing, Unseen
from cdrhub.model.disposition import Disposition
from cdrhub.redial.decision import Timing
from cdrhub.redial.given import GivenDoNotCall
from cdrhub.redial.policy import Mode
from cdrhub.store.redial_tables import attempts
from cdrhub.store.tables import calls
from support import ledger
from support.intake import until
from support.phone_systems import Systems
from support.redial import FIRST, SECOND, THIRD
from support.redial_at_work import Switch, become, handle, ordered, working


async def test_a_case_is_worked_through_to_its_last_number(bench: Any) -> None:
    switch = Switch()
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await become(bench, case_id, (FIRST, "accepted", None))
        assert switch.dialled[0].reference == "media-7"
        await bench.call(switch.dialled[0].attempt_id, FIRST, received=111, ended_at=110.0)
        at_work.redial.wake()
        await become(bench, case_id, (FIRST, "ended", "no_answer"), (SECOND, "accepted", None))
        await bench.call(switch.dialled[1].attempt_id, SECOND, received=111, ended_at=110.0)
        at_work.redial.wake()
        await become(bench, case_id, (FIRST, "ended", "no_answer"), (SECOND, "ended", "no_answer"))
        await until(lambda: at_work.total("cdrhub_settled_calls_total") == 2, "both calls are decided")
        assert at_work.total("cdrhub_redial_requests_total", dialler="crm", answer="accepted") == 2
        assert at_work.total("cdrhub_redial_decisions_total", result="exhausted") == 1
    assert (await bench.of_case(case_id))["state"] == "exhausted"
    assert switch.closed


async def test_a_dialler_that_hangs_delays_no_other(bench: Any) -> None:
    slow, quick = Switch(hangs=asyncio.Event()), Switch()
    systems = Systems()
    systems.diallers["abuja"] = "quick"
    async with working(bench, {"crm": handle(slow), "quick": handle(quick)}, systems=systems) as at_work:
        first = await ordered(bench, at_work, "C-1", FIRST)
        await until(lambda: slow.dialled, "the slow dialler is asked")
        second = await ordered(bench, at_work, "C-2", SECOND, source="abuja")
        await become(bench, second, (SECOND, "accepted", None))
        assert await bench.attempts(first) == [(FIRST, "requested", None)]
        assert slow.hangs is not None
        slow.hangs.set()
        await become(bench, first, (FIRST, "accepted", None))


async def test_what_is_requested_at_a_stop_gets_its_answer(bench: Any) -> None:
    switch = Switch(hangs=asyncio.Event())
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work)
        await until(lambda: switch.dialled, "the dialler is asked")
        stopping = asyncio.create_task(at_work.redial.stop(seconds=20))
        await asyncio.sleep(0.3)  # the loops have ended
        assert switch.hangs is not None
        switch.hangs.set()
        await stopping
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]


async def test_what_has_no_answer_by_then_stays_requested_and_is_never_repeated(bench: Any) -> None:
    switch = Switch(hangs=asyncio.Event())
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work)
        await until(lambda: switch.dialled, "the dialler is asked")
        await at_work.redial.stop(seconds=0.05)
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]
    again = Switch()
    async with working(bench, {"crm": handle(again)}) as at_work:
        bench.pass_time(121)  # beyond the first sign: the vendor is asked, and knows nothing
        await become(bench, case_id, (FIRST, "unknown", None))
    assert again.dialled == []
    assert len(again.asked) == 1
    assert (await bench.of_case(case_id))["state_reason"] == "attempt_unknown"


async def test_an_unseen_answer_is_repeated_only_where_repetitions_are_known(bench: Any) -> None:
    once, twice = Switch(answer=Unseen(detail="reset")), Switch(answer=Unseen(detail="reset"), idempotent=True)
    systems = Systems()
    systems.diallers["abuja"] = "twice"
    async with working(bench, {"crm": handle(once), "twice": handle(twice)}, systems=systems) as at_work:
        first = await ordered(bench, at_work, "C-1", FIRST)
        second = await ordered(bench, at_work, "C-2", SECOND, source="abuja")
        await until(lambda: len(twice.dialled) > 1, "the request is repeated")
        twice.answer = Accepted()
        await become(bench, second, (SECOND, "accepted", None))
    assert len(once.dialled) == 1
    assert {order.attempt_id for order in twice.dialled} == {twice.dialled[0].attempt_id}
    assert await bench.attempts(first) == [(FIRST, "requested", None)]


async def test_a_repeated_request_that_is_refused_says_nothing_of_the_first(bench: Any) -> None:
    switch = Switch(answer=Unseen(detail="reset"), idempotent=True)
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await until(lambda: switch.dialled, "the dialler is asked")
        switch.answer = Refused(refusal=Refusal.NETWORK, detail="it is away")
        unseen = partial(at_work.total, "cdrhub_redial_requests_total", dialler="crm", answer="unseen")
        await until(lambda: unseen() == 1, "the request has its answer")
    assert {order.attempt_id for order in switch.dialled} == {switch.dialled[0].attempt_id}
    assert await bench.attempts(case_id) == [(FIRST, "requested", None)]


async def test_what_is_repeated_is_a_request_as_well(bench: Any) -> None:
    switch = Switch(answer=Unseen(detail="reset"), idempotent=True)
    async with working(bench, {"crm": (way := handle(switch, max_per_second=0.001))}) as at_work:
        await ordered(bench, at_work, "C-1", FIRST)
        await until(lambda: len(switch.dialled) == 2, "the request is repeated")
    assert round(way.pace.allowance) == 1 - len(switch.dialled)


@pytest.mark.parametrize("meanwhile", ["stopped", "reached", "do not call", "paused", "off", "behind", "slept"])
async def test_an_unseen_answer_is_not_repeated_once_nobody_may_be_rung(bench: Any, meanwhile: str) -> None:
    switch, waiting = Switch(answer=Unseen(detail="reset"), idempotent=True), list[datetime]()

    def oldest() -> datetime | None:
        return min(waiting, default=None)

    async with working(bench, {"crm": (way := handle(switch))}, oldest=oldest) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await until(lambda: switch.dialled, "the dialler is asked")
        match meanwhile:
            case "stopped":
                await at_work.redial.orders().stop(tenant="", code="C-1")
            case "reached":
                await bench.call("they call back", SECOND, disposition="answered", direction="inbound", agent_id="300",
                                 caller_number=SECOND, caller_e164=SECOND, ended_at=112.0, received=112)  # fmt: skip
                await bench.engine().decide()
            case "do not call":
                await at_work.redial.orders().forbid([GivenDoNotCall(number=FIRST, region_of="lagos")])
            case "paused":
                await at_work.redial.orders().pause(scope="all", name="", actor="a person")
            case "off":
                at_work.redial.take_over(replace(bench.settings, mode=Mode.OFF), {"crm": way})
            case "behind":
                waiting.append(bench.clock.now - timedelta(seconds=6))
            case "slept":
                bench.settings = replace(bench.settings, timing=Timing(max_age=timedelta(seconds=50)))
                at_work.redial.take_over(bench.settings, {"crm": way})
                bench.pass_time(51)  # and its first sign is still waited for
        unseen = partial(at_work.total, "cdrhub_redial_requests_total", dialler="crm", answer="unseen")
        await until(lambda: unseen() == 1, "the request has its answer")
        assert len(switch.dialled) == 1
        state = "superseded" if meanwhile in ("stopped", "reached") else "requested"
        assert await bench.attempts(case_id) == [(FIRST, state, None)]


async def test_what_waits_is_looked_at_anew_at_the_start_and_after_a_reload(bench: Any) -> None:
    until = {"state": "waiting", "next_action_at": bench.clock.now + timedelta(days=7), "state_reason": "cool_down"}
    first = await bench.case("C-1", FIRST, agent="101", next_key=FIRST, **until)
    switch = Switch()
    async with working(bench, {"crm": (way := handle(switch))}) as at_work:
        await become(bench, first, (FIRST, "accepted", None))
        second = await bench.case("C-2", SECOND, agent="103", next_key=SECOND, **until)
        at_work.redial.take_over(replace(bench.settings, shared_hold=timedelta(0)), {"crm": way})
        await become(bench, second, (SECOND, "accepted", None))


async def test_no_more_than_max_live_are_asked_for(bench: Any) -> None:
    switch = Switch()
    async with working(bench, {"crm": handle(switch, max_live=2)}) as at_work:
        for place in range(5):
            await ordered(bench, at_work, f"C-{place}", f"+23480391000{place:02}", agent=f"{200 + place}")
        await until(lambda: len(switch.dialled) == 2, "two are asked for")
        await asyncio.sleep(0.6)  # two more looks of the loop
        assert len(switch.dialled) == 2
        await bench.call(switch.dialled[0].attempt_id, switch.dialled[0].number, agent_id="200", received=111)
        at_work.redial.wake()
        await until(lambda: len(switch.dialled) == 3, "the third follows the end of one")


async def test_a_superseded_call_is_dropped_once(bench: Any) -> None:
    bench.settings = replace(bench.settings, hangup_superseded=True)
    switch = Switch()
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await become(bench, case_id, (FIRST, "accepted", None))
        await bench.call("they call back", SECOND, disposition="answered", direction="inbound", agent_id="300",
                         caller_number=SECOND, caller_e164=SECOND, ended_at=112.0, received=112)  # fmt: skip
        at_work.redial.wake()
        await until(lambda: switch.hung_up, "the other call is dropped")
        await asyncio.sleep(0.6)
        assert switch.hung_up == [switch.dialled[0].attempt_id]
    assert await bench.attempts(case_id) == [(FIRST, "superseded", None)]
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_a_superseded_call_is_not_dropped_before_its_request_was_answered(bench: Any) -> None:
    """The vendor may not know it yet, and it is dropped once."""
    bench.settings = replace(bench.settings, hangup_superseded=True)
    answers = asyncio.Event()
    switch = Switch(hangs=answers)
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await until(lambda: switch.dialled, "the request is under way")
        await bench.call("they call back", SECOND, disposition="answered", direction="inbound", agent_id="300",
                         caller_number=SECOND, caller_e164=SECOND, ended_at=112.0, received=112)  # fmt: skip
        at_work.redial.wake()
        await become(bench, case_id, (FIRST, "superseded", None))
        await asyncio.sleep(0.6)  # two more looks of the loop
        assert switch.hung_up == []
        answers.set()
        await until(lambda: switch.hung_up, "it is dropped")
        assert switch.hung_up == [switch.dialled[0].attempt_id]


async def test_the_vendors_word_at_a_deadline_goes_on_with_the_next_number(bench: Any) -> None:
    switch = Switch(stands=Standing(outcome=Disposition.BUSY))
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await become(bench, case_id, (FIRST, "accepted", None))
        bench.pass_time(121)
        await become(bench, case_id, (FIRST, "ended", "busy"), (SECOND, "accepted", None))


async def test_a_vendor_is_not_asked_about_an_order_that_it_has_not_answered_yet(bench: Any) -> None:
    answers = asyncio.Event()
    switch = Switch(hangs=answers, stands=Standing(outcome=Disposition.BUSY))
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST)
        await until(lambda: switch.dialled, "the request is under way")
        bench.pass_time(121)
        await asyncio.sleep(1.5)  # a look at what is overdue
        assert switch.asked == []
        assert await bench.attempts(case_id) == [(FIRST, "requested", None)]
        answers.set()
        await become(bench, case_id, (FIRST, "ended", "busy"))


async def test_what_was_decided_long_before_redial_was_on_dials_nobody(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    bench.pass_time(bench.settings.timing.max_age.total_seconds() + 1)
    switch = Switch()
    async with working(bench, {"crm": handle(switch)}):
        await become(bench, case_id, (FIRST, "cancelled", None))
    assert (await bench.of_case(case_id))["state_reason"] == "late"
    assert switch.dialled == []


async def test_a_call_that_cannot_be_decided_holds_up_no_other(bench: Any) -> None:
    await bench.case("C-9")
    await bench.call("broken", SECOND)
    await bench.call("sound", THIRD)
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(update(calls).where(calls.c.call_key == "broken").values(disposition="no such word"))
    async with working(bench, {}) as at_work:
        async with asyncio.timeout(20):
            while "call.ended" not in await bench.told():  # noqa: ASYNC110 - the loops work beside
                await asyncio.sleep(0.05)
        assert at_work.total("cdrhub_redial_failures_total", step="decide") >= 1
    assert Counter(await bench.told()) == {"call.ended": 1}


async def test_decisions_give_way_to_a_full_journal(bench: Any) -> None:
    for place in range(3):
        await bench.call(f"k{place}", SECOND)
    depth = 1_000_000
    async with working(bench, {}, depth=lambda: depth) as at_work:
        await until(lambda: at_work.total("cdrhub_settled_calls_total") == 3, "they are decided all the same")
        await bench.call("later", SECOND)
        at_work.redial.wake()
        await asyncio.sleep(0.3)
        assert at_work.total("cdrhub_settled_calls_total") == 3  # BUSY_SECONDS have not passed
        await until(lambda: at_work.total("cdrhub_settled_calls_total") == 4, "then it is")


async def test_an_order_is_asked_for_within_the_pace(bench: Any) -> None:
    switch = Switch()
    async with working(bench, {"crm": handle(switch, max_per_second=0.5)}) as at_work:
        for place in range(3):
            await ordered(bench, at_work, f"C-{place}", f"+23480391000{place:02}", agent=f"{200 + place}")
        await until(lambda: switch.dialled, "the first is asked for")
        assert len(switch.dialled) == 1
        await until(lambda: len(switch.dialled) == 2, "the second follows")
    async with bench.store.database.connect() as connection:
        states = Counter((await connection.scalars(select(attempts.c.state))).all())
    assert states == {"accepted": 2, "decided": 1}


async def test_waiting_cases_are_dialled_when_they_are_due(bench: Any) -> None:
    switch = Switch(answer=Refused(refusal=Refusal.AGENT, detail="not registered"))
    async with working(bench, {"crm": handle(switch)}) as at_work:
        case_id = await ordered(bench, at_work)
        await become(bench, case_id, (FIRST, "refused", None))
        row = await bench.of_case(case_id)
        assert (row["state"], row["next_action_at"]) == ("waiting", bench.clock.now + timedelta(seconds=60))
        switch.answer = Accepted()
        bench.clock.now = ledger.at(110) + timedelta(seconds=61)
        await become(bench, case_id, (FIRST, "refused", None), (FIRST, "accepted", None))


async def test_nothing_is_decided_before_the_phone_systems_had_time_to_connect(bench: Any) -> None:
    switch, connected = Switch(), asyncio.Event()
    async with working(bench, {"crm": handle(switch)}, sighted=connected.is_set) as at_work:
        case_id = await ordered(bench, at_work)
        await asyncio.sleep(0.5)
        assert await bench.attempts(case_id) == [(FIRST, "decided", None)]
        connected.set()
        await become(bench, case_id, (FIRST, "accepted", None))


async def test_where_redial_is_off_nobody_is_told_that_it_waits(bench: Any) -> None:
    waiting = bench.clock.now - timedelta(seconds=6)
    async with working(bench, {}, oldest=lambda: waiting) as at_work:
        assert at_work.redial.problems == ["redial waits: records in the journal are not in the database yet"]
        at_work.redial.take_over(replace(bench.settings, mode=Mode.OFF), {})
        assert at_work.redial.problems == []


async def test_a_hub_that_does_not_know_the_present_dials_nobody(bench: Any) -> None:
    """What waits in its journal may say that the person was reached."""
    switch = Switch()
    waiting: list[datetime] = [bench.clock.now - timedelta(seconds=6)]
    async with working(bench, {"crm": handle(switch)}, oldest=lambda: waiting[0] if waiting else None) as at_work:
        due = await bench.case("C-2", SECOND, agent="103", state="waiting", next_action_at=bench.clock.now)
        case_id = await ordered(bench, at_work, "C-1", FIRST)
        await asyncio.sleep(0.6)
        assert switch.dialled == []
        assert (await bench.of_case(due))["state"] == "waiting"
        assert at_work.redial.problems == ["redial waits: records in the journal are not in the database yet"]
        waiting.clear()
        await become(bench, case_id, (FIRST, "accepted", None))
        await become(bench, due, (SECOND, "accepted", None))
        assert at_work.redial.problems == []
        waiting.append(bench.clock.now + timedelta(seconds=200))  # before the clock was set back
        await asyncio.sleep(0.3)  # a look that began before it is over
        bench.pass_time(121)
        await asyncio.sleep(1.2)
        assert switch.asked == []
        assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]


async def test_a_vendor_is_asked_of_a_few_attempts_at_a_time(bench: Any) -> None:
    answers = asyncio.Event()
    switch = Switch(thinks=answers)
    numbers = [f"+23480391000{place:02}" for place in range(5)]
    async with working(bench, {"crm": handle(switch)}) as at_work:
        ids = [
            await ordered(bench, at_work, f"C-{number}", number, agent=f"2{place}")
            for place, number in enumerate(numbers)
        ]
        for case_id, number in zip(ids, numbers, strict=True):
            await become(bench, case_id, (number, "accepted", None))
        bench.pass_time(121)
        await until(lambda: len(switch.asked) == 3, "three are asked about")
        await asyncio.sleep(0.1)
        assert len(switch.asked) == 3
        answers.set()
        for case_id, number in zip(ids, numbers, strict=True):
            await become(bench, case_id, (number, "unknown", None))
    assert len(switch.asked) == 5
