"""A server of the API on each engine, without rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support import ledger
from support.api import Client, Peer, configured, serving
from support.servers import ENGINES


@pytest.fixture(scope="session", params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with the schema, once for each engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('api')}/cdrhub.db"
    else:
        server = request.getfixturevalue("postgres_server" if request.param == "postgresql" else "mariadb_server")
        server.execute("CREATE DATABASE api_store")
        url = server.url("api_store")

    async def prepare() -> None:
        store = Store.open(url)
        await store.prepare()
        await store.close()

    asyncio.run(prepare())
    return url


@pytest.fixture
async def api(store_url: str) -> AsyncIterator[Client]:
    """A client of a server over an empty store."""
    store = Store.open(store_url, redecode=ledger.decode)
    async with store.database.connect(writing=True) as connection:
        for table in METADATA.tables.values():
            await connection.execute(delete(table))
    async with serving(Peer(configured(), store)) as client:
        yield client
    await store.close()
