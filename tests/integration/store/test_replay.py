"""Replay on every engine: a corrected decoder over old records."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.record import DIGEST_BYTES, RawRecord
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.store import Store
from cdrhub.store.batch import Item, Outcome, Reread
from cdrhub.store.folding import new_call_id
from cdrhub.store.replay import CALLS_AT_ONCE, Difference, replay
from cdrhub.store.retention import Retained
from cdrhub.store.tables import call_legs, calls, outbox, records
from cdrhub.store.transaction import Transaction
from support.ledger import at, call_of, count, decode, ended, item, message, reread, rows, settled_rows, story, updated
from support.locks import waits_for_a_lock


async def differences(
    store: Store, how: Reread = reread, *, dry_run: bool = False, **chosen: object
) -> list[Difference]:
    """All differences of a replay."""
    return [found async for found in replay(store, reread=how, dry_run=dry_run, **chosen)]  # type: ignore[arg-type]


def shouting(record: RawRecord) -> Item:
    """A corrected decoder: names of callers are upper case."""
    got = reread(record)
    if not isinstance(got.outcome, CallUpdate) or "caller_name" not in got.outcome.values:
        return got
    return updated(got, values={**got.outcome.values, "caller_name": got.outcome.values["caller_name"].upper()})


def joining(record: RawRecord) -> Item:
    """A corrected decoder: keys that differ in their last character only are one call."""
    got = reread(record)
    assert isinstance(got.outcome, CallUpdate)
    return updated(got, call_key=got.outcome.call_key[:-1])


@pytest.fixture
async def told(store: Store) -> Store:
    """A store with calls of both sorts."""
    items = [item(ended(f"one{n}", n, caller_name=f"Name {n}")) for n in range(30)]
    items += [item(body) for n in range(10) for body in story(f"many{n}", n)]
    random.Random(2).shuffle(items)
    await store.write(items)
    return store


async def test_the_same_decoder_finds_nothing_and_touches_nothing(told: Store) -> None:
    before = await rows(told, calls), await rows(told, records), await rows(told, outbox)
    assert await differences(told) == []
    assert before == (await rows(told, calls), await rows(told, records), await rows(told, outbox))


async def test_a_dry_run_shows_the_differences_and_writes_nothing(told: Store) -> None:
    before = await rows(told, calls)
    found = await differences(told, shouting, dry_run=True)
    assert len(found) == 30
    assert {name for one in found for name in one.fields} == {"caller_name"}
    by_key = {one.call_key: one for one in found}
    assert by_key["one7"].fields["caller_name"] == ("Name 7", "NAME 7")
    assert {one.what for one in found} == {"changed"}
    assert await rows(told, calls) == before


async def test_replaying_twice_finds_nothing_the_second_time(told: Store) -> None:
    dry = await differences(told, shouting, dry_run=True)
    wet = await differences(told, shouting)
    assert dry == wet
    assert await differences(told, shouting) == []
    call = await call_of(told, "one7")
    assert (call["caller_name"], call["revision"], call["record_count"]) == ("NAME 7", 2, 1)


async def test_nobody_is_told(told: Store) -> None:
    before = await rows(told, outbox)
    found = await differences(told, shouting)
    changed = {one.call_id for one in found}
    # What waits to be decided goes on waiting, as of the calls' new revision.
    assert await rows(told, outbox) == [
        {**row, "revision": 2} if row["call_id"] in changed and row["type"] == "call.settled" else row for row in before
    ]
    assert {one.event for one in found} == {None}


async def test_attached_columns_stay(told: Store) -> None:
    case = "01981f7e-0000-7000-8000-000000000001"
    async with told.database.connect(writing=True) as connection:
        await connection.execute(calls.update().values(case_id=case))
    await differences(told, shouting)
    call = await call_of(told, "one7")
    assert (call["case_id"], call["caller_name"]) == (case, "NAME 7")


async def test_records_of_a_source_that_was_taken_out_stay_in_their_calls(told: Store) -> None:
    def taken_out(record: RawRecord) -> Item:
        return replace(shouting(record), owner="other", tenant="other", system="", configured=False)

    before = {row["id"]: (row["source"], row["system"], row["tenant"]) for row in await rows(told, calls)}
    assert {difference.what for difference in await differences(told, taken_out)} == {"changed"}
    assert {row["id"]: (row["source"], row["system"], row["tenant"]) for row in await rows(told, calls)} == before


async def test_only_the_chosen_records_are_replayed(store: Store) -> None:
    await store.write(
        [item(ended("a", caller_name="x"), received=10.0), item(ended("b", 1, caller_name="y"), received=20.0)]
    )
    await store.write([item(ended("c", 2, caller_name="z"), received=20.0, source="abuja")])
    edge = at(20)
    assert [one.call_key for one in await differences(store, shouting, dry_run=True, until=edge)] == ["a"]
    assert [one.call_key for one in await differences(store, shouting, dry_run=True, since=edge, source="lagos")] == [
        "b"
    ]
    assert len(await differences(store, shouting, dry_run=True, since=edge)) == 2
    assert await differences(store, shouting, dry_run=True, since=edge + timedelta(seconds=1)) == []


async def test_a_call_is_folded_from_all_its_records_though_one_was_chosen(store: Store) -> None:
    bodies = story("k")
    await store.write([item(body, received=float(n)) for n, body in enumerate(bodies)])
    assert await differences(store, since=at(4)) == []
    assert (await call_of(store, "k"))["record_count"] == 5


async def test_records_move_to_another_call(store: Store) -> None:
    halves = [
        message("k1", values={"started_at": 1.0, "caller_name": "Ada"}, legs={"a": {"role": "agent"}}),
        message("k2", "end", values={"ended_at": 61.0, "state": "ended"}, legs={"b": {"role": "agent"}}),
    ]
    for half in halves:
        await store.write([item(half)])
    dry = await differences(store, joining, dry_run=True)
    wet = await differences(store, joining)
    assert [(one.what, one.call_key) for one in dry] == [(one.what, one.call_key) for one in wet]
    assert sorted((one.what, one.call_key) for one in wet) == [
        ("created", "k"),
        ("withdrawn", "k1"),
        ("withdrawn", "k2"),
    ]
    call = await call_of(store, "k")
    assert (call["caller_name"], call["duration_seconds"], call["record_count"]) == ("Ada", 60, 2)
    for key in ("k1", "k2"):
        gone = await call_of(store, key)
        assert (gone["state"], gone["replaced_by"], gone["record_count"]) == ("withdrawn", call["id"], 0)
    assert {row["call_id"] for row in await rows(store, records)} == {call["id"]}
    assert {row["leg_key"] for row in await rows(store, call_legs) if row["call_id"] == call["id"]} == {"a", "b"}
    assert await differences(store, joining) == []


async def test_records_move_back_again(store: Store) -> None:
    await store.write([item(ended("k1", 1)), item(ended("k2", 2))])
    before = await settled_rows(store)
    await differences(store, joining)
    await differences(store)
    after = await settled_rows(store)
    assert after["records"] == before["records"]
    withdrawn = after["calls"].pop(("lagos", "k"))
    assert withdrawn["state"] == "withdrawn"
    assert after["calls"] == before["calls"]


async def test_a_record_moves_into_a_call_that_exists(store: Store) -> None:
    await store.write(
        [item(message("k", "begin", values={"started_at": 1.0})), item(message("kx", "more", flags=["late"]))]
    )

    def corrected(record: RawRecord) -> Item:
        got = reread(record)
        return updated(got, call_key="k") if isinstance(got.outcome, CallUpdate) else got

    identity = (await call_of(store, "k"))["id"]
    await differences(store, corrected)
    call = await call_of(store, "k")
    assert (call["id"], call["flags"], call["record_count"]) == (identity, ["late"], 2)
    assert (await call_of(store, "kx"))["replaced_by"] == identity


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(DecodeError(Reason.BAD_VALUE, "no"), "suspended"), (Ignored(why="heartbeat"), "ignored")],
)
async def test_records_that_say_nothing_any_more(store: Store, outcome: Outcome, state: str) -> None:
    await store.write([item(ended("k"))])

    def blind(record: RawRecord) -> Item:
        return replace(reread(record), outcome=outcome)

    found = await differences(store, blind)
    assert (await call_of(store, "k"))["state"] == "withdrawn"
    (record,) = await rows(store, records)
    assert (record["state"], record["call_id"]) == (state, None)
    assert {one.what for one in found} >= {"withdrawn"}


async def test_settings_of_today_are_known_by_their_revision(store: Store) -> None:
    await store.write([item(ended("k"))])

    def today(record: RawRecord) -> Item:
        return replace(reread(record), record=replace(record, config_revision="r2"), decoder_revision=9)

    assert await differences(store, today) == []
    (record,) = await rows(store, records)
    assert (record["config_revision"], record["decoder_revision"]) == ("r2", 9)


async def test_sealed_calls_are_left_alone(store: Store) -> None:
    await store.write([item(ended("old", caller_name="x"), received=0.0)])
    await store.write([item(ended("new", 1, caller_name="y"), received=10 * 86_400.0)])

    class Limits:
        raw_days, facts_days = 5, 0

    assert await store.apply_retention(Limits(), now=at(10 * 86_400)) == Retained(bodies=1, facts=0)
    assert [one.call_key for one in await differences(store, shouting)] == ["new"]
    assert (await call_of(store, "old"))["caller_name"] == "x"


async def test_nothing_moves_into_a_sealed_call(store: Store) -> None:
    await store.write([item(ended("k"), received=0.0)])

    class Limits:
        raw_days, facts_days = 5, 0

    await store.apply_retention(Limits(), now=at(10 * 86_400))
    await store.write([item(ended("kx", 1), received=10 * 86_400.0)])
    before = await rows(store, calls)
    assert await differences(store, joining) == []
    assert await rows(store, calls) == before


async def test_nor_into_one_that_is_left_alone_for_that(store: Store) -> None:
    """`kx` would move into `k`, which is sealed, and `kxx` into `kx`."""
    await store.write([item(ended("k"), received=0.0)])

    class Limits:
        raw_days, facts_days = 5, 0

    await store.apply_retention(Limits(), now=at(10 * 86_400))
    await store.write([item(ended("kx", 1), received=10 * 86_400.0), item(ended("kxx", 2), received=10 * 86_400.0)])
    before = await rows(store, calls)
    assert await differences(store, joining) == []
    assert await rows(store, calls) == before


async def test_a_difference_is_told_once_however_many_calls_lead_to_it(store: Store) -> None:
    """Both calls that become one are replayed, in transactions of their own."""
    others = [item(ended(f"other{n}", n)) for n in range(CALLS_AT_ONCE)]
    await store.write([item(ended("k1", 900)), *others, item(ended("k2", 901))])

    def pair_joining(record: RawRecord) -> Item:
        got = reread(record)
        return joining(record) if got.outcome.call_key in ("k1", "k2") else got  # type: ignore[union-attr]

    found = [(one.what, one.call_key) for one in await differences(store, pair_joining, dry_run=True)]
    assert sorted(found) == [("created", "k"), ("withdrawn", "k1"), ("withdrawn", "k2")]


async def test_later_records_find_the_replayed_call(store_url: str, told: Store) -> None:
    await differences(told, shouting)
    other = Store.open(store_url, redecode=decode)
    await other.write([item(message("one7", "note", values={"trunk": "7"}))])
    await other.close()
    call = await call_of(told, "one7")
    assert (call["trunk"], call["record_count"], call["revision"]) == ("7", 2, 3)


async def test_progress_is_told(told: Store) -> None:
    seen: list[tuple[int, int]] = []
    await differences(told, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    assert await count(told, calls) == 40


async def test_a_call_that_cannot_be_folded_stays_and_the_others_are_replayed(told: Store) -> None:
    def exploding(record: RawRecord) -> Item:
        got = shouting(record)
        assert isinstance(got.outcome, CallUpdate)
        if got.outcome.call_key == "one3":
            return updated(got, call_key="one4", values={**got.outcome.values, "state": "exploded"})
        return got

    before = {row["call_key"]: row for row in await rows(told, calls)}
    pair = {before[key]["id"] for key in ("one3", "one4")}
    numbers = {row["id"] for row in await rows(told, records) if row["call_id"] in pair}
    for dry_run in (True, False):
        found = await differences(told, exploding, dry_run=dry_run)
        (failed,) = [one for one in found if one.what == "failed"]
        assert (failed.call_key, failed.call_id) == ("one4", before["one4"]["id"])
        assert failed.fields.keys() == {f"record {number}" for number in numbers}
        assert all("exploded" in said for _, said in failed.fields.values())
        assert {one.call_key for one in found if one.what == "changed"} == named(before) - {"one3", "one4"}
    after = {row["call_key"]: row for row in await rows(told, calls)}
    assert [after[key] for key in ("one3", "one4")] == [before[key] for key in ("one3", "one4")]


async def test_a_call_that_the_database_refuses_stays_and_the_others_are_replayed(told: Store) -> None:
    def too_long(record: RawRecord) -> Item:
        got = shouting(record)
        assert isinstance(got.outcome, CallUpdate)
        values = {**got.outcome.values, "talk_seconds": 2**70}
        return updated(got, values=values) if got.outcome.call_key == "one3" else got

    before = {row["call_key"]: row for row in await rows(told, calls)}
    found = await differences(told, too_long)
    assert [one.call_key for one in found if one.what == "failed"] == ["one3"]
    assert {one.call_key for one in found if one.what == "changed"} == named(before) - {"one3"}
    after = {row["call_key"]: row for row in await rows(told, calls)}
    assert after["one3"] == before["one3"]


def named(of: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The calls that have the name of a caller."""
    return {key for key, row in of.items() if row["caller_name"]}


async def test_what_another_writer_does_to_a_call_while_it_is_replayed_is_seen(store: Store) -> None:
    if store.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    await store.write([item(ended("k", agent_name="Ade"))])
    before = await call_of(store, "k")
    async with store.database.connect(writing=True) as connection:
        await connection.execute(update(calls).values(agent_name="Bola", revision=before["revision"] + 1))
        replaying = asyncio.create_task(_replayed(store))
        await waits_for_a_lock(replaying, store.database)
    await replaying
    after = await call_of(store, "k")
    assert (after["agent_name"], after["revision"]) == ("Ade", before["revision"] + 2)


async def _replayed(store: Store) -> None:
    await differences(store)


async def test_one_call_may_have_more_records_than_a_statement_has_parameters(postgres_url: str) -> None:
    """32,767, of PostgreSQL: with one more the database counted as away."""
    store = Store.open(postgres_url)
    await store.prepare()

    async def work(tx: Transaction) -> None:
        keys = [("lagos", number.to_bytes(DIGEST_BYTES, "big")) for number in range(33_000)]
        await tx.link_records((key, None) for key in keys)
        assert await tx.call_rows([new_call_id() for _ in keys]) == {}

    await store.database.write(work)
    await store.close()
