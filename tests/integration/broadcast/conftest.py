"""A prepared store on each engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support.broadcasting import Bench
from support.servers import ENGINES


@pytest.fixture(scope="session", params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with the schema, once for each engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('broadcast')}/cdrhub.db"
    else:
        server = request.getfixturevalue("postgres_server" if request.param == "postgresql" else "mariadb_server")
        server.execute("CREATE DATABASE broadcast_store")
        url = server.url("broadcast_store")

    async def prepare() -> None:
        store = Store.open(url)
        await store.prepare()
        await store.close()

    asyncio.run(prepare())
    return url


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """A store without rows."""
    opened = Store.open(store_url, connections=4)
    async with opened.database.connect(writing=True) as connection:
        for table in METADATA.tables.values():
            await connection.execute(delete(table))
    yield Bench(opened)
    await opened.close()
