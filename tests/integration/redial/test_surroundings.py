"""What the rules are told of the world beside a case, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from cdrhub.model.dialling import Refusal, Refused
from cdrhub.redial import case_rows
from cdrhub.redial.policy import Policy, Surroundings
from cdrhub.redial.surroundings import gather
from cdrhub.store.redial_tables import attempts, do_not_call
from support import ledger

FIRST, SECOND = "+2348039100001", "+2348039100002"


async def around(bench: Any, case_id: str) -> Surroundings:
    """What is known of one case, beside another of another tenant with the same numbers."""
    other = await bench.case("C-9", FIRST, SECOND, tenant="other", agent="900")
    async with bench.store.database.connect() as connection:
        read = await case_rows.read(connection, [case_id, other])
        known = await gather(
            connection,
            list(read.values()),
            now=bench.clock.now,
            settings=bench.settings,
            healthy=bench.systems.healthy,
        )
    apart = known.around(read[other])
    assert (apart.requests[FIRST], apart.held, apart.in_call, apart.do_not_call) == ([], {}, frozenset(), {})
    return known.around(read[case_id])


async def ringing(bench: Any, number: str, agent: str, *, known_as: str = "agent_id") -> None:
    """A call that somebody's telephone rings for."""
    said = {
        "state": "ringing",
        "direction": "inbound",
        "started_at": 100.0,
        "caller_number": number,
        "caller_e164": number,
        "external_number": number,
        known_as: agent,
    }
    await bench.store.write([ledger.item(ledger.message("in1", values=said), received=101)])


async def test_a_network_that_carries_nothing_is_told_and_uses_no_number_up(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    for _ in range(6):
        (claimed,) = await bench.dialling().claim(room={"crm": 1})
        refused = Refused(refusal=Refusal.NETWORK, detail="no line")
        await bench.dialling().answered(claimed.order.attempt_id, refused)
        bench.pass_time(60)
        await bench.dialling().due()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "network")
    await bench.orders().resume(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]


