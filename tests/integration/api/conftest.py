"""A server of the API on each engine, without rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support import ledger
from support.api import Client, Peer, configured, serving


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
