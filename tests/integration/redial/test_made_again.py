"""A case that is deleted and made again under its code is the same case, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdrhub.redial import queries
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.redial.model import Reported
from cdrhub.redial.policy import PLAIN, Policy
from support import ledger

FIRST, SECOND = "+2348039100001", "+2348039100002"


def given(code: str = "C-1", *, tenant: str = "") -> GivenCase:
    numbers = [GivenNumber(number=FIRST), GivenNumber(number=SECOND)]
    return GivenCase(code=code, source="lagos", agent="102", tenant=tenant, numbers=numbers)


async def case_of(bench: Any, code: str = "C-1", tenant: str = "") -> dict[str, Any]:
    async with bench.store.database.connect() as connection:
        return await queries.case_of(connection, code=code, tenant=tenant)


async def rung(bench: Any) -> None:
    """Dial the case's first number, which is busy, and stop there."""
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    seconds = (bench.clock.now - ledger.START).total_seconds()
    bench.pass_time(9)
    said = {"started_at": seconds, "ended_at": seconds + 9, "received": seconds + 9}
    await bench.call(f"k{seconds}", disposition="busy", **said)
    await bench.decide()
    await bench.orders().stop(tenant="", code="C-1")


async def made_again(bench: Any) -> None:
    await bench.orders().forget(tenant="", code="C-1")
    assert await bench.orders().make(given())


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (PLAIN, "first_untried"),
        (Policy(case_cap=2), "none_left"),
        (Policy(between_numbers=timedelta(hours=1)), "cool_down"),
    ],
)
async def test_its_attempts_are_its_own_again(bench: Any, policy: Policy, rule: str) -> None:
    await bench.orders().keep([given(), given("C-2"), given(tenant="acme")])
    before = await case_of(bench)
    for _ in range(2):
        await rung(bench)
        await made_again(bench)
    bench.settings = replace(bench.settings, policy=policy)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == rule
    after = await case_of(bench)
    assert (after["id"], after["round"], after["created_at"]) == (before["id"], 5, before["created_at"])


@pytest.mark.parametrize("result", [Reported.WRONG_PARTY, Reported.CALLBACK])
async def test_a_report_of_before_dials_nobody(bench: Any, result: Reported) -> None:
    await bench.orders().keep([given()])
    await rung(bench)
    async with bench.store.database.connect() as connection:
        attempt, _ = await queries.attempts_of(connection, (await case_of(bench))["id"])
    await made_again(bench)
    later = bench.clock.now + timedelta(hours=1)
    decision = await bench.orders().report(tenant="", attempt_id=attempt["id"], result=result, at=later)
    assert (decision.result, decision.rule) == ("nothing", "earlier_round")
    assert (await case_of(bench))["state"] == "open"


async def test_a_conversation_of_before_is_one_with_it(bench: Any) -> None:
    bench.settings = replace(bench.settings, policy=Policy(contacted_cool_down=timedelta(days=7)))
    await bench.orders().keep([given()])
    said = {"direction": "inbound", "caller_number": FIRST, "caller_e164": FIRST, "agent_id": "900"}
    bench.pass_time(60)
    await bench.call("in", disposition="answered", started_at=120.0, ended_at=160.0, received=160, **said)
    await bench.decide()
    bench.pass_time(60)
    await made_again(bench)
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "cool_down"


async def test_another_case_that_is_made_has_nothing_of_it(bench: Any) -> None:
    await bench.orders().keep([given()])
    before = await case_of(bench)
    await bench.orders().forget(tenant="", code="C-1")
    await bench.orders().keep([given("C-2"), given(tenant="acme")])
    assert before["id"] not in {(await case_of(bench, "C-2"))["id"], (await case_of(bench, tenant="acme"))["id"]}
    assert await bench.orders().keep([given()]) == (1, 0)
    assert (await case_of(bench))["id"] == before["id"]


async def test_two_that_make_it_again_make_it_once(bench: Any) -> None:
    await bench.orders().keep([given()])
    await rung(bench)
    before = await case_of(bench)
    for _ in range(5):
        await bench.orders().forget(tenant="", code="C-1")
        done = await asyncio.gather(*(bench.orders().keep([given()]) for _ in range(2)))
        assert sorted(done) == [(0, 1), (1, 0)]
        assert (await case_of(bench))["id"] == before["id"]
