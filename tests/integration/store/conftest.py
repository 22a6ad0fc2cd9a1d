"""A prepared store on each engine: the schema is made once a session, the rows of the test before are deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support import ledger


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
