"""What a reload changes of redial at work: its mode and its diallers, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from cdrhub.model.dialling import Accepted, Refusal, Refused, Standing
from cdrhub.model.disposition import Disposition
from cdrhub.redial.policy import Mode
from cdrhub.redial.service import LOOK_SECONDS
from cdrhub.store.redial_tables import cases
from support.intake import until
from support.locks import waits_for_a_lock
from support.redial import FIRST, SECOND
from support.redial_at_work import Switch, become, handle, ordered, working


async def test_a_reload_takes_over_mode_and_diallers(bench: Any) -> None:
    before, between, after = Switch(), Switch(), Switch()
    async with working(bench, {"crm": handle(before)}) as at_work:
        at_work.redial.take_over(replace(bench.settings, mode=Mode.OBSERVE), {"crm": handle(between)})
        await until(lambda: before.closed, "the dialler that is gone is closed")
        bench.settings = replace(bench.settings, mode=Mode.ON)
        case_id = await bench.case("C-1", FIRST, round=0)
        await bench.orders().dial(tenant="", code="C-1")
        await become(bench, case_id, (FIRST, "cancelled", None))
        assert (await bench.of_case(case_id))["state_reason"] == "observed"
        at_work.redial.take_over(bench.settings, at_work.redial.handles({}) | {"crm": handle(after)})
        await bench.orders().resume(tenant="", code="C-1")
        at_work.redial.ordered()
        await become(bench, case_id, (FIRST, "cancelled", None), (FIRST, "accepted", None))
    assert before.dialled == []


async def test_live_attempts_are_shown_in_each_mode_and_of_the_diallers_that_there_are(bench: Any) -> None:
    """After a reload they stood for ever at what they had been."""
    async with working(bench, {"crm": (way := handle(Switch()))}) as at_work:
        live = partial(at_work.metrics.registry.get_sample_value, "cdrhub_redial_live_attempts", {"dialler": "crm"})
        case_id = await ordered(bench, at_work, "C-1", FIRST)
        await until(lambda: live() == 1, "the attempt is live")
        at_work.redial.take_over(replace(bench.settings, mode=Mode.OBSERVE), {"crm": way})
        await bench.orders().stop(tenant="", code="C-1")
        await become(bench, case_id, (FIRST, "superseded", None))
        await until(lambda: live() == 0, "it is no longer")
        at_work.redial.take_over(bench.settings, {})
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert live() is None


async def test_what_was_asked_of_a_dialler_before_a_reload_is_answered_by_it(bench: Any) -> None:
    answers = asyncio.Event()
    before, after = Switch(stands=Standing(outcome=Disposition.BUSY), thinks=answers), Switch()
    async with working(bench, {"crm": handle(before)}) as at_work:
        case_id = await ordered(bench, at_work, "C-1", FIRST, SECOND)
        await become(bench, case_id, (FIRST, "accepted", None))
        bench.pass_time(121)
        await until(lambda: before.asked, "the vendor is asked")
        at_work.redial.take_over(bench.settings, {"crm": handle(after)})
        await asyncio.sleep(0.1)
        assert not before.closed
        answers.set()
        await become(bench, case_id, (FIRST, "ended", "busy"), (SECOND, "accepted", None))
        await until(lambda: before.closed, "the dialler that is gone is closed")
    assert [order.number for order in after.dialled] == [SECOND]


async def test_what_is_being_claimed_while_a_reload_comes_is_asked_of_a_dialler_that_is_open(bench: Any) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    before, after, sighted = Switch(), Switch(), asyncio.Event()
    async with working(bench, {"crm": handle(before)}, sighted=sighted.is_set) as at_work:
        async with bench.store.database.connect(writing=True) as connection:
            await connection.execute(select(cases.c.id).where(cases.c.id == case_id).with_for_update())
            sighted.set()
            claiming = asyncio.create_task(asyncio.sleep(20))  # by one of its loops
            await waits_for_a_lock(claiming, bench.store.database)
            claiming.cancel()
            at_work.redial.take_over(bench.settings, {"crm": handle(after)})
            await asyncio.sleep(0.1)
        await become(bench, case_id, (FIRST, "accepted", None))
        await until(lambda: before.closed, "the dialler that is gone is closed")
    assert ([order.number for order in before.dialled], after.dialled) == ([FIRST], [])


async def test_a_dialler_that_is_not_there_any_more_pauses_its_cases(bench: Any) -> None:
    switch = Switch()
    async with working(bench, {"other": handle(switch)}) as at_work:
        its = {"dialler": "other", "answer": "accepted"}
        assert at_work.metrics.registry.get_sample_value("cdrhub_redial_requests_total", its) == 0
        case_id = await ordered(bench, at_work)
        await become(bench, case_id, (FIRST, "cancelled", None))
    assert (await bench.of_case(case_id))["state_reason"] == "no_dialler"


async def test_a_dialler_that_refuses_for_its_configuration_is_a_problem_until_it_accepts(bench: Any) -> None:
    switch = Switch(answer=Refused(refusal=Refusal.CONFIGURATION, detail="no such account"))
    async with working(bench, {"crm": handle(switch)}) as at_work:
        await ordered(bench, at_work)
        await until(lambda: at_work.redial.problems, "it is a problem")
        assert "crm" in at_work.redial.problems[0]
        switch.answer = Accepted()
        await ordered(bench, at_work, "C-2", SECOND, agent="300")
        await until(lambda: not at_work.redial.problems, "it is mended")


async def test_a_dialler_whose_configuration_a_reload_changes_is_no_problem_until_it_refuses_again(bench: Any) -> None:
    switch = Switch(answer=Refused(refusal=Refusal.CONFIGURATION, detail="no such account"))
    there = handle(switch)
    async with working(bench, {"crm": there}) as at_work:
        await ordered(bench, at_work)
        await until(lambda: at_work.redial.problems, "it is a problem")
        at_work.redial.take_over(bench.settings, {"crm": there})
        assert at_work.redial.problems
        at_work.redial.take_over(bench.settings, {"crm": handle(Switch())})
        assert not at_work.redial.problems


async def test_what_a_dialler_refuses_after_a_reload_has_changed_it_is_no_problem_of_the_new_one(bench: Any) -> None:
    answers = asyncio.Event()
    before = Switch(answer=Refused(refusal=Refusal.CONFIGURATION, detail="no such account"), hangs=answers)
    async with working(bench, {"crm": handle(before)}) as at_work:
        await ordered(bench, at_work)
        await until(lambda: before.dialled, "the request is under way")
        at_work.redial.take_over(bench.settings, {"crm": handle(Switch())})
        answers.set()
        await until(lambda: before.closed, "its answer is there")
        assert not at_work.redial.problems
