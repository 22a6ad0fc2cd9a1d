"""What a replay tells of the calls it changed, on each database: as the engine would, and it never dials anybody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select

from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.redial.retelling import retell
from cdrhub.store.batch import Item, Reread
from cdrhub.store.event_tables import announcements
from cdrhub.store.outbox import SETTLED
from cdrhub.store.replay import CALLS_AT_ONCE, Difference, replay
from cdrhub.store.tables import outbox
from support import ledger

MANY = CALLS_AT_ONCE + 10
FIRST, SECOND = "+2348039100001", "+2348039100002"


def correcting(key: str, **values: Any) -> Reread:
    """A corrected decoder: the call of `key` has these values."""

    def reread(record: RawRecord) -> Item:
        got = ledger.reread(record)
        assert isinstance(got.outcome, CallUpdate)
        if got.outcome.call_key != key:
            return got
        return ledger.updated(got, values={**got.outcome.values, **values})

    return reread


def renaming(**keys: str) -> Reread:
    """A corrected decoder: records of the one call are of the other."""

    def reread(record: RawRecord) -> Item:
        got = ledger.reread(record)
        assert isinstance(got.outcome, CallUpdate)
        return ledger.updated(got, call_key=keys.get(got.outcome.call_key, got.outcome.call_key))

    return reread


async def replayed(bench: Any, how: Reread, *, announce: bool = True, dry_run: bool = False) -> list[Difference]:
    """What a replay of everything changes."""
    found = replay(bench.store, reread=how, announce=partial(retell, tell=announce), dry_run=dry_run)
    return [difference async for difference in found]


def events(found: list[Difference]) -> list[tuple[str, str | None]]:
    return [(one.call_key, one.event) for one in found]


async def public(bench: Any) -> list[Any]:
    """The public facts, in their order."""
    async with bench.store.database.connect() as connection:
        return list(await connection.execute(select(outbox).where(outbox.c.type != SETTLED).order_by(outbox.c.id)))


async def settled_facts(bench: Any) -> list[Any]:
    """What the engine would take."""
    async with bench.store.database.connect() as connection:
        return list(await connection.execute(select(outbox).where(outbox.c.type == SETTLED)))


async def settle(bench: Any) -> None:
    """Everything is told that is due, however long that takes."""
    bench.pass_time(600)
    await bench.decide()


async def test_a_change_is_told_once_with_the_columns_that_changed(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    corrected = correcting("k1", queue="sales", disposition="busy", trunk="9")
    dry = await replayed(bench, corrected, dry_run=True)
    assert events(dry) == [("k1", "call.corrected")]
    assert await bench.told() == ["call.ended"]
    assert await replayed(bench, corrected) == dry
    assert await bench.told() == ["call.ended", "call.corrected"]
    (_, told) = await public(bench)
    assert told.snapshot["changed"] == ["disposition", "queue"]
    assert (told.snapshot["disposition"], told.snapshot["revision"], told.revision) == ("busy", 2, 2)
    assert told.position is None
    assert await replayed(bench, corrected) == []
    bench.store.folding.redecode = lambda record: corrected(record).outcome
    await bench.store.write([ledger.item(ledger.message("k1", "more", attributes={"x": 1}))])
    await settle(bench)
    assert await bench.told() == ["call.ended", "call.corrected"]


async def test_what_was_told_by_a_replay_is_known_in_every_column(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    known = {"cost": Decimal("0.9"), "wait_seconds": 7, "started_at": ledger.at(59.5)}
    await replayed(bench, correcting("k1", **known))
    told = (await public(bench))[-1].snapshot
    assert told["changed"] == ["started_at", "wait_seconds", "cost"]
    assert isinstance(told["cost"], str), "a decimal is told as text, to the last digit"
    assert Decimal(told["cost"]) == Decimal("0.9")
    assert datetime.fromisoformat(told["started_at"]) == ledger.at(59.5)
    assert events(await replayed(bench, correcting("k1", **known, trunk="9"), dry_run=True)) == [("k1", None)]
    assert events(await replayed(bench, correcting("k1", **known, trunk="9"))) == [("k1", None)]
    await replayed(bench, correcting("k1", **known, queue="sales"))
    assert (await public(bench))[-1].snapshot["changed"] == ["queue"]


async def test_what_is_not_public_is_told_to_nobody(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    assert events(await replayed(bench, correcting("k1", trunk="9"))) == [("k1", None)]
    assert await bench.told() == ["call.ended"]


async def test_nobody_is_told_unless_it_is_asked_for(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    assert events(await replayed(bench, correcting("k1", queue="sales"), announce=False)) == [("k1", None)]
    assert await bench.told() == ["call.ended"]
    # The next correction names what is not known yet of the one before.
    await replayed(bench, correcting("k1", queue="sales", disposition="busy"))
    (_, told) = await public(bench)
    assert told.snapshot["changed"] == ["disposition", "queue"]


async def test_a_call_that_became_another_is_told_as_withdrawn_and_says_by_which(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    dry = await replayed(bench, renaming(k1="k"), dry_run=True)
    wet = await replayed(bench, renaming(k1="k"))
    assert events(dry) == events(wet) == [("k", "call.ended"), ("k1", "call.withdrawn")]
    heir = await ledger.call_of(bench.store, "k")
    told = await public(bench)
    assert [(one.type, one.snapshot["call_key"]) for one in told] == [
        ("call.ended", "k1"),
        ("call.ended", "k"),
        ("call.withdrawn", "k1"),
    ]
    assert told[-1].snapshot["replaced_by"] == heir["id"]
    assert told[-1].snapshot["state"] == "withdrawn"
    assert await replayed(bench, renaming(k1="k")) == []


async def test_a_call_that_is_none_any_more_is_told_as_withdrawn_once(bench: Any) -> None:
    def blind(record: RawRecord) -> Item:
        got = ledger.reread(record)
        return replace(got, outcome=Ignored(why="heartbeat"))

    await bench.call("k1")
    await settle(bench)
    found = await replayed(bench, blind)
    assert [(one.what, one.event) for one in found] == [("withdrawn", "call.withdrawn"), ("changed", None)]
    assert (await public(bench))[-1].snapshot["replaced_by"] is None


async def test_a_call_that_comes_back_is_corrected_in_its_state(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    await replayed(bench, renaming(k1="k"))
    assert events(await replayed(bench, ledger.reread)) == [("k1", "call.corrected"), ("k", "call.withdrawn")]
    back = (await public(bench))[-2]
    assert (back.snapshot["changed"], back.snapshot["state"]) == (["state"], "ended")
    await replayed(bench, renaming(k1="k"))
    told = [(one.type, one.snapshot["call_key"]) for one in await public(bench)]
    assert told[-2:] == [("call.corrected", "k"), ("call.withdrawn", "k1")]


async def test_a_call_that_is_withdrawn_in_silence_ends_once_all_the_same(bench: Any) -> None:
    await bench.call("k1")
    await settle(bench)
    await replayed(bench, renaming(k1="k"), announce=False)
    assert events(await replayed(bench, ledger.reread)) == [("k1", None), ("k", None)]
    assert await bench.told() == ["call.ended"]


async def test_of_a_call_that_lives_nothing_is_told_until_it_is_none(bench: Any) -> None:
    living = ledger.message("k1", "enter", values={"direction": "inbound", "started_at": 1.0})
    await bench.store.write([ledger.item(living)])
    assert events(await replayed(bench, correcting("k1", queue="sales"))) == [("k1", None)]
    assert events(await replayed(bench, renaming(k1="k"))) == [("k", None), ("k1", "call.withdrawn")]
    assert await bench.told() == ["call.started", "call.withdrawn"]
    await bench.store.write([ledger.item(ledger.message("k1", "end", values={"state": "ended", "ended_at": 9.0}))])
    await settle(bench)
    assert await bench.told() == ["call.started", "call.withdrawn", "call.ended"]


async def test_one_that_ended_after_all_is_told_as_ended_by_whom_nothing_follows(bench: Any) -> None:
    living = ledger.message("k1", "enter", values={"direction": "inbound", "started_at": 1.0})
    await bench.store.write([ledger.item(living)])
    corrected = correcting("k1", state="ended", ended_at=ledger.at(9))
    assert events(await replayed(bench, corrected)) == [("k1", "call.ended")]
    await settle(bench)
    assert await bench.told() == ["call.started", "call.ended"]


async def test_a_case_is_named_and_nothing_of_it_changes(bench: Any) -> None:
    case_id = await bench.case("C-1")
    attempt_id = await bench.accepted(case_id)
    await bench.call("k1", disposition="answered")
    await bench.decide()
    before = await bench.of_case(case_id), await bench.attempts(case_id), await bench.decisions()
    await replayed(bench, correcting("k1", disposition="no_answer"))
    await settle(bench)
    assert (await bench.of_case(case_id), await bench.attempts(case_id), await bench.decisions()) == before
    told = (await public(bench))[-1]
    assert (told.type, told.case_id) == ("call.corrected", case_id)
    assert told.snapshot["changed"] == ["disposition", "talk_seconds"]  # nobody talked, and that is known
    assert (told.snapshot["case_code"], told.snapshot["attempt_id"]) == ("C-1", attempt_id)
    assert (told.snapshot["reference"], told.snapshot["destination"]) == ("media-7", FIRST)


OF_THE_CASE = {"callee_number": FIRST, "callee_e164": FIRST, "external_number": FIRST, "agent_id": "102"}


@pytest.mark.parametrize("announce", [False, True])
async def test_nobody_is_dialled_though_the_case_would_go_on(bench: Any, announce: bool) -> None:
    """A case waits for its first call, which was read as another agent's to a stranger; replay reads it right."""
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1", "+2348099999999", agent_id="999")
    await bench.decide()
    found = await replayed(bench, correcting("k1", **OF_THE_CASE), announce=announce)
    assert events(found) == [("k1", "call.corrected" if announce else None)]
    assert await settled_facts(bench) == []
    done = await bench.decide()
    assert (done.settled, done.dial) == (0, False)
    assert await bench.claim() == []
    assert await bench.decisions() == []
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    assert await bench.told() == ["call.ended", *(["call.corrected"] if announce else [])]
    # The same call would have somebody dialled, if the engine were given it.
    call = await ledger.call_of(bench.store, "k1")
    fact = {"call_id": call["id"], "source": "lagos", "type": SETTLED, "revision": call["revision"]}
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(insert(outbox).values(**fact, due_at=bench.clock.now))
    assert (await bench.decide()).dial
    assert await bench.claim() == [SECOND]


