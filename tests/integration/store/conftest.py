"""A prepared store on each engine: the schema is made once a session, the rows of the test before are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support import ledger
from support.servers import ENGINES


@pytest.fixture(scope="session", params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with the schema, once for each engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store')}/cdrhub.db"
    else:
        server = request.getfixturevalue("postgres_server" if request.param == "postgresql" else "mariadb_server")
        server.execute("CREATE DATABASE shared_store")
        url = server.url("shared_store")
    asyncio.run(_prepare(url))
    return url


async def _prepare(url: str) -> None:
    store = Store.open(url)
    await store.prepare()
    await store.close()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A store without rows."""
    opened = Store.open(store_url, redecode=ledger.decode, connections=2)
    async with opened.database.connect(writing=True) as connection:
        for table in METADATA.tables.values():
            await connection.execute(delete(table))
    yield opened
    await opened.close()


@pytest.fixture
async def second(store_url: str, store: Store) -> AsyncIterator[Store]:
    """Another hub's store on the same database."""
    opened = Store.open(store_url, redecode=ledger.decode, connections=2)
    yield opened
    await opened.close()
