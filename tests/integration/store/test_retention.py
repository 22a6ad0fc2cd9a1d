"""Retention on every engine: bodies go, calls stay; what comes late completes a sealed call and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import insert

from cdrhub.store import Store, request_keys, suspense
from cdrhub.store.event_tables import deliveries, webhook_endpoints
from cdrhub.store.event_tables import request_keys as kept_answers
from cdrhub.store.tables import call_legs, calls, outbox, records, unopened
from support.ledger import at, batches, call_of, count, ended, item, message, reread, rows, story

DAY = 86_400.0


@dataclass(frozen=True)
class Limits:
    """Days."""

    raw_days: int = 0
    facts_days: int = 0


async def test_bodies_of_old_records_are_emptied(store: Store) -> None:
    await store.write([item(ended("old"), received=0.0), item(ended("new", 1), received=9 * DAY)])
    done = await store.apply_retention(Limits(raw_days=5), now=at(10 * DAY))
    assert (done.bodies, done.facts) == (1, 0)
    bodies = {row["digest"]: row["body"] for row in await rows(store, records)}
    assert sorted(body is None for body in bodies.values()) == [False, True]
    assert await count(store, calls) == 2
    assert (await store.write([item(ended("old"))])).duplicates == 1


async def test_zero_days_is_for_ever(store: Store) -> None:
    await store.write([item(ended("old"), received=0.0)])
    done = await store.apply_retention(Limits(), now=at(10_000 * DAY))
    assert (done.bodies, done.facts) == (0, 0)


async def test_records_in_suspense_keep_their_bodies(store: Store) -> None:
    await store.write([item(b"garbage", received=0.0), item(ended("k"), received=0.0)])
    assert (await store.apply_retention(Limits(raw_days=1), now=at(10 * DAY))).bodies == 1
    (kept,) = [row for row in await rows(store, records) if row["state"] == "suspended"]
    assert kept["body"] == b"garbage"


async def test_what_is_repaired_later_is_emptied_then(store: Store) -> None:
    await store.write([item(b"garbage", received=0.0), item(b"rubbish", received=0.0), item(ended("k"), received=0.0)])
    limits = Limits(raw_days=1)
    assert (await store.apply_retention(limits, now=at(10 * DAY))).bodies == 1
    assert (await store.apply_retention(limits, now=at(11 * DAY))).bodies == 0
    repaired, left = [row.id for row in await suspense.listed(store)]
    await suspense.edit(store, repaired, ended("mended", 1), actor="Ngozi")
    await suspense.replay(store, [repaired, left], reread=reread, actor="Ngozi")
    assert (await store.apply_retention(limits, now=at(12 * DAY))).bodies == 1
    await suspense.discard(store, [left], actor="Ngozi", why="noise")
    assert (await store.apply_retention(limits, now=at(13 * DAY))).bodies == 1
    assert {(row["body"], row["repaired_body"]) for row in await rows(store, records)} == {(None, None)}
    assert await count(store, calls) == 2


async def test_what_is_repaired_is_kept_as_long_as_any_other(store: Store) -> None:
    await store.write([item(ended("old"), received=0.0), item(b"garbage", received=8 * DAY)])
    (young,) = [row.id for row in await suspense.listed(store)]
    await suspense.edit(store, young, ended("mended", 1), actor="Ngozi")
    await suspense.replay(store, [young], reread=reread, actor="Ngozi")
    assert (await store.apply_retention(Limits(raw_days=5), now=at(10 * DAY))).bodies == 1
    assert (await store.apply_retention(Limits(raw_days=5), now=at(14 * DAY))).bodies == 1


async def test_runs_go_on_where_the_last_one_stopped(store: Store) -> None:
    items = [item(ended(f"k{n}", n), received=n * 60.0) for n in range(3000)]
    for batch in batches(items, 500):
        await store.write(batch)
    half = 1500 * 60.0
    assert (await store.apply_retention(Limits(raw_days=1), now=at(half + DAY))).bodies == 1500
    assert (await store.apply_retention(Limits(raw_days=1), now=at(half + DAY))).bodies == 0
    assert (await store.apply_retention(Limits(raw_days=1), now=at(3000 * 60 + DAY))).bodies == 1500
    assert {row["body"] for row in await rows(store, records)} == {None}


async def told(store: Store, *positions: int, at_second: float = 0.0) -> None:
    """Public facts at these places of the log."""
    fact = {"source": "lagos", "type": "source.blind", "revision": 0, "due_at": at(at_second), "snapshot": {}}
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(outbox), [{**fact, "position": position} for position in positions])


async def webhook(store: Store, name: str, *, cursor: int, state: str = "healthy", seen: float = 30 * DAY) -> None:
    """A webhook that was delivered to up to `cursor`, last at second `seen`."""
    values = {"name": name, "cursor": cursor, "state": state, "attempt": 0, "updated_at": at(seen)}
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(webhook_endpoints).values(values))


async def places(store: Store) -> list[int | None]:
    """The places that are taken, in order; None for what is not told yet."""
    return [row["position"] for row in await rows(store, outbox)]


async def test_old_facts_are_purged_but_the_newest_and_what_is_not_told(store: Store) -> None:
    await store.write([item(ended("a"))])
    await told(store, 1, 2, 3)
    await told(store, 4, at_second=10 * DAY)
    assert (await store.apply_retention(Limits(facts_days=30), now=at(5 * DAY))).facts == 0
    assert (await store.apply_retention(Limits(facts_days=1), now=at(5 * DAY))).facts == 3
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 0
    assert await places(store) == [None, 4]


async def test_facts_wait_for_every_webhook_that_is_delivered_to(store: Store) -> None:
    await told(store, 1, 2, 3, 4)
    await webhook(store, "slow", cursor=2)
    await webhook(store, "disabled", cursor=0, state="disabled")
    await webhook(store, "taken-out", cursor=1, seen=20 * DAY)
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 2
    assert await places(store) == [3, 4]


async def test_the_newest_fact_stays_also_where_every_webhook_had_it(store: Store) -> None:
    await told(store, 1, 2, 3)
    await webhook(store, "quick", cursor=3)
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 2
    assert await places(store) == [3]


async def test_many_facts_are_purged_in_steps_with_what_is_remembered_of_them(store: Store) -> None:
    await told(store, *range(1, 2_502))
    refused = {"endpoint": "crm", "state": "refused", "attempts": 1, "updated_at": at(0)}
    async with store.database.connect(writing=True) as connection:
        await connection.execute(insert(deliveries), [{**refused, "position": place} for place in (7, 2_501)])
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 2_500
    assert await places(store) == [2_501]
    assert [row["position"] for row in await rows(store, deliveries)] == [2_501]


async def test_the_log_has_no_holes_whatever_the_clocks_of_hubs_said(store: Store) -> None:
    """A reader that goes on at 3 would not learn that 4 is missing, were 5 purged and 3 not."""
    await told(store, 1, 2)
    await told(store, 3, at_second=29.5 * DAY)  # a hub whose clock is ahead of the next one's
    await told(store, 4, 5, 6)
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 2
    assert await places(store) == [3, 4, 5, 6]
    assert (await store.apply_retention(Limits(facts_days=1), now=at(31 * DAY))).facts == 3


async def test_a_fact_from_the_future_does_not_keep_the_log_for_ever(store: Store) -> None:
    await told(store, 1)
    await told(store, 2, at_second=10_000 * DAY)
    await told(store, 3, 4)
    assert (await store.apply_retention(Limits(facts_days=1), now=at(30 * DAY))).facts == 3
    assert await places(store) == [4]


@pytest.mark.parametrize("remembered", [0, 1000])
async def test_late_records_fill_what_is_empty(store_url: str, store: Store, remembered: int) -> None:
    writer = Store.open(store_url, redecode=store.folding.redecode, remembered=remembered)
    enter, ring, answer, bye, _ = story("k")
    await writer.write([item(body, received=0.0) for body in (enter, ring, answer, bye)])
    await writer.apply_retention(Limits(raw_days=1), now=at(10 * DAY))
    before = await call_of(store, "k")
    legs = await rows(store, call_legs)
    late = message(
        "k", "late", values={"trunk": "7", "caller_e164": "+15550100", "started_at": 0.0}, attributes={"x": 1}
    )
    await writer.write([item(late, received=10 * DAY)])
    await writer.close()
    after = await call_of(store, "k")
    assert (after["trunk"], after["flags"], after["attributes"]) == ("7", ["late"], {"x": 1})
    assert (after["caller_e164"], after["started_at"]) == (before["caller_e164"], before["started_at"])
    assert (after["record_count"], after["revision"], after["id"]) == (5, before["revision"] + 1, before["id"])
    assert after["sort_at"] == before["sort_at"]
    assert after["last_received_at"] == at(10 * DAY)
    assert await rows(store, call_legs) == legs
    assert {row["call_id"] for row in await rows(store, records)} == {before["id"]}


@pytest.mark.parametrize("known", [None, "https://pbx.example/1.mp3"])
async def test_a_recording_that_comes_late_is_announced_and_replaces_none(store: Store, known: str | None) -> None:
    said = {"started_at": 0.0} | ({"recording_url": known} if known else {})
    await store.write([item(message("k", values=said), received=0.0)])
    await store.apply_retention(Limits(raw_days=1), now=at(10 * DAY))
    late = "https://pbx.example/2.mp3"
    await store.write([item(message("k", "late", values={"recording_url": late}), received=10 * DAY)])
    call = await call_of(store, "k")
    assert (call["recording_url"], call["recording_state"], call["flags"]) == (known or late, "announced", ["late"])


async def test_what_completes_a_sealed_call_is_told(store: Store) -> None:
    await store.write([item(ended("k"), received=0.0)])
    await store.apply_retention(Limits(raw_days=1), now=at(10 * DAY))
    await store.write([item(message("k", "late", values={"trunk": "7"}), received=10 * DAY)])
    facts = [(row["type"], row["revision"]) for row in await rows(store, outbox)]
    assert facts == [("call.settled", 1), ("call.settled", 2)]


async def test_a_sealed_call_that_gets_two_late_records(store: Store) -> None:
    await store.write([item(message("k", values={"started_at": 0.0}), received=0.0)])
    await store.apply_retention(Limits(raw_days=1), now=at(10 * DAY))
    for number, trunk in enumerate(["7", "8"]):
        await store.write([item(message("k", f"late{number}", values={"trunk": trunk}), received=10 * DAY)])
    call = await call_of(store, "k")
    assert (call["trunk"], call["record_count"], call["flags"]) == ("7", 3, ["late"])


async def test_answers_to_repeated_requests_are_forgotten_whatever_is_kept_for_ever(store: Store) -> None:
    async with store.database.connect(writing=True) as connection:
        await request_keys.take(connection, "order-7", tenant="", digest=b"d" * 16, at=at(0))
    for seconds, left in ((request_keys.KEPT_DAYS * DAY - 1, 1), (request_keys.KEPT_DAYS * DAY + 1, 0)):
        await store.apply_retention(Limits(), now=at(seconds))
        assert await count(store, kept_answers) == left


async def test_records_that_opened_nothing_are_forgotten(store: Store) -> None:
    await store.write([item(message("k", "agent", opens=False), received=0.0)])
    later = store.clock().replace(year=store.clock().year + 1)
    await store.apply_retention(Limits(raw_days=1), now=later)
    assert await count(store, unopened) == 0
    assert await count(store, records) == 1
