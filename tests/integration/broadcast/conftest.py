"""A prepared store on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.broadcasting import Bench
from support.emptied import emptied


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """A store without rows."""
    opened = await emptied(store_url, connections=4)
    yield Bench(opened)
    await opened.close()
