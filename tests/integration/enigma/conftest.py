"""A real Redis for the tests of this folder, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from support.redis import RedisServer, running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server shared by the session."""
    with running() as server:
        yield server


@pytest.fixture
def dialler(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The dialler's client of it; the database is empty."""
    with redis_server.client() as client:
        client.flushall()
        yield client