@pytest.mark.parametrize("announce", [False, True])
async def test_who_was_reached_after_all_is_rung_no_more(bench: Any, announce: bool) -> None:
    case_id = await bench.case("C-1", FIRST, SECOND)
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.decide()
    found = await replayed(bench, correcting("k1", disposition="answered"), announce=announce)
    assert events(found) == [("k1", "call.corrected")]
    assert await bench.claim() == [], "they may be in that call still"
    assert await bench.decisions() == [("next", "first_untried"), ("scheduled", "number_in_call")]
    await bench.decide()
    assert (await bench.of_case(case_id))["state"] == "contacted"
    assert await bench.told() == [
        "call.hangup",
        "redial.requested",
        "redial.scheduled",
        "call.corrected",
        "case.contacted",
    ]


@pytest.mark.parametrize("announce", [False, True])
async def test_who_answered_a_call_of_no_attempt_after_all_is_rung_no_more(bench: Any, announce: bool) -> None:
    """Their call was read without their number, or as one that a machine answered."""
    for code, number, agent in (("C-1", FIRST, "102"), ("C-2", SECOND, "103")):
        await bench.case(code, number, agent=agent, state="waiting", next_action_at=ledger.at(7_000))
    inbound = {"direction": "inbound", "disposition": "ivr", "caller_number": FIRST, "caller_e164": FIRST}
    await bench.call("in1", "100", **inbound | {"external_number": FIRST})
    unread = {"disposition": "answered", "caller_number": "0803", "caller_e164": None}
    await bench.call("in2", "100", **inbound | unread)
    await bench.decide()
    assert await replayed(bench, correcting("in1", queue="sales"), announce=False) != []
    assert await settled_facts(bench) == []
    known = {"caller_number": SECOND, "caller_e164": SECOND, "external_number": SECOND}
    for key, values in (("in1", {"disposition": "answered"}), ("in2", known)):
        dry = await replayed(bench, correcting(key, **values), announce=announce, dry_run=True)
        found = await replayed(bench, correcting(key, **values), announce=announce)
        assert events(found) == events(dry)
        assert (key, "call.corrected") in events(found)
        await bench.decide()
    assert await bench.decisions() == [("contacted", "answered_elsewhere")] * 2


