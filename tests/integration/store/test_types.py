"""Every portable type brings its worst value back, by the drivers' own way and by SQLAlchemy's."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import insert, select, update

from cdrhub.model.disposition import State
from cdrhub.model.record import MAX_BODY_BYTES, Revision
from cdrhub.model.update import MAX_KEY, MAX_TEXT, MAX_URL, CallUpdate
from cdrhub.store import Store
from cdrhub.store.tables import calls, config_revisions, records
from support.ledger import at, call_of, ended, item, record, reread, rows, updated

NESTED = {"naïve \U0001f4de": [{"日本": None}, [[], {}], 1.5, -(2**53) + 1, "\t\n\\\"'%s:x"], "": " "}
EMOJI = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


async def test_a_body_of_16_megabytes(store: Store) -> None:
    body = b'\x00\xff\\"%s\n' + random.Random(5).randbytes(MAX_BODY_BYTES)
    await store.write([reread(record(body))])
    (found,) = await rows(store, records)
    assert found["body"] == body


async def test_text_with_four_byte_characters_and_blanks(store: Store) -> None:
    text = f"  {EMOJI}'\"\\%s:x{{}} "
    await store.write([updated(item(ended("k")), values={"caller_name": text, "cause": "x "})])
    call = await call_of(store, "k")
    assert (call["caller_name"], call["cause"]) == (text, "x ")


async def test_the_longest_texts(store: Store) -> None:
    key = EMOJI[0] * MAX_KEY
    values = {"caller_name": EMOJI[0] * MAX_TEXT, "recording_url": "é" * MAX_URL}
    await store.write([updated(item(ended("k")), call_key=key, values=values)])
    call = await call_of(store, key)
    assert {name: call[name] for name in values} == values


@pytest.mark.parametrize("other", ["K", "k ", " k", "ｋ", "ḱ", "k\u0301"])
async def test_keys_that_are_nearly_equal_are_not(store: Store, other: str) -> None:
    await store.write([item(ended("k"))])
    await store.write([updated(item(ended("other", 1)), call_key=other)])
    assert {row["call_key"] for row in await rows(store, calls)} == {"k", other}


async def test_times_keep_microseconds_and_come_back_in_utc(store: Store) -> None:
    odd = datetime(2026, 10, 25, 2, 30, 0, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    times = {"started_at": first, "answered_at": odd, "ended_at": last}
    values = {"state": State.ENDED, **times, "duration_seconds": None}  # a call that goes on has no end
    await store.write([updated(item(ended("k")), legs=(), values=values)])
    call = await call_of(store, "k")
    assert {name: call[name] for name in times} == times
    assert {call[name].utcoffset() for name in times} == {timedelta(0)}


async def test_numbers_and_money(store: Store) -> None:
    values = {"talk_seconds": 2**31 - 1, "hold_seconds": 0, "cost": Decimal("-99999999.9999"), "currency": "ILS"}
    await store.write([updated(item(ended("k")), values=values)])
    await store.write([updated(item(ended("j", 1)), values={"cost": Decimal("0.0700")})])
    call = await call_of(store, "k")
    assert {name: call[name] for name in values} == values
    assert str((await call_of(store, "j"))["cost"]) == "0.0700"


async def test_json(store: Store) -> None:
    await store.write([updated(item(ended("k")), attributes=NESTED, flags=frozenset({"late", EMOJI}))])
    call = await call_of(store, "k")
    assert call["attributes"] == NESTED
    assert call["flags"] == sorted({"late", EMOJI})


async def test_attributes_of_a_record(store: Store) -> None:
    one = item(ended("k"))
    await store.write([replace(one, record=replace(one.record, attributes=NESTED, event_id=EMOJI))])
    (found,) = await rows(store, records)
    assert (found["attributes"], found["event_id"]) == (NESTED, EMOJI)


async def test_the_same_values_by_way_of_sqlalchemy(store: Store) -> None:
    await store.write([item(ended("k"))])
    odd = datetime(2026, 3, 29, 1, 59, 59, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
    values = {"cost": Decimal("0.0001"), "started_at": odd, "attributes": NESTED, "caller_name": f"{EMOJI} "}
    async with store.database.connect(writing=True) as connection:
        await connection.execute(update(calls).values(values))
        await connection.execute(
            insert(config_revisions).values(revision="r", source="s", system="x", settings=NESTED, first_seen_at=at(0))
        )
    call = await call_of(store, "k")
    assert {name: call[name] for name in values} == values
    async with store.database.connect() as connection:
        assert await connection.scalar(select(config_revisions.c.settings)) == NESTED


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 (that is the point)
    with pytest.raises(Exception, match="zone"):
        async with store.database.connect(writing=True) as connection:
            await connection.execute(update(calls).values(started_at=naive))


async def test_ids_of_calls_rise(store: Store) -> None:
    for number in range(50):
        await store.write([item(ended(f"k{number:02}", number))])
    found = await rows(store, calls)
    assert [row["call_key"] for row in found] == [f"k{number:02}" for number in range(50)]
    assert all(isinstance(row["id"], str) and len(row["id"]) == 36 for row in found)


async def test_settings_are_kept_once_under_their_revision(store: Store, second: Store) -> None:
    first = Revision(revision="r1", source="lagos", system="3cx", settings='{"a":[1,"é"]}')
    await store.remember_revision(first)
    await second.remember_revision(replace(first, settings='{"a":"other"}'))
    assert await second.revisions() == [first]


def test_the_sample_is_an_update() -> None:
    assert isinstance(item(ended("k")).outcome, CallUpdate)
