"""The plans of the hot look-ups, on tables that were never analysed, and of the lists and reports of large ones."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Select, insert, text

from cdrhub.model.record import digest_of
from cdrhub.store import Store
from cdrhub.store.calls import CallFilter, page_query
from cdrhub.store.joining import Waiting, waiting_query
from cdrhub.store.postgresql import LOCK_CALLS
from cdrhub.store.tables import unopened
from support import ledger
from support.ledger import at, ended, item


@pytest.fixture
async def filled(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store with some calls of two sources, as it is moments after the first start: on PostgreSQL in a database of
    its own, for autovacuum analyses one that is older than a minute."""
    if store.database.kind == "postgresql":
        store = Store.open(request.getfixturevalue("postgres_url"), redecode=ledger.decode)
        await store.prepare()
    await store.write([item(ended(f"k{n}", n), source=f"s{n % 2}") for n in range(2000)])
    yield store
    if store.database.kind == "postgresql":
        await store.close()


async def plan(store: Store, query: str) -> str:
    """The plan of a query on a connection for writing."""
    kind = store.database.kind
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mariadb": "EXPLAIN"}[kind]
    async with store.database.connect(writing=True) as connection:
        rows = await connection.exec_driver_sql(f"{explain} {query}")
        return "\n".join(" ".join(map(str, row)) for row in rows)


async def spelled_out(store: Store, query: Select[Any]) -> str:
    """A query with its values."""
    async with store.database.connect() as connection:
        statement = str(query.compile(connection.sync_engine, compile_kwargs={"literal_binds": True}))
    return statement.replace("%%", "%")


def _by_key(store: Store, table: str, key: str) -> str:
    """How the plan names a search by the unique key (SQLite names no constraint, but what is searched by)."""
    return f"({key}=? AND source=?)" if store.database.kind == "sqlite" else f"uq_{table}_{key}_source"


async def test_calls_are_found_by_their_whole_key(filled: Store) -> None:
    keys = ", ".join(f"'k{n}'" for n in range(300))
    query = f"SELECT id FROM calls WHERE call_key IN ({keys}) AND source = 's1' ORDER BY call_key"
    if filled.database.kind == "postgresql":
        query = LOCK_CALLS.replace("$1::varchar[]", f"ARRAY[{keys}]::varchar[]").replace("$2", "'s1'")
    found = await plan(filled, query)
    assert _by_key(filled, "calls", "call_key") in found
    if filled.database.kind == "postgresql":
        assert re.search(r"Index Cond: .*call_key.* = ANY .*source.* = 's1'", found)
        assert "Seq Scan" not in found


async def test_a_generic_plan_made_on_an_empty_table_uses_the_key(postgres_url: str) -> None:
    store = Store.open(postgres_url)
    await store.prepare()
    async with store.database.connect(writing=True) as connection:
        await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        await connection.exec_driver_sql(f"PREPARE look AS {LOCK_CALLS}")
        rows = await connection.exec_driver_sql("EXPLAIN EXECUTE look (ARRAY['a', 'b'], 's1')")
        found = "\n".join(str(row[0]) for row in rows)
    await store.close()
    assert "uq_calls_call_key_source" in found


async def test_records_are_found_by_their_digest(filled: Store) -> None:
    digests = [digest_of(ended(f"k{n}", n)).hex() for n in range(1, 100, 2)]
    literals = ", ".join(rf"'\x{d}'" if filled.database.kind == "postgresql" else f"x'{d}'" for d in digests)
    found = await plan(filled, f"SELECT id FROM records WHERE digest IN ({literals}) AND source = 's1'")
    assert _by_key(filled, "records", "digest") in found


async def test_pages_of_calls_are_read_from_the_index(filled: Store) -> None:
    if filled.database.kind == "mariadb":  # it would rather sort a few rows than look them up one by one
        await filled.write([item(ended(f"more{n}", n)) for n in range(20_000)])
    query = page_query(CallFilter(since=at(1)), after=None, limit=50)
    assert "ix_calls_sort_at_id" in await plan(filled, await spelled_out(filled, query))


@pytest.mark.parametrize("after", [None, (at(4_000), "w04000", "s")])
async def test_what_waits_for_its_call_is_read_from_where_the_last_look_ended(
    filled: Store, after: Waiting | None
) -> None:
    waiting = [
        {"source": "s", "call_key": f"w{n:05}", "record_source": "s", "digest": digest_of(b"%d" % n), "since": at(n)}
        for n in range(5_000)
    ]
    async with filled.database.connect(writing=True) as connection:
        await connection.execute(insert(unopened), waiting)
    await analysed(filled)
    query = await spelled_out(filled, waiting_query(since=at(4_000), after=after))
    found = await plan(filled, query)
    assert "ix_unopened_since" in found, found


async def analysed(store: Store) -> None:
    """PostgreSQL believes of a table that it has not looked at yet that it has hardly a row."""
    if store.database.kind == "postgresql":
        async with store.database.connect(writing=True) as connection:
            await connection.exec_driver_sql("ANALYZE")


async def test_a_number_is_found_by_indexes_alone(filled: Store) -> None:
    await analysed(filled)
    chosen = CallFilter(number="0803 910 0000", readings=frozenset({"+2348039100000"}))
    found = await plan(filled, await spelled_out(filled, page_query(chosen, after=None, limit=50)))
    for column in ("external_number", "caller_number", "callee_number", "dialed_number"):
        assert f"ix_calls_{column}_sort_at" in found
    assert not re.search(r"Seq Scan on calls|SCAN calls|\bcalls ALL\b", found), found


@pytest.mark.parametrize("name", ["v_queue_hourly", "v_agent_hourly"])
async def test_a_report_of_a_day_reads_its_own_legs(filled: Store, name: str) -> None:
    await analysed(filled)
    if filled.database.kind == "mariadb":  # it would rather read a few legs than look them up
        await filled.write([item(ended(f"more{n}", n * 60)) for n in range(5_000)])
    day = f"SELECT SUM(offered) FROM {name} WHERE hour >= '2026-03-10T00' AND hour < '2026-03-11T00' GROUP BY source"
    found = await plan(filled, day)
    assert "ix_call_legs_role_hour" in found, found
