"""A database that is cut off while events are delivered: they wait, and then all arrive, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from cdrhub.store import Store
from support.broadcast import Receiver, receiving
from support.broadcasting import Bench, crm, until
from support.proxy import Proxy
from support.servers import MariaDBServer, PostgresServer

_numbers = count(1)


@pytest.fixture(params=["postgres_server", "mariadb_server"])
async def far(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bench, Bench, Proxy]]:
    """A database as a hub sees it, as the test sees it, and what is between the hub and the database."""
    server: PostgresServer | MariaDBServer = request.getfixturevalue(request.param)
    name = f"broadcast_outage_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    async with Proxy(("127.0.0.1", server.port)) as proxy:
        near = Store.open(server.url(name), connections=4)
        await near.prepare()
        hub = Store.open(server.url(name, port=proxy.port), connections=4, seconds=5.0)
        yield Bench(hub), Bench(near), proxy
        await hub.close()
        await near.close()


def revisions(receiver: Receiver) -> set[int]:
    """What was taken."""
    return {one.number for one in receiver.taken}


async def test_what_waits_while_the_database_is_away_is_told_when_it_is_back(far: tuple[Bench, Bench, Proxy]) -> None:
    bench, near, proxy = far
    await near.known()
    async with receiving() as receiver, bench.hub(crm(receiver)):
        await near.tell(*((call, call) for call in range(40)))
        await until(lambda: len(receiver.taken) >= 10)
        await proxy.stop()
        await asyncio.sleep(0.3)
        await near.tell(*((call, call) for call in range(40, 80)))
        await asyncio.sleep(0.3)
        assert not revisions(receiver) & set(range(40, 80))
        await proxy.start()
        await until(lambda: revisions(receiver) == set(range(80)))
        assert receiver.in_order()
