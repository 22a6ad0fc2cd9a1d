"""A record that the database refuses costs itself and nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from cdrhub.model.update import LegUpdate
from cdrhub.store import Store
from cdrhub.store.tables import calls, records
from cdrhub.store.write import REFUSED_BODY_BYTES
from support.ledger import at, call_facts, ended, item, rows, settled_rows, story, updated
from support.servers import MariaDBServer

BAD_VALUES: dict[str, dict[str, Any]] = {
    "a number too large": {"talk_seconds": 2**70},
    "a lone surrogate": {"caller_name": "\ud800"},
    "a time that is none": {"answered_at": "noon"},
}


@pytest.mark.parametrize("values", BAD_VALUES.values(), ids=BAD_VALUES.keys())
async def test_one_bad_record_among_good_ones(store: Store, values: dict[str, Any]) -> None:
    good = [item(ended(f"k{n}", n)) for n in range(20)]
    bad = updated(item(ended("bad", 99)), values={"state": "ended", **values})
    written = await store.write([*good[:13], bad, *good[13:]])
    assert (written.records, written.new, written.suspended, written.calls_created) == (21, 21, 1, 20)
    (kept,) = [row for row in await rows(store, records) if row["state"] != "applied"]
    assert kept["reason"] in ("store_refused", "decoder_bug")
    assert kept["detail"]
    assert (kept["body"], kept["call_id"]) == (ended("bad", 99), None)
    assert len(await rows(store, calls)) == len(await call_facts(store)) == 20


async def test_a_bad_record_that_comes_again_takes_no_other_of_its_call_along(store: Store) -> None:
    """It is there already, in suspense: the call is folded without it."""
    bad = updated(item(ended("k")), values={"state": "ended", "answered_at": "noon", "ended_at": at(9)})
    assert (await store.write([bad])).suspended == 1
    written = await store.write([bad, item(ended("k", 1)), item(ended("other", 2))])
    assert (written.new, written.duplicates, written.suspended, written.calls_created) == (2, 1, 0, 2)


async def test_a_record_that_is_larger_than_mariadb_takes(mariadb_server: MariaDBServer, mariadb_url: str) -> None:
    """The server may hang up on such a statement, which looks as if it had gone away."""
    mariadb_server.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        store = Store.open(mariadb_url)
        await store.prepare()
        large = item(ended("large", 99))
        large = replace(large, record=replace(large.record, body=b"'" * 3_000_000))
        written = await store.write([item(ended("k")), large])
        assert (written.new, written.suspended, written.calls_created) == (2, 1, 1)
        (kept,) = [row for row in await rows(store, records) if row["state"] != "applied"]
        assert (kept["reason"], kept["body"]) == ("store_refused", b"'" * REFUSED_BODY_BYTES)
        assert "max_allowed_packet of the server is 1048576" in kept["detail"], "it was not even sent"
        await store.close()
    finally:
        mariadb_server.execute(f"SET GLOBAL max_allowed_packet = {64 * 1024 * 1024}")


async def test_nul_in_text_never_stops_a_batch(store: Store) -> None:
    """PostgreSQL refuses it, the others store it; no record is lost either way."""
    bad = updated(item(ended("bad", 99)), values={"caller_name": "a\0b"}, attributes={"x": "a\0b"})
    written = await store.write([item(ended("k")), bad])
    assert (written.new, len(await rows(store, records))) == (2, 2)


async def test_a_bad_record_of_a_call_with_good_ones(store: Store) -> None:
    enter, ring, answer, bye, end = (item(body) for body in story("k"))
    bad = updated(ring, legs=(LegUpdate(leg_key="a", values={"ring_seconds": 2**70}),))
    written = await store.write([enter, bad, answer, bye, end])
    assert written.suspended == 1
    (call,) = (await settled_rows(store))["calls"].values()
    assert (call["record_count"], call["state"]) == (4, "ended")


async def test_a_fold_that_fails_suspends_the_records_of_that_call(store: Store) -> None:
    bad = [updated(item(ended("bad", n)), values={"state": "exploded"}) for n in (1, 2)]
    bad[1] = updated(bad[1], digest=b"2" * 16, values={"state": "imploded"})
    written = await store.write([item(ended("k")), *bad])
    assert (written.calls_created, written.suspended) == (1, 2)
    assert {row["reason"] for row in await rows(store, records) if row["state"] == "suspended"} == {"decoder_bug"}


async def test_a_record_whose_own_attributes_are_bad(store: Store) -> None:
    one = item(ended("k"))
    bad = replace(one, record=replace(one.record, attributes={"peer": "\ud800", "x": {1, 2}}, event_id="e" * 5000))
    written = await store.write([bad])
    assert (written.new, written.suspended) == (1, 1)
    (kept,) = await rows(store, records)
    assert (kept["reason"], kept["body"]) == ("store_refused", one.record.body)


@pytest.mark.parametrize("values", [{"cause": "x" * 256}, {"talk_seconds": "many"}], ids=["too long", "no number"])
@pytest.mark.parametrize("url", ["postgres_url", "mariadb_url"])
async def test_what_sqlite_would_swallow(request: pytest.FixtureRequest, url: str, values: dict[str, Any]) -> None:
    """SQLite enforces neither lengths nor types: there, `storable` alone keeps them."""
    store = Store.open(request.getfixturevalue(url))
    await store.prepare()
    bad = updated(item(ended("bad", 99)), values={"state": "ended", **values})
    written = await store.write([item(ended("k")), bad])
    assert (written.suspended, written.calls_created) == (1, 1)
    await store.close()


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "", "ORACLE"])
async def test_whatever_mariadb_is_told_of_its_language(
    mariadb_server: MariaDBServer, mariadb_url: str, mode: str
) -> None:
    """The driver escapes with backslashes, of which not every `sql_mode` knows: a body ended its own quotes, and what
    followed was SQL. Without a strict one a value that is too long is cut in silence."""
    mariadb_server.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        store = Store.open(mariadb_url)
        await store.prepare()
        bodies = [b"it's", rb"back\\slash", b"', NULL, 'x'); DROP TABLE calls; -- ", bytes(range(256))]
        items = [item(ended(f"k{n}", n)) for n in range(len(bodies))]
        batch = [replace(one, record=replace(one.record, body=b)) for one, b in zip(items, bodies, strict=True)]
        written = await store.write([*batch, updated(item(ended("long", 99)), values={"cause": "x" * 256})])
        assert (written.calls_created, written.suspended) == (len(bodies), 1)
        assert {row["body"] for row in await rows(store, records) if row["state"] == "applied"} == set(bodies)
        await store.close()
    finally:
        mariadb_server.execute("SET GLOBAL sql_mode = DEFAULT")


async def test_a_unique_key_of_somebody_else(database_url: str) -> None:
    """An index that an administrator added is violated however often the batch is written."""
    store = Store.open(database_url)
    await store.prepare()
    async with store.database.connect(writing=True) as connection:
        await connection.execute(text("CREATE UNIQUE INDEX theirs ON calls (linked_key)"))
    good = [item(ended(f"k{n}", n)) for n in range(9)]
    first, again = (updated(item(ended(key)), values={"state": "ended", "linked_key": "7"}) for key in ("a", "b"))
    written = await store.write([*good[:4], first, *good[4:], again])
    assert (written.suspended, written.calls_created) == (1, 10)
    (kept,) = [row for row in await rows(store, records) if row["state"] == "suspended"]
    assert kept["reason"] == "store_refused"
    await store.close()


async def test_a_race_that_never_ends(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    await store.prepare()
    async with store.database.connect(writing=True) as connection:
        await connection.execute(
            text(
                "CREATE TRIGGER racing BEFORE INSERT ON records WHEN NEW.event_id = 'bad/1' BEGIN "
                "SELECT RAISE(ABORT, 'UNIQUE constraint failed: records.digest, records.source'); END"
            )
        )
    written = await store.write([item(ended("k")), item(story("bad")[0]), item(ended("l", 1))])
    assert (written.suspended, written.calls_created) == (1, 2)
    (kept,) = [row for row in await rows(store, records) if row["state"] == "suspended"]
    assert (kept["body"], kept["event_id"]) == (story("bad")[0], None)
    await store.close()


@pytest.mark.parametrize("bad", [{"event_id": "e" * 5000}, {"event_id": "\ud800"}, {"content_type": "c" * 5000}])
async def test_a_record_whose_own_words_are_bad(store: Store, bad: dict[str, Any]) -> None:
    """SQLite stores what is too long; nobody stores a lone surrogate."""
    one = item(ended("k"))
    written = await store.write([replace(one, record=replace(one.record, **bad)), item(ended("l", 1))])
    (kept,) = [row for row in await rows(store, records) if row["digest"] == one.record.digest]
    assert (written.new, kept["body"]) == (2, one.record.body)
    if written.suspended:
        assert (kept["reason"], kept["event_id"]) == ("store_refused", None)
        assert kept["content_type"] == (
            "application/octet-stream" if "content_type" in bad else one.record.content_type
        )
