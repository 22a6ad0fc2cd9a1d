"""Cases kept and numbers forbidden by the hundred, cases resumed over time, and what is read back, on every engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from cdrhub.redial import queries
from cdrhub.redial.given import GivenCase, GivenDoNotCall, GivenNumber
from cdrhub.redial.order_errors import NoSuchCase, NumberUnusable
from cdrhub.redial.outlook import outlook
from cdrhub.redial.transaction import transact
from cdrhub.store.redial_tables import cases, do_not_call
from cdrhub.store.transaction import Transaction
from support import ledger

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


def given(code: str, *numbers: str, **values: Any) -> GivenCase:
    return GivenCase(code=code, source="lagos", numbers=[GivenNumber(number=number) for number in numbers], **values)


async def case_of(bench: Any, code: str, tenant: str | None = "") -> dict[str, Any]:
    async with bench.store.database.connect() as connection:
        return await queries.case_of(connection, code=code, tenant=tenant)


async def test_many_cases_are_made_and_changed_in_few_statements(bench: Any) -> None:
    many = [given(f"C-{count}", f"0803{count:07d}", metadata={"count": count}) for count in range(1_200)]
    assert await bench.orders().keep(many) == (1_200, 0)
    before = await case_of(bench, "C-700")
    again = [given(one.code, "08039100001", "08039100002", agent="7", metadata={"a": None}) for one in many[600:]]
    assert await bench.orders().keep([*again, given("new", FIRST)]) == (1, 600)
    after = await case_of(bench, "C-700")
    assert (after["id"], after["agent"], after["metadata"], after["revision"]) == (before["id"], "7", {"a": None}, 2)
    assert [number["match_key"] for number in after["numbers"]] == [FIRST, SECOND]
    assert [number["match_key"] for number in (await case_of(bench, "C-0"))["numbers"]] == ["+2348030000000"]


async def test_a_number_keeps_its_last_result(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", disposition="busy")
    await bench.decide()
    await bench.orders().keep([given("C-1", SECOND, "0803 910 0001")])
    numbers = {number["match_key"]: number for number in (await case_of(bench, "C-1"))["numbers"]}
    first, second = numbers[FIRST], numbers[SECOND]
    assert (first["last_disposition"], first["last_attempt_at"], first["position"]) == ("busy", ledger.at(95), 2)
    assert (second["last_disposition"], second["last_attempt_at"]) == (None, None)


async def test_codes_that_differ_only_in_case_or_space_are_two(bench: Any) -> None:
    assert await bench.orders().keep([given("c-1", FIRST), given("C-1", FIRST), given("C-1 ", FIRST)]) == (3, 0)


async def test_one_bad_case_and_none_is_kept(bench: Any) -> None:
    with pytest.raises(NumberUnusable):
        await bench.orders().keep([given("C-1", FIRST), given("C-2", "hello")])
    with pytest.raises(NoSuchCase):
        await case_of(bench, "C-1")


async def test_parts_of_one_transaction_are_kept_together_or_not(bench: Any) -> None:
    async def work(tx: Transaction) -> None:
        await bench.orders().within(tx).keep([given("C-1", FIRST)])
        await bench.orders().within(tx).keep([given("C-2", "hello")])

    with pytest.raises(NumberUnusable):
        await transact(bench.store.database, work)
    with pytest.raises(NoSuchCase):
        await case_of(bench, "C-1")


async def test_the_longest_entry_on_a_number_stands_of_equal_ones_the_last(bench: Any) -> None:
    until = bench.clock.now + timedelta(days=15)
    many = [GivenDoNotCall(number=f"0803{count:07d}", region_of="lagos", source="registry") for count in range(700)]
    sooner = GivenDoNotCall(number=FIRST, source="registry", until=until - timedelta(days=1))
    assert await bench.orders().forbid([*many, sooner]) == 0
    given = [
        GivenDoNotCall(number="0803 910 0001", source="bola", until=until),
        sooner,
        GivenDoNotCall(number=FIRST, tenant="other", source="ade"),
    ]
    assert await bench.orders().forbid(given) == 0
    anew = [sooner, replace(given[2], source="registry"), replace(given[2], until=until)]
    assert await bench.orders().forbid(anew) == 1
    async with bench.store.database.connect() as connection:
        rows = (await connection.execute(select(do_not_call).where(do_not_call.c.match_key == FIRST))).all()
        listed = await queries.do_not_call_list(connection, tenant="", limit=1_000)
    assert sorted((row.tenant, row.source, row.until) for row in rows) == [
        ("", "bola", until),
        ("other", "registry", None),
    ]
    assert len(listed) == 701


async def test_resumed_cases_ring_one_after_the_other(bench: Any) -> None:
    for count, agent in enumerate(("1", "2", "3")):
        await bench.case(f"C-{count}", f"+23480391000{count:02d}", agent=agent, state="paused", state_reason="late")
    begin = bench.clock.now
    for count in range(3):
        decision = await bench.orders().resume(tenant="", code=f"C-{count}", at=begin + timedelta(seconds=6) * count)
        assert (decision.result, decision.rule) == (("scheduled", "spread") if count else ("next", "first_untried"))
    assert await bench.claim() == ["+2348039100000"]
    bench.pass_time(6)
    await bench.dialling().due()
    assert await bench.claim() == ["+2348039100001"]
    bench.pass_time(6)
    await bench.dialling().due()
    assert await bench.claim() == ["+2348039100002"]


async def test_a_time_apart_does_not_bring_a_later_one_forward(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, state="paused", state_reason="late")
    await bench.orders().forbid([GivenDoNotCall(number=FIRST, until=bench.clock.now + timedelta(hours=2))])
    decision = await bench.orders().resume(tenant="", code="C-1", at=bench.clock.now + timedelta(seconds=6))
    assert decision.rule == "do_not_call"
    assert (await bench.of_case(case_id))["next_action_at"] == bench.clock.now + timedelta(hours=2)


async def test_a_number_that_is_taken_off_the_list_is_dialled_before_its_time_was_over(bench: Any) -> None:
    await bench.case("C-1", FIRST, round=0)
    other = await bench.case("C-2", SECOND, agent="103", round=0)
    until = bench.clock.now + timedelta(days=90)
    await bench.orders().forbid([GivenDoNotCall(number=number, until=until) for number in (FIRST, SECOND)])
    for code in ("C-1", "C-2"):
        assert (await bench.orders().dial(tenant="", code=code)).rule == "do_not_call"
    assert await bench.orders().permit(tenant="", number=FIRST, region_of="lagos")
    await bench.dialling().due()
    assert await bench.claim() == []
    bench.pass_time(60)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]
    assert (await bench.of_case(other))["next_action_at"] == until


async def test_a_entry_that_is_shortened_holds(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().forbid([GivenDoNotCall(number=FIRST, until=bench.clock.now + timedelta(days=90))])
    await bench.orders().dial(tenant="", code="C-1")
    await bench.orders().permit(tenant="", number=FIRST, region_of="lagos")
    until = bench.clock.now + timedelta(days=1)
    await bench.orders().forbid([GivenDoNotCall(number=FIRST, until=until)])
    bench.pass_time(60)
    await bench.dialling().due()
    assert await bench.claim() == []
    assert (await bench.of_case(case_id))["next_action_at"] == until


async def test_a_case_that_is_changed_waits_for_no_number_that_it_has_no_longer(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().forbid([GivenDoNotCall(number=FIRST, until=bench.clock.now + timedelta(days=90))])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "do_not_call"
    told = await bench.told()
    await bench.orders().keep([given("C-1", FIRST, agent="102")])
    assert await bench.told() == told
    await bench.orders().keep([given("C-1", FIRST, SECOND, agent="102")])
    assert await bench.claim() == [SECOND]
    assert (await bench.of_case(case_id))["state"] == "dialling"


@pytest.mark.parametrize("reason", ["callback", "spread", "agent_retry"])
async def test_a_case_that_is_changed_waits_on_for_what_is_no_rules_moment(bench: Any, reason: str) -> None:
    until = bench.clock.now + timedelta(minutes=9)
    waits = {"state": "waiting", "state_reason": reason, "next_action_at": until, "next_key": FIRST}
    case_id = await bench.case("C-1", FIRST, **waits)
    await bench.orders().keep([given("C-1", SECOND, agent="102")])
    assert (await bench.of_case(case_id))["next_action_at"] == until
    assert await bench.decisions() == []


async def test_a_decision_keeps_what_its_sentence_needs(bench: Any) -> None:
    await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().forbid([GivenDoNotCall(number=FIRST, source="ade")])
    await bench.orders().dial(tenant="", code="C-1", reference="media-7")
    case = await case_of(bench, "C-1")
    async with bench.store.database.connect() as connection:
        (row,) = await queries.last_decisions_of(connection, case["id"])
        _, numbers = await outlook(connection, case["id"], settings=bench.settings, now=bench.clock.now)
    assert row["inputs"] == {"agent": "102", "reference": "media-7", "next_number": SECOND}
    assert row["detail"] == f"not {FIRST}: do_not_call"
    first, second = numbers
    assert first.objection is not None
    assert (first.last, first.tried, first.objection.rule) == (None, False, "do_not_call")
    assert second.last is not None
    assert (second.last.state, second.tried, second.objection) == ("decided", False, None)


async def test_the_newest_decisions_come_in_their_order(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.orders().stop(tenant="", code="C-1", why="paid")
    await bench.orders().dial(tenant="", code="C-1")
    async with bench.store.database.connect() as connection:
        rows = await queries.last_decisions_of(connection, case_id, limit=2)
    assert [(row["cause"], row["detail"]) for row in rows] == [("stop", "paid"), ("order", "")]


async def test_how_many_stand_where(bench: Any) -> None:
    await bench.case("C-1", FIRST, state="paused", state_reason="late")
    await bench.case("C-2", SECOND, state="paused", state_reason="late")
    await bench.accepted(await bench.case("C-3", THIRD))
    async with bench.store.database.connect() as connection:
        tally = await queries.tally(connection)
        (live,) = await queries.live_attempts(connection)
        total = (await connection.execute(select(cases.c.id))).all()
    assert len(total) == 3
    assert [(row["state"], row["state_reason"], row["count"]) for row in tally] == [
        ("dialling", "", 1),
        ("paused", "late", 2),
    ]
    assert (live["dialler"], live["state"], live["count"]) == ("crm", "accepted", 1)
