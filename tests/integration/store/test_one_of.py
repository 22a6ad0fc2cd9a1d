"""Lists as parameters, on each database."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import select

from cdrhub.store import Store
from cdrhub.store.one_of import OneOf
from cdrhub.store.tables import MAX_SOURCE, calls
from support.ledger import ended, item

_KEYS = select(calls.c.call_key).where(OneOf(calls.c.call_key, "keys"), OneOf(calls.c.source, "sources"))
_IDS = select(calls.c.call_key).where(OneOf(calls.c.id, "ids")).order_by(calls.c.call_key)


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
