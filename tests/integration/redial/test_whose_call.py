"""Whose call a call was, and what it may change then, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdrhub.model.dialling import Refusal, Refused
from cdrhub.redial.engine import Engine
from cdrhub.redial.policy import Policy
from support import ledger
from support.phone_systems import Systems

FIRST, SECOND = "+2348039100001", "+2348039100002"
INBOUND = {"direction": "inbound", "caller_number": FIRST, "caller_e164": FIRST, "agent_id": "105"}


async def carried(
    bench: Any,
    key: str,
    reference: str,
    *,
    tenant: str = "",
    disposition: str = "no_answer",
    linked_key: str | None = None,
) -> None:
    """A call of no number that anybody knows, which carries a reference."""
    said = {
        "state": "ended",
        "direction": "outbound",
        "disposition": disposition,
        "started_at": 60.0,
        "ended_at": 95.0,
        "callee_number": "+15550001111",
        "callee_e164": "+15550001111",
        "external_number": "+15550001111",
        "linked_key": linked_key,
    }
    body = ledger.message(key, values=said, attributes={"reference": reference}, final=True)
    await bench.store.write([replace(ledger.item(body, received=100), tenant=tenant)])
    await bench.decide()


async def test_a_reference_is_of_its_tenant(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await carried(bench, "k1", attempt_id, tenant="other", disposition="answered")
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    await carried(bench, "k2", attempt_id)
    assert (await bench.attempts(case_id))[0] == (FIRST, "ended", "no_answer")


async def test_a_call_that_an_attempt_was_transferred_to_is_not_its_end(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", "+15550001111", linked_key=attempt_id, agent_id="105")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]


@pytest.mark.parametrize(("disposition", "state"), [("no_answer", "dialling"), ("answered", "contacted")])
async def test_a_transfer_that_carries_its_reference_tells_only_that_they_were_reached(
    bench: Any, disposition: str, state: str
) -> None:
    """A colleague did not pick up, and the person is talking still."""
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await carried(bench, "k2", attempt_id, linked_key="k1", disposition=disposition)
    assert (await bench.of_case(case_id))["state"] == state
    assert await bench.claim() == []
    await carried(bench, "k1", attempt_id, linked_key="k1", disposition="answered")
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert [number for number, _, _ in await bench.attempts(case_id)] == [FIRST]


async def test_one_attempt_is_one_call(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await carried(bench, "k1", attempt_id)
    assert await bench.claim() == [SECOND]
    second = await bench.live_attempt(case_id)
    await carried(bench, "k2", attempt_id)
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "requested", None)]
    await carried(bench, "k3", second)
    assert (await bench.of_case(case_id))["state"] == "exhausted"
    results = [result for result, _ in await bench.decisions() if result != "nothing"]
    assert results == ["next", "exhausted"]


@pytest.mark.parametrize(("made", "state"), [(95, "contacted"), (96, "open")])
async def test_an_answer_before_the_case_was_made_says_nothing_of_it(bench: Any, made: int, state: str) -> None:
    case_id = await bench.case("C-1", FIRST, created_at=ledger.at(made))
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == state


@pytest.mark.parametrize(("seconds", "next_number"), [(300, SECOND), (301, FIRST)])
async def test_an_own_call_of_long_before_the_order_is_not_of_its_round(
    bench: Any, seconds: int, next_number: str
) -> None:
    """Its record was in suspense, or in a file that was read late."""
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    bench.clock.now = ledger.at(95 + seconds)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.call("k1", received=95 + seconds)
    await bench.decide()
    assert [*await bench.claim(), *await bench.claim()] == [next_number]
    assert (FIRST, "ended", "no_answer") in await bench.attempts(case_id)


@pytest.mark.parametrize("who", [INBOUND, {}], ids=["inbound", "own"])
@pytest.mark.parametrize(("hours", "state"), [(23, "contacted"), (25, "dialling")])
async def test_an_answer_of_days_before_the_order_says_nothing_of_it(
    bench: Any, who: dict[str, Any], hours: int, state: str
) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    bench.clock.now = ledger.at(95 + hours * 3600)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.call("k1", disposition="answered", received=95 + hours * 3600, **who)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == state


@pytest.mark.parametrize(
    ("started", "disposition", "state", "tried"),
    [
        (111.0, "failed", "waiting", False),  # what a 3CX writes down of a makecall without a route
        (114.0, "failed", "waiting", True),  # the agent tried it by hand
        (111.0, "answered", "contacted", True),
    ],
)
async def test_the_record_of_an_order_that_was_refused_is_no_call_of_the_agents_own(
    bench: Any, started: float, disposition: str, state: str, tried: bool
) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.claim()
    bench.pass_time(3)
    await bench.dialling().answered(
        await bench.live_attempt(case_id), Refused(refusal=Refusal.NETWORK, detail="no_route")
    )
    await bench.call("k1", disposition=disposition, started_at=started, ended_at=started + 1, received=116)
    bench.pass_time(10)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == state
    assert ((FIRST, "ended", disposition) in await bench.attempts(case_id)) is tried


async def test_the_record_of_a_refused_order_is_not_that_of_the_next_one(bench: Any) -> None:
    """It was refused after two seconds, and asked for again after ten."""
    bench.settings = replace(bench.settings, timing=replace(bench.settings.timing, agent_retry=timedelta(seconds=10)))
    case_id = await bench.case("C-1", FIRST, SECOND, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.claim()
    bench.pass_time(2)
    await bench.dialling().answered(await bench.live_attempt(case_id), Refused(refusal=Refusal.AGENT, detail="away"))
    bench.pass_time(10)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]
    await bench.call("k1", disposition="failed", started_at=110.0, ended_at=112.0, received=123)
    bench.pass_time(10)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "refused", None), (FIRST, "requested", None)]


@pytest.mark.parametrize(("made", "tried"), [(95, [(FIRST, "ended", "no_answer")]), (96, [])])
async def test_an_own_call_before_the_case_was_made_is_none_of_it(bench: Any, made: int, tried: list[Any]) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, created_at=ledger.at(made))
    await bench.call("k1")
    await bench.decide()
    assert await bench.attempts(case_id) == tried


@pytest.mark.parametrize(("made", "state"), [(95, "contacted"), (96, "open")])
async def test_an_own_answered_call_before_the_case_was_made_is_none_of_it(bench: Any, made: int, state: str) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND, created_at=ledger.at(made))
    await bench.call("k1", disposition="answered")
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == state


async def test_an_answer_counts_for_a_case_that_was_made_before_the_clock_was_set_back(bench: Any) -> None:
    ahead = await bench.case("C-1", FIRST, created_at=ledger.at(3_700))
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    assert (await bench.of_case(ahead))["state"] == "contacted"


@pytest.mark.parametrize("flag", ["clock_suspect", "time_ambiguous"])
async def test_an_answer_whose_time_is_in_doubt_counts_from_when_it_was_heard_of(bench: Any, flag: str) -> None:
    case_id = await bench.case("C-1", FIRST, created_at=ledger.at(96))
    await bench.call("in1", disposition="answered", flags=[flag], **INBOUND)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_a_number_rests_from_when_it_was_heard_of_where_the_time_is_in_doubt(bench: Any) -> None:
    bench.settings = replace(bench.settings, policy=Policy(between_numbers=timedelta(minutes=30)))
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call(attempt_id, started_at=-7_140.0, ended_at=-7_105.0, flags=["clock_suspect"])
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state_reason"], row["next_action_at"]) == ("cool_down", ledger.at(100) + timedelta(minutes=30))


async def test_a_source_whose_clock_is_wrong_puts_the_times_of_its_calls_in_doubt(bench: Any) -> None:
    """What is behind by an hour, and seems too old for it, is not."""
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call(attempt_id, started_at=-3_540.0, ended_at=-3_505.0)
    engine = Engine(
        database=bench.store.database,
        settings=bench.settings,
        clock=lambda: bench.clock.now,
        systems=Systems(wrong_clocks={"lagos"}),
    )
    await engine.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_what_is_added_to_an_answered_call_is_no_news(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    bench.pass_time(10)
    await bench.orders().dial(tenant="", code="C-1")
    await bench.store.write(
        [ledger.item(ledger.message("in1", "more", values={"recording_url": "https://x.example/1"}))]
    )
    bench.pass_time(10)
    await bench.decide()
    assert await bench.claim() == [FIRST]


async def test_the_own_call_of_an_agent_with_several_such_cases_is_of_none(bench: Any) -> None:
    first = await bench.case("C-1", FIRST)
    second = await bench.case("C-2", FIRST)
    await bench.call("k1")
    await bench.decide()
    assert (await bench.attempts(first), await bench.attempts(second)) == ([], [])


async def test_the_record_of_a_superseded_attempt_leaves_it_so(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("in1", disposition="answered", **INBOUND)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "superseded", None)]
    await bench.call("k1")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "superseded", "no_answer")]
    assert (await bench.of_case(case_id))["state"] == "contacted"