async def test_a_round_that_was_ordered_since_goes_on(bench: Any) -> None:
    case_id = await bench.case("C-1", FIRST)
    await bench.accepted(case_id)
    await bench.call("k1")
    await bench.decide()
    await bench.orders().dial(tenant="", code="C-1")
    await replayed(bench, correcting("k1", disposition="answered"))
    assert await settled_facts(bench) == []
    assert (await bench.of_case(case_id))["state"] == "dialling"


@pytest.mark.parametrize("announce", [False, True])
async def test_a_call_that_waits_for_its_decision_is_decided_and_told_by_that_alone(bench: Any, announce: bool) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    corrected = correcting("k1", queue="sales")
    dry = await replayed(bench, corrected, announce=announce, dry_run=True)
    assert await replayed(bench, corrected, announce=announce) == dry
    assert events(dry) == [("k1", None)]
    await replayed(bench, correcting("k1", queue="service"), announce=announce)
    await bench.decide()
    assert await bench.told() == ["call.hangup", "redial.requested"]
    assert (await public(bench))[0].snapshot["queue"] == "service"
    assert await bench.attempts(case_id) == [(FIRST, "ended", "no_answer"), (SECOND, "decided", None)]


async def test_one_that_waits_and_is_none_any_more_is_not_decided(bench: Any) -> None:
    case_id = await bench.case("C-1")
    await bench.accepted(case_id)
    await bench.call("k1")
    assert events(await replayed(bench, renaming(k1="k"))) == [("k", "call.ended"), ("k1", None)]
    await bench.decide()
    assert await bench.decisions() == []
    assert await bench.attempts(case_id) == [(FIRST, "accepted", None)]
    assert await bench.told() == ["call.ended"]


