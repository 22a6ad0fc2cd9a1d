"""What was decided while nobody dialled is old news, on each database."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import uuid_utils

from cdrhub.model.dialling import Refusal, Refused
from cdrhub.redial.dialling import Dialling
from cdrhub.redial.policy import Mode
from cdrhub.redial.since import Since
from cdrhub.redial.watch import note
from support.locks import waits_for_a_lock

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


@pytest.mark.parametrize(("before", "requested"), [(299, True), (301, False)])
async def test_a_decision_that_waited_for_a_hub_that_dials(bench: Any, before: int, requested: bool) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    bench.pass_time(before)
    dialling = Dialling(
        database=bench.store.database,
        settings=bench.settings,
        clock=lambda: bench.clock.now + timedelta(hours=1),
        systems=bench.systems,
        since=Since(bench.clock.now, max_age=bench.settings.timing.max_age),
    )
    claimed = await dialling.claim(room={"crm": 10})
    assert [one.order.number for one in claimed] == ([FIRST] if requested else [])
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == (("dialling", "") if requested else ("paused", "late"))


async def test_old_news_takes_nobodys_room(bench: Any) -> None:
    """A hub that begins finds three decisions of yesterday, and makes one; its dialler takes one call at a time."""
    for place in range(4):
        number, agent = f"+23480391{place:05d}", f"a{place}"
        case_id = await bench.case(f"C-{place}", number, agent=agent)
        decided_at = bench.clock.now - timedelta(days=place < 3)
        decided = {"state": "decided", "requested_at": None, "decided_at": decided_at}
        await bench.accepted(case_id, number, agent=agent, **decided)
    dialling = bench.dialling(since=bench.clock.now)
    assert not await dialling.claim(room={"crm": 0})
    (claimed,) = await dialling.claim(room={"crm": 1})
    assert claimed.order.case_code == "C-3"


@pytest.mark.parametrize(("alone", "requested"), [(0, True), (300, True), (301, False)])
async def test_a_hub_that_begins_goes_on_where_another_one_was(bench: Any, alone: int, requested: bool) -> None:
    """`alone`: for so many seconds before it begins nobody dialled."""
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    first = bench.dialling(since=bench.clock.now)
    for _ in range(11):  # its dialler has no room
        assert await first.claim(room={"crm": 0}) == ()
        assert await first.due() == 0
        bench.pass_time(60)
    bench.pass_time(alone - 60)
    second = bench.dialling(since=bench.clock.now)
    claimed = await second.claim(room={"crm": 10})
    assert [one.order.number for one in claimed] == ([FIRST] if requested else [])
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == (("dialling", "") if requested else ("paused", "late"))


async def test_the_first_hubs_of_a_database_may_begin_at_once(bench: Any) -> None:
    database = bench.store.database
    if database.kind == "sqlite":
        pytest.skip("one transaction writes at a time")
    async with database.connect(writing=True) as another:
        await note(another, began=bench.clock.now, now=bench.clock.now, max_age=timedelta(minutes=5))
        due = asyncio.create_task(bench.dialling(since=bench.clock.now).due())
        await waits_for_a_lock(due, database)
    assert await due == 0


async def test_a_hub_that_begins_while_another_one_catches_up_rings_nobody_late_either(bench: Any) -> None:
    await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    bench.pass_time(301)
    assert await bench.dialling(since=bench.clock.now).due() == 0
    assert await bench.dialling(since=bench.clock.now).claim(room={"crm": 10}) == []


@pytest.mark.parametrize(("away", "reason"), [(300, "agent_retry"), (301, "late")])
async def test_a_refusal_that_waited_for_the_database_leads_to_no_other_request(
    bench: Any, away: int, reason: str
) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    dialling = bench.dialling(since=bench.clock.now)
    await bench.orders().dial(tenant="", code="C-1")
    (claimed,) = await dialling.claim(room={"crm": 10})
    assert await dialling.due() == 0
    bench.pass_time(away)
    await dialling.answered(claimed.order.attempt_id, Refused(refusal=Refusal.AGENT, detail="busy"))
    assert (await bench.of_case(case_id))["state_reason"] == reason


@pytest.mark.parametrize("looked", [True, False], ids=["and it has looked since", "and it looks now"])
async def test_a_hub_whose_clock_was_set_back_dials(bench: Any, looked: bool) -> None:
    dialling = bench.dialling(since=bench.clock.now)
    bench.pass_time(-3_600)
    if looked:
        assert await dialling.due() == 0
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    if looked:
        bench.pass_time(150)
        assert await dialling.due() == 0
        bench.pass_time(151)  # its dialler had no room
    claimed = await dialling.claim(room={"crm": 10})
    row = await bench.of_case(case_id)
    assert ([one.order.number for one in claimed], row["state_reason"]) == ([FIRST], "")


async def test_a_case_that_looks_again_in_a_moment_waits_no_hour_for_a_clock_that_was_set_back(bench: Any) -> None:
    dialling = bench.dialling(since=bench.clock.now)
    assert await dialling.due() == 0
    await bench.orders().pause(scope="all", name="", actor="test")
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    assert (await bench.of_case(case_id))["state_reason"] == "redial_paused"
    bench.pass_time(-3_600)
    assert await dialling.due() == 0  # it has to wait its half minute
    await bench.orders().unpause(scope="all", name="")
    bench.pass_time(30)
    assert await dialling.due() == 1
    assert await bench.decisions() == [("scheduled", "redial_paused"), ("next", "due")]


async def test_an_attempt_has_no_more_time_when_the_clock_was_set_back(bench: Any) -> None:
    dialling = bench.dialling(since=bench.clock.now)
    assert await dialling.due() == 0
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    bench.pass_time(-3_600)
    assert await dialling.due() == 0
    bench.pass_time(119)
    assert list(await dialling.overdue()) == []
    bench.pass_time(1)
    assert [one.attempt_id for one in await dialling.overdue()] == [await bench.live_attempt(case_id)]


async def test_a_call_settles_in_its_time_when_the_clock_was_set_back(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=60))
    dialling = bench.dialling(since=bench.clock.now)
    assert await dialling.due() == 0
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k-1")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]  # a person may still report what became of it
    bench.pass_time(-3_600)
    assert await dialling.due() == 0
    bench.pass_time(59)
    assert (await bench.decide()).settled == 0
    bench.pass_time(1)
    assert (await bench.decide()).settled == 1


@pytest.mark.parametrize("made", ["decided", "announced", "by hand"])
async def test_attempts_stay_in_their_order_when_the_clock_was_set_back(bench: Any, made: str) -> None:
    """An attempt that seems to have been followed by another one leads to no other number."""
    case_id = await bench.case("C-1", FIRST, SECOND, THIRD, "+2348039100004")
    await bench.accepted(case_id, THIRD, state="ended", outcome="busy", live_case=None, live_agent=None)
    before = str(uuid_utils.uuid7(nanoseconds=time.time_ns() + 3_600 * 10**9))  # of a hub whose clock was ahead
    await bench.accepted(case_id, id=before)
    await bench.call(before, disposition="not_dialled" if made == "by hand" else "no_answer")
    if made == "announced":
        bench.settings = replace(bench.settings, mode=Mode.OBSERVE)
    await bench.decide()
    if made == "announced":
        await bench.orders().announce(tenant="", code="C-1", number=SECOND)
    elif made == "by hand":
        await bench.call("by-hand", SECOND)
        await bench.decide()
    assert [number for number, _, _ in await bench.attempts(case_id)][:3] == [THIRD, FIRST, SECOND]
