"""One telephone in several spellings is one telephone to the rules, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from cdrhub.redial import case_rows
from cdrhub.redial.given import GivenCase, GivenDoNotCall, GivenNumber
from cdrhub.redial.model import Reported
from cdrhub.redial.outlook import outlook
from cdrhub.redial.policy import Policy
from cdrhub.store.redial_tables import case_numbers, do_not_call
from support import ledger
from support.locks import waits_for_a_lock

MOBILE, WITHOUT_9 = "+5491123456789", "+541123456789"
PARIS, POTSDAM = "+33123456789", "+4933123456789"
LAGOS = "+2348039100001"


async def called_in(bench: Any, number: str, e164: str, **values: Any) -> None:
    """The record of a call that came from this number."""
    said = {
        "direction": "inbound",
        "state": "ended",
        "disposition": "answered",
        "started_at": 100.0,
        "ended_at": 105.0,
        "caller_number": number,
        "caller_e164": e164,
        "external_number": e164,
    }
    over = values.get("state", "ended") == "ended"
    said = {name: value for name, value in said.items() if over or name not in ("disposition", "ended_at")}
    await bench.store.write([ledger.item(ledger.message("in", values=said | values, final=over), received=106)])


@pytest.mark.parametrize(
    ("number", "told", "e164"),
    [(MOBILE, WITHOUT_9, WITHOUT_9), (WITHOUT_9, MOBILE, MOBILE), (PARIS, "0033123456789", POTSDAM)],
)
async def test_who_answered_under_another_spelling_was_reached(bench: Any, number: str, told: str, e164: str) -> None:
    case_id = await bench.case("C-1", number)
    await called_in(bench, told, e164)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


@pytest.mark.parametrize("state", ["ringing", "ended"])
async def test_who_is_in_a_call_under_another_spelling_is_left_alone(bench: Any, state: str) -> None:
    await bench.case("C-1", MOBILE, round=0)
    await called_in(bench, WITHOUT_9, WITHOUT_9, state=state)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "number_in_call"


async def test_two_spellings_are_requested_for_one_of_two_cases(bench: Any) -> None:
    for code, number, agent in (("C-1", MOBILE, "101"), ("C-2", WITHOUT_9, "102"), ("C-3", MOBILE, "103")):
        await bench.case(code, number, agent=agent, round=0)
    for code in ("C-1", "C-2"):
        await bench.orders().dial(tenant="", code=code)
    assert await bench.claim() == [MOBILE]
    assert (await bench.orders().dial(tenant="", code="C-3")).rule == "shared_number"


@pytest.mark.parametrize(
    ("listed", "number"), [(WITHOUT_9, MOBILE), (MOBILE, WITHOUT_9), ("08039100001", LAGOS), ("2348039100001", LAGOS)]
)
async def test_a_number_that_was_listed_otherwise_is_not_called(bench: Any, listed: str, number: str) -> None:
    """As digits: before its source had a `region`, or a numbering plan knew it."""
    await bench.case("C-1", number, round=0)
    row = {"tenant": "", "match_key": listed, "source": "registry", "checked_at": bench.clock.now}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(insert(do_not_call).values(row))
    assert (await bench.orders().dial(tenant="", code="C-1")).result == "exhausted"
    await bench.orders().forbid([GivenDoNotCall(number=number, until=ledger.at(200))])
    assert (await bench.orders().dial(tenant="", code="C-1")).result == "exhausted"
    assert await bench.orders().permit(tenant="", number=number, region_of="lagos")
    assert (await bench.orders().dial(tenant="", code="C-1")).result == "next"


@pytest.mark.parametrize(
    ("rung", "now"), [("08039100001", LAGOS), ("2348039100001", LAGOS), (LAGOS, "08039100001"), (WITHOUT_9, MOBILE)]
)
async def test_a_number_that_was_rung_under_another_spelling_is_not_the_next_one(
    bench: Any, rung: str, now: str
) -> None:
    """Its source got a `region`, and the CRM gave the case once more."""
    case_id = await bench.case("C-1", now, PARIS)
    bench.settings = replace(bench.settings, policy=Policy(number_cap=1))
    await bench.accepted(case_id, rung)
    await bench.call("k1", rung if rung.startswith("+") else LAGOS, callee_number=rung)
    await bench.decide()
    assert [(number, outcome) for number, _, outcome in await bench.attempts(case_id)] == [
        (rung, "no_answer"),
        (PARIS, None),
    ]
    async with bench.store.database.connect() as connection:
        _, (first, _) = await outlook(connection, case_id, now=bench.clock.now, settings=bench.settings)
        results = select(case_numbers.c.last_disposition).where(case_numbers.c.match_key == now)
        assert (first.tried, await connection.scalar(results)) == (True, "no_answer")
    await bench.orders().stop(tenant="", code="C-1")
    assert (await bench.orders().dial(tenant="", code="C-1")).number.key == PARIS


@pytest.mark.parametrize(
    ("said", "result", "number"), [("callback", "scheduled", LAGOS), ("wrong_party", "next", PARIS)]
)
async def test_what_is_reported_is_of_the_number_that_was_rung_under_another_spelling(
    bench: Any, said: str, result: str, number: str
) -> None:
    attempt_id = await bench.accepted(await bench.case("C-1", LAGOS, PARIS), "08039100001")
    await bench.call("k1", LAGOS, disposition="answered", callee_number="08039100001")
    await bench.decide()
    at = bench.clock.now + timedelta(hours=1) if said == "callback" else None
    decision = await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported(said), at=at)
    assert (decision.result, decision.number.key) == (result, number)


async def test_a_wrong_party_who_calls_back_is_nobody_else_under_another_spelling(bench: Any) -> None:
    attempt_id = await bench.accepted(await bench.case("C-1", LAGOS, PARIS), "08039100001")
    await bench.call("k1", LAGOS, disposition="answered", callee_number="08039100001")
    await bench.decide()
    await called_in(bench, LAGOS, LAGOS)
    await bench.decide()
    decision = await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.WRONG_PARTY)
    assert decision.number.key == PARIS


async def test_what_was_decided_under_another_spelling_is_dialled_as_it_is_spelt_now(bench: Any) -> None:
    await bench.accepted(await bench.case("C-1", PARIS, LAGOS), "08039100001", state="decided", requested_at=None)
    assert await bench.claim() == []
    assert await bench.claim() == [LAGOS]


async def test_a_case_that_is_given_again_in_another_spelling_keeps_the_last_results(bench: Any) -> None:
    case_id = await bench.case("C-1", "08039100001", PARIS)
    tried = {"last_disposition": "busy", "last_attempt_at": bench.clock.now}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(update(case_numbers).where(case_numbers.c.position == 1).values(**tried))
    numbers = [GivenNumber(number="+2348039100001"), GivenNumber(number=PARIS)]
    await bench.orders().keep([GivenCase(code="C-1", source="lagos", numbers=numbers)])
    async with bench.store.database.connect() as connection:
        found = await connection.execute(
            select(case_numbers.c.match_key, case_numbers.c.last_disposition)
            .where(case_numbers.c.case_id == case_id)
            .order_by(case_numbers.c.position)
        )
        assert [tuple(row) for row in found] == [(LAGOS, "busy"), (PARIS, None)]


async def test_a_case_that_waits_for_a_number_under_another_spelling_is_dialled_there(bench: Any) -> None:
    waits = {"state": "waiting", "state_reason": "spread", "next_action_at": bench.clock.now, "next_key": "08039100001"}
    await bench.case("C-1", PARIS, LAGOS, **waits)
    assert await bench.dialling().due() == 1
    assert await bench.claim() == [LAGOS]


async def test_another_hub_that_requests_another_spelling_meanwhile_is_waited_for(bench: Any) -> None:
    if bench.store.database.kind == "sqlite":
        pytest.skip("one transaction writes at a time")
    for code, number, agent in (("C-1", MOBILE, "101"), ("C-2", WITHOUT_9, "102")):
        await bench.case(code, number, agent=agent, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    async with bench.store.database.connect(writing=True) as connection:
        await case_rows.numbers_locked(connection, {WITHOUT_9})
        claiming = asyncio.create_task(bench.claim())
        await waits_for_a_lock(claiming, bench.store.database)
    assert await claiming == [MOBILE]
