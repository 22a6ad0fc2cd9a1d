"""A prepared store on each engine: the schema is made once a session, the rows of the test before are deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cdrhub.store import Store
from support import ledger
from support.emptied import emptied


@pytest.fixture
async def store(store_url: str) -> Store:
    """A store without rows."""
    return await emptied(store_url, redecode=ledger.decode, connections=2)


@pytest.fixture
async def second(store_url: str, store: Store) -> AsyncIterator[Store]:
    """Another hub's store on the same database."""
    opened = Store.open(store_url, redecode=ledger.decode, connections=2)
    yield opened
    await opened.close()
