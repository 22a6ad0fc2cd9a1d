"""A server of the API on each engine, without rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support import ledger
from support.api import Client, Peer, configured, serving
from support.emptied import emptied


@pytest.fixture
async def api(store_url: str) -> AsyncIterator[Client]:
    """A client of a server over an empty store."""
    store = await emptied(store_url, redecode=ledger.decode)
    async with serving(Peer(configured(), store)) as client:
        yield client
