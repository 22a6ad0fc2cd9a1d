"""A leased list on a real Redis: who may take, in which order, how much, what is left, and what is never lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import orjson
import pytest
import redis

from cdrhub.errors import BackOff, NotConnected
from cdrhub.sources.transports.redis_client import connected
from cdrhub.sources.transports.redis_list import (
    BATCH_BYTES,
    BATCH_ENTRIES,
    PLAIN_ENTRIES,
    Drained,
    Lease,
    LeasedList,
    PlainList,
    ReliableList,
    ScriptsRefused,
    Side,
)
from cdrhub.sources.transports.redis_look import look
from support.intake import until
from support.proxy import Proxy
from support.redis import RedisServer, running, without
from support.servers import free_port

KEY = "list"
PROCESSING = "list:cdrhub:processing"
LEASE = "list:cdrhub:lease"
LONGEST = 100_000
T = TypeVar("T")
Kind = type[ReliableList | PlainList]
KINDS: dict[str, Kind] = {"reliable": ReliableList, "plain": PlainList}


@asynccontextmanager
async def leased(
    server: RedisServer,
    *,
    kind: Kind = ReliableList,
    side: Side = "left",
    holder: str = "hub-a",
    session: str = "1",
    seconds: int = 10,
    port: int = 0,
) -> AsyncGenerator[ReliableList | PlainList]:
    drained = Drained(key=KEY, side=side, longest=LONGEST, foreign="queue_calls")
    lease = Lease(key=drained.lease, holder=holder, session=session, seconds=seconds)
    async with connected(server.at(port or server.port)) as client:
        yield kind(client, drained=drained, lease=lease)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def entries(*numbers: int) -> list[bytes]:
    return [b"entry %d" % number for number in numbers]


async def drained_by(a_list: LeasedList, *, done: int = 0) -> list[bytes]:
    """Everything a list gives, batch after batch, after a batch of `done` entries."""
    found: list[bytes] = []
    taken = await a_list.take(done=done)
    while taken.bodies:
        found += taken.bodies
        taken = await a_list.take(done=taken.done)
    return found


# -- the lease


async def test_one_worker_has_the_lease_until_it_gives_it_back(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    dialler.rpush(KEY, *entries(1, 2))
    async with leased(redis_server, kind=kind) as mine, leased(redis_server, kind=kind, holder="hub-b") as other:
        assert await mine.acquire() is None
        assert await other.acquire() == "hub-a"
        with pytest.raises(NotConnected, match="the lease on list is lost"):
            await other.take(done=0)
        with pytest.raises(NotConnected):
            await other.renew()
        await other.release(done=5)
        assert dialler.get(LEASE) == b"hub-a 1"
        assert dialler.llen(KEY) == 2
        await mine.release(done=0)
        assert await other.acquire() is None


async def test_a_lease_expires_and_what_its_worker_says_afterwards_counts_no_more(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    dialler.rpush(KEY, *entries(1, 2, 3))
    async with leased(redis_server, kind=kind) as paused, leased(redis_server, kind=kind, holder="hub-b") as other:
        await paused.acquire()
        await paused.take(done=0)
        dialler.delete(LEASE)  # as its expiry does
        assert await other.acquire() is None
        before = dialler.lrange(PROCESSING, 0, -1)
        for late in (paused.take(done=3), paused.renew()):
            with pytest.raises(NotConnected):
                await late
        await paused.release(done=3)
        assert dialler.lrange(PROCESSING, 0, -1) == before
        assert dialler.get(LEASE) == b"hub-b 1"


async def test_every_taking_renews_the_lease(redis_server: RedisServer, dialler: redis.Redis, kind: Kind) -> None:
    async with leased(redis_server, kind=kind) as mine:
        await mine.acquire()
        for renewing in (mine.take(done=0), mine.renew()):
            dialler.pexpire(LEASE, 4_000)
            await renewing
            assert dialler.pttl(LEASE) > 9_000


async def test_an_earlier_session_of_the_same_daemon_is_not_waited_for_and_cannot_come_back(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    dialler.rpush(KEY, *entries(1, 2))
    async with leased(redis_server, kind=kind) as before, leased(redis_server, kind=kind, session="2") as now:
        await before.acquire()
        assert await now.acquire() is None
        taken = await now.take(done=0)
        with pytest.raises(NotConnected):
            await before.take(done=2)
        assert taken.bodies == entries(1, 2)
        assert dialler.llen(PROCESSING) == taken.done


async def test_a_name_that_begins_alike_is_another_daemon(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    assert dialler.keys() == []
    async with (
        leased(redis_server, kind=kind, holder="hub-10") as ten,
        leased(redis_server, kind=kind, holder="hub-1") as one,
    ):
        await ten.acquire()
        assert await one.acquire() == "hub-10"
        await ten.release(done=0)


async def test_a_lease_that_another_gets_between_our_look_and_our_step_is_not_ours(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    """Without a script the look and the step are two commands."""
    dialler.rpush(KEY, *entries(1, 2))
    async with (
        Proxy(("127.0.0.1", redis_server.port)) as proxy,
        leased(redis_server, kind=PlainList, port=proxy.port, seconds=60) as mine,
    ):

        async def overtaken(step: Coroutine[Any, Any, T]) -> T:
            return await before_the_step(proxy, step, lambda: dialler.set(LEASE, b"hub-b 1", ex=60))

        assert await overtaken(mine.acquire()) == "another worker"
        assert dialler.get(LEASE) == b"hub-b 1"
        dialler.delete(LEASE)
        assert await mine.acquire() is None
        with pytest.raises(NotConnected, match="the lease on list is lost"):
            await overtaken(mine.take(done=0))
        assert dialler.lrange(KEY, 0, -1) == entries(1, 2)


async def test_an_order_that_the_dialler_takes_between_our_look_and_our_step_is_not_put_back(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    async with (
        Proxy(("127.0.0.1", redis_server.port)) as proxy,
        leased(redis_server, kind=PlainList, port=proxy.port) as mine,
    ):
        await mine.acquire()
        await mine.take(done=0)  # which looks at what another worker left
        dialler.rpush(KEY, b'{"type": "queue_calls"}', *entries(1))
        with pytest.raises(NotConnected):
            await before_the_step(proxy, mine.take(done=0), lambda: dialler.lpop(KEY))
        assert dialler.lrange(KEY, 0, -1) == entries(1)


async def before_the_step(proxy: Proxy, step: Coroutine[Any, Any, T], meanwhile: Callable[[], object]) -> T:
    """What `step` gives when something happens after what it looked at and before what it does."""
    proxy.go_deaf_at(b"EXEC")
    stepping = asyncio.create_task(step)
    await until(lambda: proxy.deaf)
    meanwhile()
    proxy.heal()
    return await stepping


async def test_a_connection_that_breaks_while_we_look_comes_back_soon(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    async with (
        Proxy(("127.0.0.1", redis_server.port)) as proxy,
        leased(redis_server, kind=PlainList, port=proxy.port, seconds=60) as mine,
    ):
        proxy.go_deaf_at(b"GET")
        stepping = asyncio.create_task(mine.acquire())
        await until(lambda: proxy.deaf)
        dialler.client_kill_filter(_type="normal", skipme=True)
        proxy.heal()
        with pytest.raises(NotConnected, match="ConnectionError occurred while watching"):
            await stepping
        assert await mine.acquire() is None


# -- taking


@pytest.mark.parametrize("side", ["left", "right"])
async def test_entries_come_from_their_side_in_order(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind, side: Side
) -> None:
    amount = 2 * max(BATCH_ENTRIES, PLAIN_ENTRIES) + 7
    everything = entries(*range(amount))
    dialler.rpush(KEY, *everything)
    async with leased(redis_server, kind=kind, side=side) as mine:
        await mine.acquire()
        first = await mine.take(done=0)
        assert len(first.bodies) == (BATCH_ENTRIES if kind is ReliableList else PLAIN_ENTRIES)
        assert not first.recovered
        rest = await drained_by(mine, done=first.done)
    assert [*first.bodies, *rest] == (everything if side == "left" else everything[::-1])
    assert dialler.keys() == [LEASE.encode()]


async def test_what_was_taken_is_in_redis_until_the_next_taking_says_that_it_is_durable(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    dialler.rpush(KEY, *entries(1, 2))
    async with leased(redis_server) as mine:
        await mine.acquire()
        taken = await mine.take(done=0)
        assert dialler.lrange(PROCESSING, 0, -1) == entries(1, 2)
        assert dialler.llen(KEY) == 0
        dialler.rpush(KEY, *entries(3))
        assert (await mine.take(done=taken.done)).bodies == entries(3)
        assert dialler.lrange(PROCESSING, 0, -1) == entries(3)
        await mine.release(done=1)
    assert dialler.keys() == []


async def test_the_next_worker_takes_what_the_last_one_left(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    dialler.rpush(KEY, *entries(4, 5))
    dialler.rpush(PROCESSING, *entries(1, 2, 3))
    async with leased(redis_server, kind=kind) as mine:
        await mine.acquire()
        left = await mine.take(done=0)
        assert (left.bodies, left.recovered, left.done) == (entries(1, 2, 3), True, 3)
        assert dialler.llen(KEY) == 2
        new = await mine.take(done=left.done)
        assert (new.bodies, new.recovered) == (entries(4, 5), False)
        await mine.release(done=new.done)
    assert dialler.keys() == []


async def test_a_batch_is_bounded_in_bytes(redis_server: RedisServer, dialler: redis.Redis) -> None:
    half = BATCH_BYTES // 2
    big = [b"%d" % number * half for number in range(1, 6)]
    dialler.rpush(KEY, *big)
    async with leased(redis_server) as mine:
        await mine.acquire()
        taken = await mine.take(done=0)
        assert len(taken.bodies) == 2
        dialler.rpush(PROCESSING, big[0])
        again = await mine.take(done=0)
        assert (len(again.bodies), again.recovered) == (2, True)
        assert len((await mine.take(done=2)).bodies) == 1
        rest = await drained_by(mine)
    assert [entry[:1] for entry in rest] == [b"1", b"3", b"4", b"5"]


async def test_an_entry_that_is_too_long_is_cut_and_taken_whole(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    dialler.rpush(KEY, b"x" * (LONGEST + 1), b"next")
    async with leased(redis_server, kind=kind) as mine:
        await mine.acquire()
        assert await drained_by(mine) == [b"x" * LONGEST, b"next"]
    assert dialler.keys() == [LEASE.encode()]


async def test_an_entry_beyond_a_whole_batch_is_taken_alone_and_holds_nothing_up(
    redis_server: RedisServer, dialler: redis.Redis
) -> None:
    dialler.rpush(KEY, b"x" * (BATCH_BYTES + 1), b"next")
    async with leased(redis_server) as mine:
        await mine.acquire()
        assert (await mine.take(done=0)).bodies == [b"x" * LONGEST]
        assert (await mine.take(done=0)).bodies == [b"x" * LONGEST]
        assert (await mine.take(done=1)).bodies == [b"next"]


@pytest.mark.parametrize("side", ["left", "right"])
async def test_what_belongs_to_somebody_else_is_left_in_its_place(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind, side: Side
) -> None:
    def foreign(rate: int) -> bytes:
        return orjson.dumps({"type": "queue_calls", "payload": {"rate": rate}})

    named = orjson.dumps({"type": "cdr", "payload": {"contact_ref": "queue_calls"}})
    broken = b'{"type": "queue_calls"'
    dialler.rpush(KEY, foreign(1), named, foreign(2), broken, b"[]", foreign(3))
    async with leased(redis_server, kind=kind, side=side) as mine:
        await mine.acquire()
        taken = await mine.take(done=0)
        assert sorted(taken.bodies) == sorted([named, broken, b"[]"])
        assert taken.left == 3
        assert dialler.lrange(KEY, 0, -1) == [foreign(1), foreign(2), foreign(3)]
        nothing = await mine.take(done=taken.done)
        assert (nothing.bodies, nothing.left) == ([], 3)
    assert dialler.lrange(KEY, 0, -1) == [foreign(1), foreign(2), foreign(3)]
    assert not dialler.exists(PROCESSING)


@pytest.mark.parametrize("side", ["left", "right"])
async def test_who_may_not_put_back_what_is_somebody_elses_takes_nothing(
    redis_server: RedisServer, dialler: redis.Redis, side: Side
) -> None:
    waiting = [b'{"type": "queue_calls"}', *entries(1)]
    dialler.rpush(KEY, *waiting)
    put_back = {"left": "-lpush", "right": "-rpush"}[side]
    dialler.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", put_back])
    drained = Drained(key=KEY, side=side, longest=LONGEST, foreign="queue_calls")
    lease = Lease(key=LEASE, holder="hub-a", session="1", seconds=10)
    async with connected(f"redis://reader:secret@127.0.0.1:{redis_server.port}/0") as client:
        mine = ReliableList(client, drained=drained, lease=lease)
        await mine.acquire()
        with pytest.raises(BackOff, match=put_back[1:]):
            await mine.take(done=0)
    dialler.acl_deluser("reader")
    assert dialler.lrange(KEY, 0, -1) == waiting
    assert not dialler.exists(PROCESSING)


# -- waiting


async def test_waiting_takes_nothing_and_changes_nothing(
    redis_server: RedisServer, dialler: redis.Redis, kind: Kind
) -> None:
    async with leased(redis_server, kind=kind, side="right") as mine:
        await mine.acquire()
        waiting = asyncio.create_task(mine.wait())
        await until(lambda: dialler.info("clients")["blocked_clients"])
        dialler.rpush(KEY, *entries(1, 2, 3))
        await waiting
        assert dialler.lrange(KEY, 0, -1) == entries(1, 2, 3)
        await mine.wait()
        assert dialler.lrange(KEY, 0, -1) == entries(1, 2, 3)


async def test_a_wait_ends_by_itself_in_time_to_renew_the_lease(redis_server: RedisServer, kind: Kind) -> None:
    async with leased(redis_server, kind=kind, seconds=3) as mine:
        await mine.acquire()
        await mine.wait()
        await mine.renew()


# -- servers that are old, full, or refuse


async def test_a_redis_without_scripts_is_known_by_its_answer() -> None:
    with running(options=without("EVALSHA")) as old:
        async with leased(old) as mine:
            with pytest.raises(ScriptsRefused):
                await mine.acquire()
        async with connected(old.url) as client:
            found = await look(client, Drained(key=KEY, side="left", longest=1), seconds=5)
        assert not found.scripts


async def test_a_redis_without_scripts_and_blmove_is_drained_plainly() -> None:
    with running(options=without("EVAL", "EVALSHA", "SCRIPT", "BLMOVE", "LMOVE")) as old, old.client() as client:
        client.rpush(KEY, *entries(*range(250)))
        async with leased(old, kind=PlainList) as mine:
            await mine.acquire()
            assert await drained_by(mine) == entries(*range(250))
            await mine.wait()
            client.rpush(KEY, b"more")
            await mine.wait()
            assert (await mine.take(done=0)).bodies == [b"more"]


async def test_a_redis_without_blmove_is_looked_at_again_and_again() -> None:
    with running(options=without("BLMOVE")) as old, old.client() as client:
        async with leased(old) as mine:
            await mine.acquire()
            await mine.wait()
            client.rpush(KEY, b"entry")
            await mine.wait()
            assert (await mine.take(done=0)).bodies == [b"entry"]


async def test_a_user_who_may_not_run_scripts(redis_server: RedisServer, dialler: redis.Redis) -> None:
    dialler.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-@scripting")  # type: ignore[no-untyped-call]
    drained = Drained(key=KEY, side="left", longest=LONGEST)
    lease = Lease(key=LEASE, holder="hub-a", session="1", seconds=10)
    async with connected(f"redis://reader:secret@127.0.0.1:{redis_server.port}/0") as client:
        with pytest.raises(ScriptsRefused):
            await ReliableList(client, drained=drained, lease=lease).acquire()
        assert await PlainList(client, drained=drained, lease=lease).acquire() is None


async def test_a_redis_that_is_over_its_memory_is_emptied_all_the_same() -> None:
    with running() as full, full.client() as client:
        client.rpush(KEY, *entries(*range(1_200)))
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.OutOfMemoryError):
            client.rpush(KEY, b"one more")
        async with leased(full) as mine:
            assert await mine.acquire() is None
            assert await drained_by(mine) == entries(*range(1_200))
            await mine.wait()
            client.config_set("maxmemory", 0)
            client.rpush(KEY, b"one more")
            await mine.wait()
            assert await drained_by(mine) == [b"one more"]
            await mine.release(done=0)


async def test_a_redis_that_refuses_to_take_back_what_is_somebody_elses_gives_nothing_plainly() -> None:
    waiting = [b'{"type": "queue_calls"}', *entries(1)]
    with running() as full, full.client() as client:
        client.rpush(KEY, *waiting)
        async with leased(full, kind=PlainList) as mine:
            await mine.acquire()
            client.config_set("maxmemory", 1)
            with pytest.raises(BackOff, match="maxmemory"):
                await mine.take(done=0)
            assert client.lrange(KEY, 0, -1) == waiting
            client.config_set("maxmemory", 0)
            assert (await mine.take(done=0)).bodies == entries(1)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis://:wrong@127.0.0.1:{port}/0"])
async def test_a_password_that_is_missing_or_wrong_needs_a_person(url: str) -> None:
    with running(password="se:cret") as server:
        async with connected(url.format(port=server.port)) as client:
            with pytest.raises(BackOff, match="Redis refuses us") as refused:
                await look(client, Drained(key=KEY, side="left", longest=1), seconds=5)
    assert "wrong" not in str(refused.value).replace("WRONGPASS", "")


async def test_a_key_that_is_no_list_needs_a_person(redis_server: RedisServer, dialler: redis.Redis) -> None:
    dialler.set(KEY, "a text")
    async with leased(redis_server) as mine:
        await mine.acquire()
        with pytest.raises(BackOff, match=rf"wrong kind of value.*\({KEY}\)"):
            await mine.take(done=0)


def hold_up(client: redis.Redis) -> None:
    """Have a script run until it is killed, so that nothing else does."""
    client.config_set("lua-time-limit", "1")
    with contextlib.suppress(redis.ResponseError):  # as it ends when it is killed
        client.eval("while true do end", 0)


@asynccontextmanager
async def busy() -> AsyncGenerator[RedisServer]:
    with running() as server, server.client() as client, server.client() as other:
        holding = asyncio.create_task(asyncio.to_thread(hold_up, other))
        await until(lambda: refusal(client))
        try:
            yield server
        finally:
            client.execute_command("SCRIPT", "KILL")  # type: ignore[no-untyped-call]
            await holding


def refusal(client: redis.Redis) -> str:
    try:
        client.get("nothing")
    except redis.ResponseError as error:
        return str(error)
    return ""


@asynccontextmanager
async def without_replicas() -> AsyncGenerator[RedisServer]:
    with running() as server, server.client() as client:
        client.config_set("min-replicas-to-write", "1")
        yield server


@asynccontextmanager
async def in_a_cluster_that_is_down() -> AsyncGenerator[RedisServer]:
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with running(options=options) as server:
        yield server


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        pytest.param(busy, "BUSY", id="busy"),
        pytest.param(without_replicas, "NOREPLICAS", id="no-replicas"),
        pytest.param(in_a_cluster_that_is_down, "slot", id="cluster-down"),
    ],
)
async def test_a_refusal_that_passes_by_itself_is_asked_about_again_soon(
    trouble: Callable[[], AbstractAsyncContextManager[RedisServer]], said: str
) -> None:
    async with trouble() as server, leased(server) as mine:
        with pytest.raises(NotConnected, match=said):
            await mine.acquire()


@pytest.mark.parametrize(
    "answer", ["MOVED 8001 10.0.0.9:7001", "CROSSSLOT Keys in request don't hash to the same slot"]
)
async def test_a_node_of_a_cluster_is_called_so(answer: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while commands := (await reader.read(4096)).count(b"*"):
            writer.write(f"-{answer}\r\n".encode() * commands)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(f"redis://127.0.0.1:{port}/0") as client:
            with pytest.raises(BackOff, match="a node of a cluster") as refused:
                await look(client, Drained(key=KEY, side="left", longest=1), seconds=5)
    assert answer.partition(" ")[2] in str(refused.value)


async def test_a_password_and_a_unix_socket(tmp_path: Any) -> None:
    with running(password="p@ss:w/rd") as server, server.client() as client:
        client.rpush(KEY, b"entry")
        for url in (
            f"redis://:p%40ss%3Aw%2Frd@127.0.0.1:{server.port}/0",
            f"unix://:p%40ss%3Aw%2Frd@{server.socket_path}",
        ):
            async with connected(url) as connection:
                found = await look(connection, Drained(key=KEY, side="left", longest=1), seconds=5)
            assert (found.entries, found.holder, found.scripts) == (1, None, True)


async def test_a_redis_that_hangs_is_given_up_in_time() -> None:
    with running() as server:
        async with AsyncExitStack() as stack:
            mine = await stack.enter_async_context(leased(server, seconds=3))
            await mine.acquire()
            server.pause()
            with pytest.raises(NotConnected, match="does not answer in time"):
                await mine.take(done=0)
            with pytest.raises(NotConnected, match="does not answer in time"):
                await mine.wait()
            server.resume()