@pytest.mark.parametrize("announce", [False, True])
async def test_each_call_ends_once_though_it_is_decided_and_replayed_at_the_same_time(
    bench: Any, announce: bool
) -> None:
    def queued(record: RawRecord) -> Item:
        got = ledger.reread(record)
        assert isinstance(got.outcome, CallUpdate)
        return ledger.updated(got, values={**got.outcome.values, "queue": "sales"})

    await bench.store.write([ledger.item(ledger.ended(f"k{number}", number)) for number in range(20)])
    engine = bench.engine()
    await asyncio.gather(replayed(bench, queued, announce=announce), *(engine.decide(at_most=3) for _ in range(7)))
    await settle(bench)
    told = await public(bench)
    assert sorted(one.snapshot["call_key"] for one in told if one.type == "call.ended") == sorted(
        f"k{number}" for number in range(20)
    )
    if announce:
        last = {one.call_id: one.snapshot["queue"] for one in told}
        assert set(last.values()) == {"sales"}
    assert await settled_facts(bench) == []


async def test_many_calls_are_told_in_their_own_batches(bench: Any) -> None:
    def shout(record: RawRecord) -> Item:
        got = ledger.reread(record)
        assert isinstance(got.outcome, CallUpdate)
        return ledger.updated(got, values={**got.outcome.values, "caller_name": "ADA"})

    await bench.store.write([ledger.item(ledger.ended(f"k{number}", number)) for number in range(MANY)])
    await settle(bench)
    found = await replayed(bench, shout)
    assert {one.event for one in found} == {"call.corrected"}
    facts = [one for one in await public(bench) if one.type == "call.corrected"]
    assert len(found) == len({one.call_id for one in facts}) == len(facts) == MANY
    async with bench.store.database.connect() as connection:
        ends = [row.announced["end"] for row in await connection.execute(select(announcements))]
    assert ends == ["call.ended"] * MANY