async def test_a_number_that_rang_for_another_case_rests_from_its_end(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    other = await bench.case("C-2", FIRST, agent="103")
    over = {"state": "ended", "live_case": None, "live_agent": None, "ended_at": ledger.at(100)}
    await bench.accepted(other, FIRST, agent="103", **over)
    await bench.accepted(case_id, SECOND, **over)
    found = await around(bench, case_id)
    assert found.held == {FIRST: ledger.at(100) + timedelta(hours=1)}
    assert found.requests[FIRST] == [ledger.at(0)]


@pytest.mark.parametrize("known_as", ["agent_id", "agent_extension"])
async def test_an_agent_in_a_call_is_busy(bench: Any, known_as: str) -> None:
    await bench.case("C-1", FIRST, agent="102")
    await bench.case("C-2", SECOND, agent="103")
    await ringing(bench, "+15550001111", "102", known_as=known_as)
    rules = [(await bench.orders().dial(tenant="", code=code)).rule for code in ("C-1", "C-2")]
    assert rules == ["agent_busy", "first_untried"]


@pytest.mark.parametrize("known_as", ["agent_id", "agent_extension"])
@pytest.mark.parametrize(
    ("left", "rule"), [([None], "agent_busy"), ([110.0], "first_untried"), ([110.0, None], "agent_busy")]
)
async def test_an_agent_who_left_a_call_that_goes_on_is_free(
    bench: Any, known_as: str, left: list[float | None], rule: str
) -> None:
    await bench.case("C-1", FIRST, agent="102")
    said = {"state": "answered", "direction": "inbound", "started_at": 100.0, "external_number": "+15550001111"}
    its = {"role": "agent", "outcome": "answered", "offered_at": 100.0, "answered_at": 101.0, known_as: "102"}
    other = {"role": "transfer", "outcome": "answered", "offered_at": 110.0, "number": "103"}
    legs = {f"102/{at}": {**its, "left_at": at} for at in left} | {"103": other}
    await bench.store.write([ledger.item(ledger.message("in1", values=said, legs=legs), received=101)])
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == rule


async def test_a_person_in_a_call_is_in_a_call_of_their_tenant(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await ringing(bench, SECOND, "900")
    assert (await around(bench, case_id)).in_call == {SECOND}


async def test_a_person_is_in_the_call_that_waits_for_its_report(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=60))
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.call(await bench.accepted(case_id), disposition="answered")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    assert (await around(bench, case_id)).in_call == {FIRST}


async def test_a_entry_is_of_its_tenant(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    row = {"tenant": "", "match_key": FIRST, "source": "a registry", "checked_at": bench.clock.now}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(insert(do_not_call).values(row))
    assert (await around(bench, case_id)).do_not_call == {FIRST: None}


async def test_one_number_of_two_cases_is_requested_once_in_a_transaction(bench: Any) -> None:
    first = await bench.case("C-1", FIRST, agent="102")
    second = await bench.case("C-2", FIRST, agent="103")
    for code in ("C-1", "C-2"):
        assert (await bench.orders().dial(tenant="", code=code)).result == "next"
    assert await bench.claim() == [FIRST]
    states = sorted([(await bench.of_case(case_id))["state_reason"] for case_id in (first, second)])
    assert states == ["", "shared_number"]


async def called_in(bench: Any, key: str, number: str, *, before: timedelta, **values: Any) -> None:
    """A call that the person made, and that somebody answered, so long ago."""
    over = (bench.clock.now - before - ledger.START).total_seconds()
    said = {"direction": "inbound", "caller_number": number, "caller_e164": number, "agent_id": "900"}
    said |= {"disposition": "answered", "started_at": over - 60, "ended_at": over, "received": over + 1}
    await bench.call(key, number, **said | values)


async def test_a_conversation_that_the_person_began_is_one(bench: Any) -> None:
    bench.settings = replace(bench.settings, policy=Policy(contacted_cool_down=timedelta(days=7)))
    for code, number, agent in (("C-1", FIRST, "102"), ("C-2", SECOND, "103")):
        await bench.case(code, number, agent=agent)
    await called_in(bench, "in1", FIRST, before=timedelta(seconds=10))
    await called_in(bench, "in2", SECOND, before=timedelta(seconds=10), disposition="voicemail")
    await bench.decide()
    assert await bench.decisions() == [("contacted", "answered_elsewhere")]
    bench.pass_time(6 * 86_400)
    first, second = [await bench.orders().dial(tenant="", code=code) for code in ("C-1", "C-2")]
    assert (first.rule, first.due_at) == ("cool_down", ledger.at(100) + timedelta(days=7))
    assert second.rule == "first_untried"


async def test_a_conversation_of_before_the_case_was_made_is_none_about_it(bench: Any) -> None:
    bench.settings = replace(bench.settings, policy=Policy(contacted_cool_down=timedelta(days=7)))
    await bench.case("C-1", FIRST, created_at=ledger.at(105))
    await called_in(bench, "in1", FIRST, before=timedelta(seconds=10))
    await bench.decide()
    assert (await bench.orders().dial(tenant="", code="C-1")).rule == "first_untried"


@pytest.mark.parametrize("told", ["refused", "by its record"])
async def test_a_number_that_the_agents_absence_kept_from_ringing_is_not_held_for_other_cases(
    bench: Any, told: str
) -> None:
    for code, agent in (("C-1", "102"), ("C-2", "103")):
        await bench.case(code, FIRST, SECOND, agent=agent)
    await bench.orders().dial(tenant="", code="C-1")
    (claimed,) = await bench.dialling().claim(room={"crm": 1})
    if told == "refused":
        await bench.dialling().answered(claimed.order.attempt_id, Refused(refusal=Refusal.AGENT, detail="away"))
    else:
        await bench.call(claimed.order.attempt_id, disposition="not_dialled")
        await bench.decide()
    await bench.orders().dial(tenant="", code="C-2")
    assert await bench.claim() == [FIRST]


async def test_one_number_of_two_cases_is_requested_once_by_two_hubs(bench: Any) -> None:
    """Each hub claims another case, at the same moment: the second sees what the first requested."""
    numbers = [f"+23480391{place:05d}" for place in range(8)]
    decided = {"state": "decided", "requested_at": None, "decided_at": bench.clock.now}
    for place, number in enumerate(numbers):
        for dialler in ("crm", "two"):
            agent = f"{dialler}{place}"
            case_id = await bench.case(f"C-{agent}", number, agent=agent)
            await bench.accepted(case_id, number, agent=agent, dialler=dialler, **decided)
    for _ in numbers:
        await asyncio.gather(
            bench.dialling().claim(room={"crm": 1, "two": 0}), bench.dialling().claim(room={"crm": 0, "two": 1})
        )
    async with bench.store.database.connect() as connection:
        asked = select(attempts.c.match_key).where(attempts.c.state == "requested").order_by(attempts.c.match_key)
        assert list((await connection.execute(asked)).scalars()) == numbers
