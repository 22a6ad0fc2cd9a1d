"""A prepared store on each engine."""

from __future__ import annotations

import pytest

from support.broadcasting import Bench
from support.emptied import emptied


@pytest.fixture
async def bench(store_url: str) -> Bench:
    """A store without rows."""
    opened = await emptied(store_url, connections=4)
    return Bench(opened)
