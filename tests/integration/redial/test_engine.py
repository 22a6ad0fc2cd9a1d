"""Settled calls through the engine, on each database: what is decided, written and told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, select

from cdrhub.redial.announced import announced
from cdrhub.redial.model import Reported
from cdrhub.redial.policy import Mode
from cdrhub.store.redial_tables import attempts, case_numbers
from cdrhub.store.tables import calls, outbox
from support import ledger

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


async def test_a_call_of_no_case_is_told_once(bench: Any) -> None:
    await bench.store.write([ledger.item(ledger.ended("k1"))])
    await bench.decide()
    await bench.decide()
    assert await bench.told() == ["call.ended"]
    async with bench.store.database.connect() as connection:
        call = (await connection.execute(select(calls))).one()
        assert (await announced(connection, [call.id]))[call.id]["end"] == "call.ended"
        left = (await connection.execute(select(outbox).where(outbox.c.type == "call.settled"))).all()
    assert left == []


async def test_what_waits_of_a_call_that_is_gone_is_done_with(bench: Any) -> None:
    await bench.call("k1")
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(delete(calls))
    engine = bench.engine()
    assert [(await engine.decide(at_most=1)).more for _ in range(2)] == [True, False]
    async with bench.store.database.connect() as connection:
        assert (await connection.execute(select(outbox))).all() == []


async def test_mode_off_tells_and_decides_nothing(bench: Any) -> None:
    bench.settings = replace(bench.settings, mode=Mode.OFF)
    case_id = await bench.case("C-1")
    await bench.call("k1")
    await bench.decide()
    assert await bench.told() == ["call.ended"]
    assert await bench.decisions() == []
    assert await bench.attempts(case_id) == []


async def test_an_attempt_ends_with_its_call_also_when_redial_is_off_by_then(bench: Any) -> None:
    on, bench.settings = bench.settings, replace(bench.settings, mode=Mode.OFF)
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer")]
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "redial_off")
    assert await bench.told() == ["call.ended", "case.paused"]
    bench.settings = on
    await bench.orders().resume(tenant="", code="C-1")
    assert await bench.claim() == [SECOND]


async def test_a_superseded_attempt_holds_its_number_no_longer_when_redial_is_on_again(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, round=0)
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.claim() == [FIRST]
    await bench.orders().stop(tenant="", code="C-1")
    on, bench.settings = bench.settings, replace(bench.settings, mode=Mode.OFF)
    await bench.call("k1", started_at=111.0, ended_at=120.0, received=121)
    bench.pass_time(12)
    await bench.decide()
    bench.settings = on
    await bench.orders().dial(tenant="", code="C-1")
    assert await bench.attempts(case_id) == [(FIRST, "superseded", "no_answer"), (FIRST, "decided", None)]


async def test_who_is_reached_while_redial_is_off_is_not_rung_when_it_is_on_again(bench: Any) -> None:
    on, bench.settings = bench.settings, replace(bench.settings, mode=Mode.OFF)
    dialled = await bench.case("C-1", FIRST)
    await bench.accepted(dialled)
    await bench.call("k1", disposition="answered")
    await bench.call("k2", THIRD)
    due_at = bench.clock.now + timedelta(minutes=1)
    waits = await bench.case("C-2", SECOND, agent="103", state="waiting", next_action_at=due_at, next_key=SECOND)
    await bench.call("in1", disposition="answered", direction="inbound", caller_number=SECOND, caller_e164=SECOND)
    await bench.decide()
    assert [(await bench.of_case(case_id))["state"] for case_id in (dialled, waits)] == ["contacted"] * 2
    assert await bench.attempts(dialled) == [(FIRST, "ended", "answered")]
    bench.settings = on
    bench.pass_time(61)
    assert await bench.dialling().due() == 0
    assert await bench.claim() == []


async def test_not_reached_dials_the_next_number(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    done = await bench.decide()
    assert done.dial
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]
    assert (await bench.of_case(case_id))["state"] == "dialling"
    assert await bench.told() == ["call.hangup", "redial.requested"]


async def test_many_cases_take_no_more_statements_than_two(bench: Any) -> None:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    counted = []
    for some in (range(1), range(1, 3), range(3, 11)):
        for n in some:
            first, second, agent = f"+23480391{n:05d}", f"+23480392{n:05d}", f"{200 + n}"
            case_id = await bench.case(f"C-{n}", first, second, agent=agent)
            await bench.accepted(case_id, first, agent=agent)
            await bench.call(f"k{n}", first, agent_id=agent)
        seen.clear()
        event.listen(Engine, "before_cursor_execute", note)
        try:
            done = await bench.decide()
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert done.results == {"next": len(some)}
        counted.append(len(seen))
    assert counted[0] <= counted[1] == counted[2]


async def test_reached_is_contacted(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", disposition="answered")
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert await bench.told() == ["call.ended", "case.contacted"]


async def test_the_last_number_exhausts(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST)
    await bench.accepted(case_id)
    await bench.call("k1", disposition="busy")
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "exhausted"
    assert await bench.told() == ["call.ended", "case.exhausted"]


async def test_observe_explains_and_dials_nothing(bench: Any) -> None:
    bench.settings = replace(bench.settings, mode=Mode.OBSERVE)
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    done = await bench.decide()
    assert not done.dial
    assert await bench.decisions() == [("next", "first_untried")]
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "observed")
    assert await bench.told() == ["call.ended", "case.paused"]
    async with bench.store.database.connect() as connection:
        told = await connection.scalar(select(outbox.c.snapshot).where(outbox.c.type == "case.paused"))
    assert (told["rule"], told["reason"]) == ("first_untried", "observed")


async def test_an_answer_elsewhere_cancels_what_is_pending(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id, SECOND, state="decided", requested_at=None)
    await bench.call("in1", disposition="answered", direction="inbound", caller_number=FIRST, caller_e164=FIRST)
    await bench.decide()
    assert await bench.attempts(case_id) == [(SECOND, "cancelled", None)]
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_what_is_decided_and_cancelled_in_one_transaction_leaves_nothing_live(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.call(
        "in1", disposition="answered", direction="inbound", caller_number=THIRD, caller_e164=THIRD, ended_at=96.0
    )
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "cancelled", None)]
    assert (await bench.of_case(case_id))["state"] == "contacted"
    async with bench.store.database.connect() as connection:
        live = await connection.execute(select(attempts.c.live_case, attempts.c.live_agent))
        assert {tuple(row) for row in live} == {(None, None)}


async def test_an_answer_that_may_be_of_several_cases_pauses_them(bench: Any) -> None:
    first = await bench.case("C-1", FIRST)
    second = await bench.case("C-2", FIRST, SECOND)
    await bench.call("in1", disposition="answered", direction="inbound", caller_number=FIRST, caller_e164=FIRST)
    await bench.decide()
    states = [(await bench.of_case(case_id))["state_reason"] for case_id in (first, second)]
    assert states == ["ambiguous", "ambiguous"]
    told = await bench.told()
    assert sorted(told) == ["call.ended", "case.paused", "case.paused"]
    await bench.call("in2", disposition="answered", direction="inbound", caller_number=FIRST, caller_e164=FIRST)
    await bench.decide()
    assert await bench.told() == [*told, "call.ended"]
    assert await bench.decisions() == [("paused", "shared_number")] * 2 + [("nothing", "shared_number")] * 2


async def test_another_tenant_is_not_touched(bench: Any) -> None:
    case_id = await bench.case("C-1", tenant="other")
    await bench.call("in1", disposition="answered", direction="inbound", caller_number=FIRST, caller_e164=FIRST)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "open"


async def test_old_news_pauses(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    bench.clock.now = ledger.at(95 + 301)
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "late")
    assert await bench.told() == ["call.ended", "case.paused"]


@pytest.mark.parametrize("flag", ["end_unseen", "answer_unseen"])
async def test_a_call_of_which_an_event_was_lost_pauses_until_a_person_was_asked(bench: Any, flag: str) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1", flags=[flag])
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "attempt_unknown")
    assert await bench.told() == ["call.ended", "case.paused"]
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer")]


async def test_an_agents_own_call_counts_as_tried(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.call("k1")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer")]
    assert await bench.decisions() == [("nothing", "agents_own_call")]
    assert await bench.told() == ["call.ended"]
    async with bench.store.database.connect() as connection:
        own = await connection.scalar(select(attempts.c.id))
        call = (await connection.execute(select(calls.c.case_id, calls.c.attempt_id))).one()
        snapshot = await connection.scalar(select(outbox.c.snapshot))
    assert call == (case_id, own)
    assert (snapshot["case_id"], snapshot["attempt_id"]) == (case_id, own)


async def test_an_agents_own_call_is_no_end_of_a_case_that_goes_on(bench: Any) -> None:
    await bench.accepted(await bench.case("C-1", FIRST, SECOND))
    await bench.call("k1", SECOND)
    await bench.decide()
    assert await bench.decisions() == [("nothing", "agents_own_call")]
    assert await bench.told() == ["call.hangup"]


async def test_a_later_record_that_changes_nothing_tells_nothing(bench: Any) -> None:
    await bench.call("k1")
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", attributes={"x": 1}))])
    bench.clock.now = ledger.at(300)
    await bench.decide()
    assert await bench.told() == ["call.ended"]


async def test_a_later_record_that_changes_a_column_is_told_by_name(bench: Any) -> None:
    await bench.call("k1")
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", values={"queue": "sales"}))])
    bench.clock.now = ledger.at(300)
    await bench.decide()
    assert await bench.told() == ["call.ended", "call.corrected"]
    async with bench.store.database.connect() as connection:
        snapshot = await connection.scalar(select(outbox.c.snapshot).where(outbox.c.type == "call.corrected"))
    assert snapshot["changed"] == ["queue"]


async def test_a_later_record_that_reaches_cancels_the_next(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", values={"disposition": "answered"}))])
    bench.clock.now = ledger.at(300)
    await bench.decide()
    assert [state for _, state, _ in await bench.attempts(case_id)] == ["ended", "cancelled"]
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert await bench.told() == ["call.hangup", "redial.requested", "call.corrected", "case.contacted"]


async def test_two_hubs_decide_each_call_once(bench: Any) -> None:
    ids = [await bench.case(f"C-{n}", f"+23480391{n:05d}", f"+23480392{n:05d}", agent=f"a{n}") for n in range(40)]
    for n, case_id in enumerate(ids):
        await bench.accepted(case_id, f"+23480391{n:05d}", agent=f"a{n}")
        await bench.call(f"k{n}", f"+23480391{n:05d}", agent_id=f"a{n}")
    await asyncio.gather(*(bench.decide() for _ in range(4)))
    assert (await bench.told()).count("call.hangup") == 40
    for case_id in ids:
        assert [state for _, state, _ in await bench.attempts(case_id)] == ["ended", "decided"]


@pytest.mark.parametrize("carried", ["contact_ref", "attributes"])
async def test_a_reference_decides_outside_of_every_window(bench: Any, carried: str) -> None:
    case_id = await bench.case("C-1")
    attempt_id = await bench.accepted(case_id)
    late = {"started_at": 60.0 + 5000, "ended_at": 95.0 + 5000}
    if carried == "contact_ref":
        await bench.call("k1", received=5100, contact_ref=f"C-1~{attempt_id}", **late)
    else:
        said = {"state": "ended", "direction": "outbound", "disposition": "busy", "callee_e164": FIRST, **late}
        body = ledger.message("k1", values=said, attributes={"userdata": f"cdrhub-{attempt_id}"}, final=True)
        await bench.store.write([ledger.item(body, received=5100)])
    bench.clock.now = ledger.at(5100)
    await bench.decide()
    assert (await bench.attempts(case_id))[-1] == (SECOND, "decided", None)


async def test_one_agent_gets_one_attempt_of_a_transaction(bench: Any) -> None:
    ids = [await bench.case(f"C-{n}", f"+23480391{n:05d}", f"+23480392{n:05d}") for n in range(3)]
    for n, case_id in enumerate(ids):
        await bench.accepted(case_id, f"+23480391{n:05d}", agent="", live_agent=None)
        await bench.call(f"k{n}", f"+23480391{n:05d}")
    await bench.decide()
    states = sorted([(await bench.of_case(case_id))["state"] for case_id in ids])
    assert states == ["dialling", "waiting", "waiting"]


async def test_a_record_that_did_not_come_live_dials_nobody(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", ended_at=None, live=False)
    await bench.decide()
    assert (await bench.of_case(case_id))["state_reason"] == "late"


async def test_an_end_that_was_only_inferred_dials_nobody(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", ended_at=None, flags=["end_inferred"])
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "attempt_unknown")


async def test_a_call_whose_second_leg_never_came_dials_nobody(bench: Any) -> None:
    """The next number was dialled a minute after a conversation, where Voicenter pushed leg 2 again later than that."""
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1", disposition="unknown", flags=["end_inferred"])
    await bench.decide()
    row = await bench.of_case(case_id)
    assert (row["state"], row["state_reason"]) == ("paused", "attempt_unknown")
    await bench.call("k1", disposition="answered", received=110)
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_an_end_that_was_inferred_from_all_that_was_seen_leads_on(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1", disposition="no_answer", flags=["end_inferred"])
    await bench.decide()
    assert (await bench.attempts(case_id))[-1] == (SECOND, "decided", None)


async def test_what_is_told_of_a_case_says_how_its_call_ended(bench: Any) -> None:
    case_id = await bench.case("C-1", "+2348039100001", "+2348039100002")
    await bench.accepted(case_id)
    await bench.call("k1", disposition="busy")
    await bench.decide()
    async with bench.store.database.connect() as connection:
        query = select(outbox.c.type, outbox.c.snapshot).where(outbox.c.case_id == case_id).order_by(outbox.c.id)
        (hangup, ended), (requested, next_one) = (await connection.execute(query)).all()
    assert (hangup, ended["disposition"], requested) == ("call.hangup", "busy", "redial.requested")
    assert "disposition" not in next_one  # the new attempt has no call yet
    await bench.orders().stop(tenant="", code="C-1")
    other = await bench.case("C-2", "+2348039100003")
    await bench.accepted(other, "+2348039100003")
    await bench.call("k2", "+2348039100003", disposition="busy")
    await bench.decide()
    async with bench.store.database.connect() as connection:
        query = select(outbox.c.snapshot).where(outbox.c.case_id == other, outbox.c.type == "case.exhausted")
        exhausted = await connection.scalar(query)
    assert exhausted["disposition"] == "busy"
    assert exhausted["ended_at"] == ledger.at(95).isoformat()
    assert exhausted["answered_at"] is None


async def test_another_call_of_an_attempt_is_not_the_agents_own(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", contact_ref=attempt_id)
    await bench.decide()
    await bench.call("k2", contact_ref=attempt_id)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]
    assert (await bench.decisions())[-1] == ("nothing", "decided_before")
    assert (await bench.told()).count("call.hangup") == 2


async def test_another_call_of_an_attempt_may_tell_that_the_person_was_reached(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", contact_ref=attempt_id)
    await bench.decide()
    await bench.call("k2", contact_ref=attempt_id, disposition="answered")
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "answered"), (SECOND, "cancelled", None)]
    assert (await bench.of_case(case_id))["state"] == "contacted"


async def test_another_call_that_rang_the_number_counts_as_tried(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", contact_ref=attempt_id, disposition="not_dialled")
    await bench.decide()
    await bench.call("k2", contact_ref=attempt_id, disposition="busy")
    await bench.decide()
    bench.pass_time(61)
    await bench.dialling().due()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "busy"), (SECOND, "decided", None)]


async def test_calls_are_decided_in_the_order_in_which_they_ended(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST)
    await bench.call("k2", disposition="busy", ended_at=95.0)
    await bench.call("k1", started_at=30.0, ended_at=60.0, received=101)
    await bench.decide()
    assert [outcome for _, _, outcome in await bench.attempts(case_id)] == ["no_answer", "busy"]
    async with bench.store.database.connect() as connection:
        assert await connection.scalar(select(case_numbers.c.last_disposition)) == "busy"


async def test_two_calls_of_an_attempt_in_one_transaction_wait_for_one_report(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=60))
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", contact_ref=attempt_id)
    await bench.call("k2", contact_ref=attempt_id)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    bench.pass_time(60)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_a_call_that_waited_for_its_report_keeps_the_next_number_waiting_no_longer(bench: Any) -> None:
    bench.settings = replace(bench.settings, result_wait=timedelta(seconds=60))
    case_id = await bench.case("C-1", FIRST, SECOND)
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", contact_ref=attempt_id, disposition="answered")
    await bench.decide()
    await bench.orders().report(tenant="", attempt_id=attempt_id, result=Reported.WRONG_PARTY)
    assert await bench.claim() == [SECOND]
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "unknown"), (SECOND, "requested", None)]


async def test_a_later_record_that_says_that_the_number_rang_after_all_dials_nobody(bench: Any) -> None:
    """Until then the number was not tried, and was dialled again."""
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1", disposition="not_dialled")
    await bench.decide()
    bench.pass_time(61)
    await bench.dialling().due()
    assert await bench.claim() == [FIRST]
    await bench.store.write([ledger.item(ledger.message("k1", "more", values={"disposition": "voicemail"}))])
    bench.clock.now = ledger.at(300)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "voicemail"), (FIRST, "requested", None)]


async def test_a_later_record_of_an_agents_own_call_dials_nobody(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.call("k1")
    await bench.decide()
    await bench.store.write([ledger.item(ledger.message("k1", "more", attributes={"x": 1}))])
    bench.clock.now = ledger.at(300)
    await bench.decide()
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer")]
