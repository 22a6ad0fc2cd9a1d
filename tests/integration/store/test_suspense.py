"""Suspense on every engine: repair, replay, discard, and the audit of all three."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cdrhub.errors import NotFound, UsageError
from cdrhub.store import Store
from cdrhub.store.suspense import AT_ONCE, RecordRow, discard, edit, listed, replay, shown
from cdrhub.store.tables import call_legs, calls, records, unopened
from support.ledger import (
    batches,
    call_facts,
    call_of,
    count,
    decode,
    ended,
    item,
    message,
    record,
    reread,
    rows,
    story,
)


async def suspended(store: Store) -> list[RecordRow]:
    """Everything in suspense."""
    return await listed(store, limit=100_000)


async def test_repairing_one_of_a_hundred_gives_every_call(store: Store) -> None:
    how_many = 10_000 if store.database.kind == "postgresql" else 2_000
    bodies = [ended(f"k{n}", n) for n in range(how_many)]
    broken = {n: body.replace(b'"key"', b'"kee"') for n, body in enumerate(bodies) if n % 100 == 7}
    items = [item(broken.get(n, body)) for n, body in enumerate(bodies)]
    for batch in batches(items, 1000):
        await store.write(batch)
    assert await count(store, calls) == how_many - len(broken)
    waiting = await suspended(store)
    assert len(waiting) == len(broken) == how_many // 100
    for one in waiting:
        assert one.body is not None
        await edit(store, one.id, one.body.replace(b'"kee"', b'"key"'), actor="ada", why="key is misspelt")
    done = await replay(store, [one.id for one in waiting], reread=reread, actor="ada")
    assert (done.applied, done.remaining, done.skipped) == (len(broken), [], 0)
    assert await suspended(store) == []
    told = await rows(store, calls)
    assert {row["call_key"] for row in told} == {f"k{n}" for n in range(how_many)}
    assert await count(store, call_legs) == len(await call_facts(store)) == len(told) == how_many


async def test_lists_by_source_reason_and_age(store: Store) -> None:
    await store.write([item(b"x"), item(b'{"x": 1}', received=200.0), item(b"garbage", source="abuja", received=300.0)])
    everything = await suspended(store)
    assert [one.id for one in everything] == sorted(one.id for one in everything)
    assert [one.body for one in await listed(store, source="abuja")] == [b"garbage"]
    assert [one.body for one in await listed(store, reason="missing_key")] == [b'{"x": 1}']
    edge = record(b"", received=200.0).received_at
    assert len(await listed(store, received_before=edge)) == 1
    assert len(await listed(store, received_since=edge)) == 2
    assert len(await listed(store, received_since=edge + timedelta(microseconds=1))) == 1
    (first,) = await listed(store, limit=1)
    assert [one.id for one in await listed(store, after=first.id)] == [one.id for one in everything[1:]]


async def test_what_still_cannot_be_read_stays_with_its_new_reason(store: Store) -> None:
    await store.write([item(b"garbage")])
    (one,) = await suspended(store)
    await edit(store, one.id, b'{"kind": "cdr"}', actor="ada")
    done = await replay(store, [one.id], reread=reread, actor="ada", why="try")
    assert done.remaining == [(one.id, "missing_key", "key is missing")]
    after, audit = await shown(store, one.id)
    assert (after.state, after.reason, after.body, after.repaired_body) == (
        "suspended", "missing_key", b"garbage", b'{"kind": "cdr"}',
    )  # fmt: skip
    assert [(act.actor, act.action, act.why) for act in audit] == [("ada", "edited", None), ("ada", "replayed", "try")]
    assert audit[1].after == {"state": "suspended", "reason": "missing_key", "call_id": None}


async def test_a_repaired_record_joins_the_call_it_belongs_to(store: Store) -> None:
    enter, ring, answer, bye, end = story("k")
    await store.write([item(body) for body in (enter, ring, b"x" + answer, bye, end)])
    before = await call_of(store, "k")
    (one,) = await suspended(store)
    await edit(store, one.id, answer, actor="ada")
    await replay(store, [one.id], reread=reread, actor="ada")
    after = await call_of(store, "k")
    assert before["disposition"] != "answered"
    assert (after["id"], after["disposition"], after["record_count"]) == (before["id"], "answered", 5)
    _, audit = await shown(store, one.id)
    assert audit[-1].after["call_id"] == after["id"]
    assert audit[-1].after["state"] == "applied"


async def test_a_repaired_record_takes_those_along_that_waited_for_it(store: Store) -> None:
    ring = message("k", "ring", values={"agent_id": "7"}, legs={"a": {"role": "agent"}}, opens=False)
    await store.write([item(ring), item(b"x" + ended("k"))])
    assert await count(store, calls) == 0
    (one,) = await suspended(store)
    await edit(store, one.id, ended("k"), actor="ada")
    await replay(store, [one.id], reread=reread, actor="ada")
    assert (await call_of(store, "k"))["record_count"] == 2
    assert await count(store, unopened) == 0


async def test_a_repair_is_what_later_records_are_folded_with(store_url: str, store: Store) -> None:
    enter, ring, *_ = story("k")
    await store.write([item(b"x" + enter)])
    (one,) = await suspended(store)
    await edit(store, one.id, enter, actor="ada")
    await replay(store, [one.id], reread=reread, actor="ada")
    other = Store.open(store_url, redecode=decode)
    await other.write([item(ring)])
    await other.close()
    call = await call_of(store, "k")
    assert (call["record_count"], call["flags"], call["external_number"]) == (2, [], "+2348039000000")


async def test_replaying_something_that_says_nothing(store: Store) -> None:
    await store.write([item(b"x")])
    (one,) = await suspended(store)
    await edit(store, one.id, b'{"heartbeat": 1}', actor="ada")
    assert (await replay(store, [one.id], reread=reread, actor="ada")).ignored == 1
    assert (await shown(store, one.id))[0].state == "ignored"


async def test_replaying_what_is_not_in_suspense_changes_nothing(store: Store) -> None:
    await store.write([item(ended("k"))])
    (kept,) = await rows(store, records)
    done = await replay(store, [kept["id"], 999_999], reread=reread, actor="ada")
    assert (done.skipped, done.applied) == (2, 0)
    assert await rows(store, records) == [kept]


async def test_a_replay_that_the_database_refuses(store: Store) -> None:
    await store.write([item(b"x1"), item(b"x2"), item(b"x3")])
    first, second, third = await suspended(store)
    await edit(store, first.id, ended("k1", 1), actor="ada")
    await edit(store, second.id, ended("k2", 2, disposition="exploded"), actor="ada")
    await edit(store, third.id, ended("k3", 3), actor="ada")
    done = await replay(store, [first.id, second.id, third.id], reread=reread, actor="ada")
    assert done.applied == 2
    assert [(number, reason) for number, reason, _ in done.remaining] == [(second.id, "decoder_bug")]


async def test_discarding_needs_a_reason_and_is_final(store: Store) -> None:
    await store.write([item(b"x")])
    (one,) = await suspended(store)
    with pytest.raises(UsageError, match="why"):
        await discard(store, [one.id], actor="ada", why=" ")
    assert await discard(store, [one.id], actor="ada", why="a test call") == 1
    after, audit = await shown(store, one.id)
    assert (after.state, after.body) == ("discarded", b"x")
    assert [(act.action, act.why) for act in audit] == [("discarded", "a test call")]
    with pytest.raises(UsageError, match="discarded"):
        await edit(store, one.id, b"y", actor="ada")
    assert (await store.write([item(b"x")])).duplicates == 1


async def test_a_repair_does_not_take_the_place_of_one_that_its_author_has_not_seen(store: Store) -> None:
    await store.write([item(b"x")])
    (seen,) = await suspended(store)
    await edit(store, seen.id, b"by Ben", actor="ben", seen=seen)
    with pytest.raises(UsageError, match=f"record {seen.id} was repaired meanwhile: look at it with"):
        await edit(store, seen.id, b"by Ada", actor="ada", seen=seen)
    after, audit = await shown(store, seen.id)
    assert (after.repaired_body, [act.actor for act in audit]) == (b"by Ben", ["ben"])
    await edit(store, seen.id, b"by Ada", actor="ada", seen=after)
    assert (await shown(store, seen.id))[0].repaired_body == b"by Ada"


async def test_discarding_several_is_all_or_nothing(store: Store) -> None:
    await store.write([item(b"x")])
    (one,) = await suspended(store)
    with pytest.raises(NotFound, match="999999"):
        await discard(store, [one.id, 999_999], actor="ada", why="a test call")
    assert len(await suspended(store)) == 1


async def test_more_are_discarded_than_one_statement_takes(store: Store) -> None:
    await store.write([item(b"garbage %d" % number) for number in range(AT_ONCE + 1)])
    chosen = [one.id for one in await listed(store, limit=AT_ONCE + 1)]
    with pytest.raises(NotFound, match="999999"):
        await discard(store, [*chosen, 999_999], actor="ada", why="a port scan")
    assert await discard(store, chosen, actor="ada", why="a port scan") == len(chosen)
    assert await suspended(store) == []
    assert [len((await shown(store, one))[1]) for one in (chosen[0], chosen[-1])] == [1, 1]


async def test_what_does_not_exist(store: Store) -> None:
    with pytest.raises(NotFound, match="record 5"):
        await shown(store, 5)
    with pytest.raises(NotFound, match="record 5"):
        await edit(store, 5, b"", actor="ada")


async def test_progress_is_told(store: Store) -> None:
    await store.write([item(b"x%d" % number) for number in range(3)])
    seen: list[int] = []
    await replay(store, [one.id for one in await suspended(store)], reread=reread, actor="a", progress=seen.append)
    assert seen == [3]
