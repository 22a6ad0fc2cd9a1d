"""A prepared store on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA
from support.broadcasting import Bench


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """A store without rows."""
    opened = Store.open(store_url, connections=4)
    async with opened.database.connect(writing=True) as connection:
        for table in METADATA.tables.values():
            await connection.execute(delete(table))
    yield Bench(opened)
    await opened.close()
