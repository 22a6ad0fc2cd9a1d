"""The write protocol on every engine: what is new, what is repeated, and calls of many records."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterable
from datetime import timedelta

import pytest
from sqlalchemy import delete, event

from cdrhub.errors import DecodeError, Reason, StoreError
from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.store import Store, folding
from cdrhub.store.batch import Item, Outcome
from cdrhub.store.tables import call_legs, calls, coverage, outbox, records, unopened
from cdrhub.turns import INLINE_BYTES
from support.ledger import (
    at,
    batches,
    call_of,
    count,
    covered,
    decode,
    ended,
    item,
    message,
    newest_facts,
    rows,
    settled_rows,
    story,
    updated,
)


async def test_a_call_told_in_one_record(store: Store) -> None:
    written = await store.write([item(ended("k", 7))])
    assert (written.new, written.calls_created, written.duplicates) == (1, 1, 0)
    call = await call_of(store, "k")
    assert call["started_at"] == at(7)
    assert call["sort_at"] == at(7)
    assert call["talk_seconds"] == 60
    assert call["external_number"] == "+2348039000007"
    assert call["attributes"] == {"note": "call 7"}
    assert (call["record_count"], call["revision"]) == (1, 1)
    assert call["first_received_at"] == call["last_received_at"] == at(100)
    (leg,) = await rows(store, call_legs)
    assert (leg["call_id"], leg["agent_id"], leg["ring_seconds"]) == (call["id"], "102", 5)
    (record,) = await rows(store, records)
    assert (record["call_id"], record["state"], record["body"]) == (call["id"], "applied", ended("k", 7))


async def test_a_call_told_in_one_record_leaves_one_fact(store: Store) -> None:
    await store.write([item(ended("k"))])
    (fact,) = await rows(store, outbox)
    assert (fact["type"], fact["revision"], fact["snapshot"]) == ("call.settled", 1, None)
    assert fact["due_at"] == (await call_of(store, "k"))["updated_at"]


async def test_a_call_without_its_last_record_settles_later(store: Store) -> None:
    one = item(ended("k"))
    await store.write([updated(one, final=False)])
    (fact,) = await rows(store, outbox)
    assert fact["due_at"] == (await call_of(store, "k"))["updated_at"] + timedelta(seconds=3)


async def test_a_living_call_is_announced_with_its_columns(store: Store) -> None:
    enter, ring, answer, bye, end = (item(body) for body in story("k"))
    for one in (enter, ring, answer, bye, end):
        await store.write([one])
    facts = await rows(store, outbox)
    assert [(fact["type"], fact["revision"]) for fact in facts] == [
        ("call.started", 1),
        ("call.answered", 3),
        ("call.settled", 5),
    ]
    assert facts[0]["snapshot"]["external_number"] == "+2348039000000"
    assert facts[1]["snapshot"]["state"] == "answered"


async def test_a_batch_says_which_facts_it_left(store: Store) -> None:
    living = [item(body) for body in story("k")[:3]]
    garbage = item(b"garbage")
    written = [await store.write(batch) for batch in ([item(ended("one"))], living, [garbage], living)]
    assert [(one.settled, one.public) for one in written] == [(1, 0), (0, 2), (0, 1), (0, 0)]


async def test_the_same_bytes_again_change_nothing(store: Store) -> None:
    await store.write([item(ended("k"))])
    before = await settled_rows(store), await rows(store, calls), await count(store, outbox)
    written = await store.write([item(ended("k"), received=500.0)] * 3)
    assert (written.new, written.duplicates, written.calls_created, written.calls_updated) == (0, 3, 0, 0)
    assert before == (await settled_rows(store), await rows(store, calls), await count(store, outbox))


async def test_repetitions_within_a_batch_and_among_new_ones(store: Store) -> None:
    await store.write([item(ended(f"k{n}", n)) for n in range(5)])
    written = await store.write([item(ended(f"k{n}", n)) for n in (3, 4, 5, 6, 6, 5)])
    assert (written.records, written.new, written.duplicates, written.calls_created) == (6, 2, 4, 2)
    assert written.by_source["lagos"] == {"applied": 2, "suspended": 0, "duplicates": 4}
    assert await count(store, calls) == await count(store, records) == await count(store, outbox) == 7


async def test_of_repetitions_within_a_batch_the_first_is_kept(store: Store) -> None:
    await store.write([item(ended("a"), received=received) for received in (100.0, 200.0)])
    (kept,) = await rows(store, records)
    call = await call_of(store, "a")
    assert (kept["received_at"], call["first_received_at"], call["last_received_at"]) == (at(100),) * 3


async def test_a_batch_knows_the_first_and_the_last_receipt_of_its_call(store: Store) -> None:
    enter, ring, answer, *_ = story("a")
    await store.write([item(ring, received=200.0), item(answer, received=300.0), item(enter, received=100.0)])
    call = await call_of(store, "a")
    assert (call["first_received_at"], call["last_received_at"]) == (at(100), at(300))


async def test_a_record_that_comes_late_does_not_make_the_last_receipt_earlier(store: Store) -> None:
    enter, ring, *_ = story("a")
    await store.write([item(ring, received=200.0)])
    await store.write([item(enter, received=100.0)])
    call = await call_of(store, "a")
    assert (call["first_received_at"], call["last_received_at"]) == (at(100), at(200))


async def test_a_call_that_is_gone_from_the_database_is_made_anew(store: Store) -> None:
    """Somebody put an older copy of it back while the hub worked."""
    enter, ring, *_ = story("a")
    await store.write([item(enter)])
    async with store.database.connect(writing=True) as connection:
        for table in (call_legs, calls, records, outbox):
            await connection.execute(delete(table))
    assert (await store.write([item(ring)])).new == 1
    assert (await call_of(store, "a"))["record_count"] == 1


async def test_one_message_of_two_sources_is_two_records(store: Store) -> None:
    await store.write([item(ended("k")), item(ended("k"), source="abuja")])
    assert await count(store, calls) == await count(store, records) == 2


async def test_two_encodings_of_one_event_are_kept_and_count_once(store: Store) -> None:
    first = message("k", "enter", values={"started_at": 1.0}, event_id="e/1")
    second = message("k", "enter", values={"started_at": 1.0, "caller_name": "Ada"}, event_id="e/1")
    await store.write([item(first)])
    await store.write([item(second)])
    call = await call_of(store, "k")
    assert (call["record_count"], call["caller_name"], call["flags"]) == (2, "Ada", [])


@pytest.mark.parametrize("remembered", [0, 8192], ids=["forgetful", "remembering"])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_batches_and_order_do_not_matter(store: Store, store_url: str, remembered: int, size: int) -> None:
    bodies = [body for n in range(12) for body in story(f"k{n}", n)]
    items = [item(body) for body in bodies]
    random.Random(size).shuffle(items)
    items += items[::3]
    writer = Store.open(store_url, redecode=store.folding.redecode, remembered=remembered)
    for batch in batches(items, size):
        await writer.write(batch)
    await writer.close()
    told = await settled_rows(store)
    assert len(told["calls"]) == 12
    for n in range(12):
        call = told["calls"]["lagos", f"k{n}"]
        assert (call["state"], call["disposition"], call["record_count"]) == ("ended", "answered", 5)
        assert (call["wait_seconds"], call["talk_seconds"], call["queue"]) == (7, 53, "sales")
        assert {key: row["call"] for key, row in told["records"].items() if row["call"] is None} == {}
    assert len(told["legs"]) == 24
    assert set((await newest_facts(store)).values()) == {"call.settled"}


async def test_what_is_remembered_and_what_is_read_give_the_same_rows(store_url: str, store: Store) -> None:
    forgetful = Store.open(store_url, redecode=store.folding.redecode, remembered=0)
    enter, ring, answer, bye, end = story("a")
    for body in (end, enter, answer, ring, bye):
        await store.write([item(body)])
    for body in (b.replace(b'"a"', b'"b"').replace(b"a/", b"b/") for b in (end, enter, answer, ring, bye)):
        await forgetful.write([item(body)])
    await forgetful.close()
    first, other = await call_of(store, "a"), await call_of(store, "b")
    for name in first.keys() - {"id", "call_key", "updated_at"}:
        assert first[name] == other[name], name


async def test_a_leg_without_times_is_of_the_hour_of_the_first_receipt(store: Store) -> None:
    first = item(message("k", values={"state": "queued"}, legs={"q": {"role": "queue"}}), received=10)
    later = item(message("k", "more", values={"queue": "sales"}), received=7_210)
    for batch in ([first], [later]):
        await store.write(batch)
        assert [row["hour"] for row in await rows(store, call_legs)] == [f"{at(10):%Y-%m-%dT%H}:00:00Z"]


async def test_a_leg_without_times_is_of_the_hour_of_its_call(store: Store) -> None:
    said = message("timed", values={"state": "queued", "started_at": 7_200}, legs={"q": {"role": "queue"}})
    await store.write([item(said, received=10)])
    late = item(message("k", "more", values={"queue": "sales"}), received=7_210)
    await store.write(
        [late, item(message("k", values={"state": "queued"}, legs={"q": {"role": "queue"}}), received=10)]
    )
    hours = {row["call_id"]: row["hour"] for row in await rows(store, call_legs)}
    known = {key: (await call_of(store, key))["id"] for key in ("timed", "k")}
    assert hours == {
        known["timed"]: f"{at(7_200):%Y-%m-%dT%H}:00:00Z",
        known["k"]: f"{at(10):%Y-%m-%dT%H}:00:00Z",
    }


async def test_attached_columns_survive_later_records(store: Store) -> None:
    enter, *others = story("k")
    await store.write([item(enter)])
    case = "01981f7e-0000-7000-8000-000000000001"
    async with store.database.connect(writing=True) as connection:
        await connection.execute(calls.update().values(case_id=case, attempt_id=case))
    identity = (await call_of(store, "k"))["id"]
    await store.write([item(body) for body in others])
    call = await call_of(store, "k")
    assert (call["id"], call["case_id"], call["attempt_id"]) == (identity, case, case)
    assert call["state"] == "ended"


async def test_a_contradiction_is_kept_and_counted_once(store: Store) -> None:
    await store.write([item(message("k", values={"caller_name": "Ada"}))])
    written = await store.write([item(message("k", values={"caller_name": "Obi"}))])
    again = await store.write([item(message("k", values={"caller_name": "Eve"}))])
    assert (written.conflicts, again.conflicts) == (1, 0)
    assert written.by_source["lagos"]["conflicts"] == 1
    assert "conflict" in (await call_of(store, "k"))["flags"]


async def test_what_cannot_be_understood_waits_and_what_says_nothing_is_counted(store: Store) -> None:
    batch = [item(b"garbage"), item(b'{"heartbeat": 1}'), item(ended("k")), item(b'{"kind": "cdr"}')]
    written = await store.write(batch)
    assert (written.suspended, written.ignored, written.calls_created) == (2, 1, 1)
    found = {row["body"]: (row["state"], row["reason"], row["call_id"]) for row in await rows(store, records)}
    assert found[b"garbage"] == ("suspended", "unparsable", None)
    assert found[b'{"kind": "cdr"}'] == ("suspended", "missing_key", None)
    assert b'{"heartbeat": 1}' not in found


async def test_records_are_written_in_the_order_of_their_keys(store: Store) -> None:
    """In which every writer takes its locks."""
    await store.write([item(ended(f"k{number}")) for number in range(20)])
    written = [(row["id"], row["digest"]) for row in await rows(store, records)]
    assert [digest for _, digest in sorted(written)] == sorted(digest for _, digest in written)


async def test_coverage_is_a_record_and_a_row(store: Store) -> None:
    span = Coverage(state="blind", since=at(0), until=at(60), detail="link lost", hub="one")
    await store.write([covered(span)])
    await store.write([covered(span)])
    (row,) = await rows(store, coverage)
    assert (row["hub"], row["source"], row["state"], row["since"], row["until"]) == (
        "one", "lagos", "blind", at(0), at(60),
    )  # fmt: skip
    (record,) = await rows(store, records)
    assert (record["state"], record["call_id"]) == ("applied", None)


async def test_an_update_that_opens_nothing_makes_no_call(store: Store) -> None:
    await store.write([item(message("k", "agent", legs={"a": {"role": "agent"}}, opens=False), received=50.0)])
    assert await rows(store, calls) == await rows(store, outbox) == []
    assert [row["call_id"] for row in await rows(store, records)] == [None]
    assert await count(store, unopened) == 1
    await store.write([item(message("k", "call", values={"started_at": 3.0}))])
    call = await call_of(store, "k")
    assert (call["record_count"], call["first_received_at"]) == (2, at(50))
    assert [row["call_id"] for row in await rows(store, records)] == [call["id"]] * 2
    assert await count(store, call_legs) == 1
    assert await count(store, unopened) == 0


async def test_a_transaction_that_is_tried_again_counts_nothing_twice(store: Store) -> None:
    """What is worked out before the transaction is still there for the next attempt, and must be as it was."""
    await store.write([item(message("late", "agent", legs={"a": {"role": "agent"}}, opens=False))])
    enter, ring, *_ = (item(body) for body in story("known"))
    await store.write([enter])
    lost = 0

    def lose(_: object) -> None:
        nonlocal lost
        lost += 1
        if lost == 1:
            raise ConnectionResetError

    event.listen(store.database._writer.sync_engine, "commit", lose)
    await store.write([item(message("late", "call", values={"started_at": 3.0})), ring, item(ended("new"))])
    assert lost == 2, "the first attempt was rolled back"
    told = (await settled_rows(store))["calls"]
    assert {key[1]: call["record_count"] for key, call in told.items()} == {"late": 2, "known": 2, "new": 1}
    assert await count(store, records) == 5
    assert await count(store, unopened) == 0
    again = await settled_rows(store)
    await store.write([item(message("late", "agent", legs={"b": {"role": "agent"}}))])
    assert (await call_of(store, "late"))["record_count"] == 3
    assert again["calls"]["lagos", "known"] == (await settled_rows(store))["calls"]["lagos", "known"]


async def test_a_call_settles_from_when_it_is_written(store: Store) -> None:
    """However long its batch waited for the database: what more there is of the call waited as well, and is written
    within that time."""
    moment = at(0)
    hub = Store(store.database, redecode=decode, clock=lambda: moment, remembered=10)

    def wait(_: object) -> None:
        nonlocal moment
        moment = at(600)

    engine = store.database._writer.sync_engine
    event.listen(engine, "begin", wait)
    try:
        await hub.write([updated(item(ended("k")), final=False)])
    finally:
        event.remove(engine, "begin", wait)
    (fact,) = await rows(store, outbox)
    assert fact["due_at"] == at(603)
    assert (await call_of(store, "k"))["updated_at"] == at(600)


async def test_calls_are_folded_before_the_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within it, others wait: on SQLite everybody who writes."""
    folds = 0

    def counted_fold(updates: Iterable[CallUpdate]) -> Call:
        nonlocal folds
        folds += 1
        return fold(updates)

    monkeypatch.setattr(folding, "fold", counted_fold)
    begun: list[int] = []
    engine = store.database._writer.sync_engine

    def begin(_: object) -> None:
        begun.append(folds)

    event.listen(engine, "begin", begin)
    try:
        enter, ring, *_ = story("known")
        await store.write([item(enter), item(ended("one"))])
        await store.write([item(ring), item(ended("two"))])
    finally:
        event.remove(engine, "begin", begin)
    assert begun == [2, 4]
    assert folds == 4


