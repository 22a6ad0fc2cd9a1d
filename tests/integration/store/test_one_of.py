"""Lists as parameters, on each database."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import Dialect

from cdrhub.store import Store
from cdrhub.store.one_of import OneFound, OneOf
from cdrhub.store.tables import MAX_SOURCE, calls, outbox
from support.ledger import ended, item

_KEYS = select(calls.c.call_key).where(OneOf(calls.c.call_key, "keys"), OneOf(calls.c.source, "sources"))
_IDS = select(calls.c.call_key).where(OneOf(calls.c.id, "ids")).order_by(calls.c.call_key)


_TOLD = OneFound(calls.c.id, select(outbox.c.call_id).where(outbox.c.due_at.is_not(None)))


async def found(store: Store, query: Any, **values: list[str]) -> list[str]:
    """The keys of the calls that the query finds."""
    async with store.database.connect(writing=True) as connection:
        return list((await connection.execute(query, values)).scalars())


async def test_one_statement_serves_lists_of_any_length(store: Store) -> None:
    await store.write([item(ended(f"k{n}", n)) for n in range(3)])
    for keys in ([], ["k1"], ["k0", "k2", "none"], [f"k{n}" for n in range(600)]):
        assert sorted(await found(store, _KEYS, keys=keys, sources=["lagos"])) == sorted({"k0", "k1", "k2"} & {*keys})


async def test_a_list_is_one_parameter_of_sqlite(sqlite_url: str) -> None:
    """It takes 32,766 of them, if it is not compiled to take more or fewer."""
    store = Store.open(sqlite_url)
    await store.prepare()
    async with store.database.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver._conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 2)
        await connection.execute(_KEYS, {"keys": ["k1", "k2", "k3"], "sources": ["lagos", "abuja"]})
    await store.close()


async def test_ids_are_compared_as_ids(store: Store) -> None:
    await store.write([item(ended(f"k{n}", n)) for n in range(3)])
    async with store.database.connect() as connection:
        ids = list((await connection.execute(select(calls.c.id).order_by(calls.c.call_key))).scalars())
    assert await found(store, _IDS, ids=ids[1:]) == ["k1", "k2"]


async def test_a_value_that_is_too_long_for_the_column_is_not_cut(store: Store) -> None:
    name = "s" * MAX_SOURCE
    await store.write([item(ended("k1"), source=name)])
    assert await found(store, _KEYS, keys=["k1"], sources=[name]) == ["k1"]
    assert await found(store, _KEYS, keys=["k1"], sources=[name + "s"]) == []


async def test_what_a_query_finds_is_looked_up(store: Store) -> None:
    await store.write([item(ended(f"k{n}", n)) for n in range(3)])
    async with store.database.connect(writing=True) as connection:
        (gone,) = (await connection.execute(select(calls.c.id).where(calls.c.call_key == "k1"))).scalars()
        await connection.execute(outbox.delete().where(outbox.c.call_id == gone))
    assert await found(store, select(calls.c.call_key).where(_TOLD).order_by(calls.c.call_key)) == ["k0", "k2"]


@pytest.mark.parametrize("dialect", [SQLiteDialect(), MariaDBDialect()], ids=["sqlite", "mariadb"])
@pytest.mark.parametrize("condition", [OneOf(calls.c.id, "ids"), _TOLD], ids=["list", "query"])
def test_no_database_is_asked_whether_it_is_1(condition: ColumnElement[bool], dialect: Dialect) -> None:
    """It would go through the whole table for that."""
    asked = select(calls.c.id).where(condition, calls.c.source == "lagos")
    assert "= 1" not in str(asked.compile(dialect=dialect))
