"""kill -9 at random moments under load: every CDR that the dialler pushed is a call, once; and the same with two hubs,
of which one is killed while it reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from support.daemon import Daemon
from support.enigma import cdr
from support.redis import RedisServer
from support.sql import rows

KEY = "enigma:notifications:campaigns"
LEASE = f"{KEY}:cdrhub:lease"
PUSHED_AT_ONCE = 40
PAUSE_SECONDS = 0.02
BACKLOG = 600  #: CDRs that wait, from which on the dialler pushes no more until they are fewer
LONG_BACKLOG = 3_000


@dataclass(slots=True)
class Load:
    """What the dialler pushed."""

    pushed: int = 0
    over: bool = False


def source(server: RedisServer, *, reliable: str = "always") -> str:
    return (
        f'[sources.dialler]\ntype = "enigma"\nredis = "{server.url}"\nregion = "ZA"\nlease_seconds = 3\n'
        f'reliable = "{reliable}"\n'
    )


@asynccontextmanager
async def load(dialler: redis.Redis, *, backlog: int = BACKLOG) -> AsyncGenerator[Load]:
    """A dialler that pushes for as long as the block lasts."""
    load = Load()

    def push_some() -> None:
        if dialler.llen(KEY) < backlog:
            block = [cdr(call_ref=load.pushed + number) for number in range(PUSHED_AT_ONCE)]
            dialler.lpush(KEY, *block)
            load.pushed += len(block)

    async def push() -> None:
        while not load.over:
            await asyncio.to_thread(push_some)
            await asyncio.sleep(PAUSE_SECONDS)

    pushing = asyncio.create_task(push())
    try:
        yield load
    finally:
        load.over = True
        await pushing


def stored(url: str) -> int:
    ((count,),) = rows(url, "SELECT count(*) FROM calls")
    assert isinstance(count, int)
    return count


async def all_stored(url: str, amount: int, *, seconds: float = 90.0) -> None:
    """Wait until so many calls are in the database; not while none was added for so long."""
    there = 0
    try:
        async with asyncio.timeout(seconds) as patience:
            while (now_there := await asyncio.to_thread(stored, url)) < amount:
                if now_there > there:
                    there = now_there
                    patience.reschedule(asyncio.get_running_loop().time() + seconds)
                await asyncio.sleep(0.1)
    except TimeoutError:
        suspended = rows(url, "SELECT reason, count(*) FROM records WHERE state = 'suspended' GROUP BY reason")
        raise AssertionError(f"{there} of {amount} calls were stored; in suspense: {suspended}") from None


def assert_each_once(url: str, amount: int) -> None:
    keys = {key for (key,) in rows(url, "SELECT call_key FROM calls")}
    assert keys == {str(number) for number in range(amount)}
    assert stored(url) == amount
    assert rows(url, "SELECT 1 FROM calls WHERE record_count <> 1") == []
    assert rows(url, "SELECT 1 FROM records WHERE state <> 'applied' AND content_type = 'application/json'") == []


async def killed_again_and_again(
    server: RedisServer, dialler: redis.Redis, folder: Path, url: str, *, times: int, backlog: int = BACKLOG
) -> None:
    chance = random.Random(times)
    daemon = Daemon(folder, database=url, sources=source(server))
    try:
        async with load(dialler, backlog=backlog) as said:
            for _ in range(times):
                await asyncio.to_thread(daemon.start)
                # Until it reads, which it cannot always do at once: the lease of the first session may have to expire.
                await asyncio.to_thread(daemon.wait_for, "cdrhub_records_received_total", 1)
                await asyncio.sleep(chance.uniform(0, 0.5))
                daemon.kill()
        await asyncio.to_thread(daemon.start)
        await all_stored(url, said.pushed)
        assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        daemon.kill()
    assert_each_once(url, said.pushed)
    assert dialler.keys() == []


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_several_times(
    request: pytest.FixtureRequest, redis_server: RedisServer, dialler: redis.Redis, tmp_path: Path, engine: str
) -> None:
    times = 6 if engine == "sqlite" else 4
    url = request.getfixturevalue(f"{engine}_url")
    await killed_again_and_again(redis_server, dialler, tmp_path / "hub", url, times=times)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_fifty_times(
    request: pytest.FixtureRequest, redis_server: RedisServer, dialler: redis.Redis, tmp_path: Path, engine: str
) -> None:
    url = request.getfixturevalue(f"{engine}_url")
    await killed_again_and_again(redis_server, dialler, tmp_path / "hub", url, times=50, backlog=LONG_BACKLOG)


async def test_two_hubs_of_which_the_reading_one_is_killed(
    redis_server: RedisServer, dialler: redis.Redis, tmp_path: Path, postgres_url: str
) -> None:
    hubs = [Daemon(tmp_path / name, database=postgres_url, sources=source(redis_server)) for name in ("one", "two")]
    one, two = hubs
    chance = random.Random(2)
    try:
        async with load(dialler) as said:
            await asyncio.to_thread(one.start)
            await asyncio.to_thread(one.wait_for, "cdrhub_records_received_total", 1)
            await asyncio.to_thread(two.start)
            for reading, standing in ((one, two), (two, one)):
                await asyncio.to_thread(standing.wait_for, "cdrhub_source_events_total", 1, what="stood_by")
                assert standing.metric("cdrhub_records_received_total") == 0
                assert standing.metric("cdrhub_source_links") == 0
                await asyncio.sleep(chance.uniform(0, 0.5))
                reading.kill()
                await asyncio.to_thread(standing.wait_for, "cdrhub_records_received_total", 1)
                await asyncio.to_thread(reading.start)
        await all_stored(postgres_url, said.pushed)
        for hub in hubs:
            assert await asyncio.to_thread(hub.stop) == 0
    finally:
        for hub in hubs:
            hub.kill()
    assert_each_once(postgres_url, said.pushed)
    assert rows(postgres_url, "SELECT 1 FROM coverage WHERE state = 'blind' AND detail LIKE 'stands by: %'")
    assert dialler.keys() == []