@pytest.mark.parametrize("first", [{"opens": True}, {"opens": False}], ids=["of a call that is there", "that waited"])
@pytest.mark.parametrize(("size", "beside"), [(INLINE_BYTES, False), (INLINE_BYTES + 1, True)])
async def test_others_go_on_while_an_earlier_large_record_is_decoded_again(
    store: Store, first: dict[str, bool], size: int, beside: bool
) -> None:
    decoded: list[tuple[int, bool]] = []

    def noting(record: RawRecord) -> Outcome:
        decoded.append((len(record.body), threading.current_thread() is not threading.main_thread()))
        return decode(record)

    forgetful = Store(store.database, redecode=noting, clock=lambda: at(0), remembered=0)
    large = message("k", "agent", legs={"a": {"role": "agent"}}, **first).ljust(size)
    await forgetful.write([item(large)])
    await forgetful.write([item(message("k", "call", values={"started_at": 3.0}))])
    assert decoded[0] == (size, beside)
    assert (await call_of(store, "k"))["record_count"] == 2


async def test_what_waited_counts_once_if_another_hub_took_it_between_two_attempts(
    store: Store, second: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = [item(message("k", "call", values={"started_at": moment})) for moment in (3.0, 4.0)]
    await store.write([item(message("k", "agent", legs={"a": {"role": "agent"}}, opens=False))])
    await second.write([item(ended("raced"))])
    await store.write([item(ended("raced"))])  # it does not guess for a while, nor raise what makes it begin anew
    renew = store.database._renew
    lost = False

    def lose(_: object) -> None:
        nonlocal lost
        if not lost:
            lost = True
            raise ConnectionResetError

    async def meanwhile() -> None:
        await renew()
        await second.write(opening[:1])

    monkeypatch.setattr(store.database, "_renew", meanwhile)
    engine = store.database._writer.sync_engine
    event.listen(engine, "commit", lose)
    try:
        await store.write(opening[1:])
    finally:
        event.remove(engine, "commit", lose)
    assert lost
    assert (await call_of(store, "k"))["record_count"] == 3
    assert await count(store, unopened) == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_unopened_records_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    bodies = [
        message("k", "agent", legs={"a": {"role": "agent", "offered_at": 1.0}}, opens=False),
        message("k", "agent", legs={"b": {"role": "agent", "offered_at": 2.0}}, opens=False),
        message("k", "call", values={"started_at": 0.0, "state": "ended"}),
    ]
    for place in order:
        await store.write([item(bodies[place])])
    call = await call_of(store, "k")
    assert (call["record_count"], call["state"]) == (3, "ended")
    assert {row["call_id"] for row in await rows(store, records)} == {call["id"]}
    assert [row["leg_key"] for row in await rows(store, call_legs)] == ["a", "b"]
    assert await count(store, unopened) == 0


async def test_an_old_record_needs_its_decoder(store_url: str, store: Store) -> None:
    enter, ring, *_ = story("k")
    await store.write([item(enter)])
    blind = Store.open(store_url)
    with pytest.raises(StoreError, match="not told how"):
        await blind.write([item(ring)])
    await blind.close()
    assert (await call_of(store, "k"))["record_count"] == 1


async def test_a_record_that_today_s_decoder_refuses_does_not_freeze_its_call(store: Store, store_url: str) -> None:
    bodies = story("k")
    for body in bodies[:3]:
        await store.write([item(body)])

    def stricter(record: RawRecord) -> Outcome:
        read = decode(record)
        refused = isinstance(read, CallUpdate) and read.kind == "ring"
        return DecodeError(Reason.BAD_VALUE, "no such ring") if refused else read

    newer = Store.open(store_url, redecode=stricter)
    for body in bodies[3:]:
        await newer.write([item(body)])
    await newer.close()
    call = await call_of(store, "k")
    assert (call["state"], call["disposition"], call["flags"]) == ("ended", "answered", [])
    assert (call["ended_at"], call["record_count"]) == (at(61), 5)


async def test_a_call_of_which_no_old_record_is_understood_goes_on(store: Store, store_url: str) -> None:
    enter, ring, answer, bye, end = story("k")
    await store.write([item(body) for body in (enter, ring)])
    newer = Store.open(store_url, redecode=lambda _: DecodeError(Reason.BAD_VALUE, "not a word"))
    for body in (answer, bye, end):
        await newer.write([item(body)])
    await newer.close()
    call = await call_of(store, "k")
    assert (call["state"], call["ended_by"], call["record_count"]) == ("ended", "caller", 5)


async def test_calls_of_long_records_are_read_again_and_come_out_the_same(store: Store) -> None:
    long = {"attributes": {"transcript": ["x" * 1000] * 5000}}
    for number, kind in enumerate(["enter", "talk", "end"]):
        await store.write([item(message("k", kind, values={"started_at": 1.0, "trunk": "7"}, number=number, **long))])
        assert store.folding.memory.get(("lagos", "k")) is None
    call = await call_of(store, "k")
    assert (call["record_count"], call["revision"], call["trunk"]) == (3, 3, "7")


async def test_a_large_batch_of_mixed_calls(store: Store) -> None:
    items: list[Item] = [item(ended(f"one{n}", n)) for n in range(600)]
    items += [item(body) for n in range(200) for body in story(f"many{n}", n)]
    random.Random(1).shuffle(items)
    for batch in batches(items, 700):
        await store.write(batch)
    told = await settled_rows(store)
    assert len(told["calls"]) == 800
    assert {call["state"] for call in told["calls"].values()} == {"ended"}
    assert len(told["legs"]) == 600 + 400
