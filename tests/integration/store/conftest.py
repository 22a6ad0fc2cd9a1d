"""A prepared store on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cdrhub.store import Store
from support import ledger


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store with an empty schema."""
    opened = Store.open(database_url, redecode=ledger.decode, connections=2)
    await opened.prepare()
    yield opened
    await opened.close()


@pytest.fixture
async def second(database_url: str, store: Store) -> AsyncIterator[Store]:
    """Another hub's store on the same database."""
    opened = Store.open(database_url, redecode=ledger.decode, connections=2)
    yield opened
    await opened.close()
