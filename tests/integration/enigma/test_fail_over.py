"""A Redis that becomes the replica of another one: the link comes back soon, perhaps to the new master."""

from __future__ import annotations

import asyncio

import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.transports.redis_client import connected
from cdrhub.sources.transports.redis_list import Drained, Lease, ReliableList
from support.intake import until
from support.redis import running


async def test_a_wait_that_ends_because_its_redis_became_a_replica_is_a_link_that_is_lost() -> None:
    """It was taken for a refusal that a person must mend, and nobody looked at the list for a minute."""
    drained = Drained(key="list", side="left", longest=100)
    lease = Lease(key=drained.lease, holder="hub-a", session="1", seconds=30)
    with running() as server, server.client() as client:
        async with connected(server.url) as connection:
            mine = ReliableList(connection, drained=drained, lease=lease)
            assert await mine.acquire() is None
            waiting = asyncio.create_task(mine.wait())
            await until(lambda: client.info("clients")["blocked_clients"])
            client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
            with pytest.raises(NotConnected, match="UNBLOCKED"):
                await waiting
            with pytest.raises(NotConnected):
                await mine.take(done=0)
