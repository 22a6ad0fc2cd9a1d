"""All phone systems, redial and broadcast in one daemon or two, while whatever they need is killed beside them.

What the promises come to: the calls are those of the ledgers, to the second; nobody was dialled twice; each call ended
once for the receiver. What a phone system does not send again goes through something that keeps it: 3CX lines through a
file, pushes through a forwarder that repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from cdrhub.cli.demo.verify import verified
from cdrhub.config import load
from cdrhub.sources.simulation.comparison import Difference
from cdrhub.store import Store
from support import redis, servers
from support.broadcast import SECRET, Receiver, receiving
from support.daemon import Daemon
from support.exchange import REDIAL, exchange, ordered, over, states
from support.redis import RedisServer
from support.servers import PostgresServer, free_port
from support.sql import rows

SECONDS = 90.0  #: that calls begin
SIMULATED = ("--rate", "4", "--speed", "30", "--seconds", str(SECONDS))
SYSTEMS = ("3cx", "voicenter", "freeswitch", "astercc", "enigma")
PATHS = {name: f"/ingest/{name}/0123456789abcdef-secret" for name in ("lines", "documents", "events", "pushes")}
END_SECONDS = 300.0  #: for what is under way to come to its end, on a machine that has other things to do

SOURCES = """
[sources.lagos]
type = "3cx"
mode = "file"
path = "{lines}"
region = "NG"

[sources.tel-aviv]
type = "voicenter"
path = "{pushes}"
region = "IL"

[sources.documents]
type = "freeswitch-cdr"
path = "{documents}"
into = "callcentre"
region = "FR"

[sources.shanghai]
type = "astercc"
path = "{events}"
region = "CN"
"""
#: What two hubs may hear at once.
SHARED = """
[sources.callcentre]
type = "freeswitch"
port = {switch}
password = "s3cret"
region = "FR"
calls = "all"

[sources.dialler]
type = "enigma"
redis = "{redis}"
keys = ["enigma:notifications:campaigns", "enigma:notifications:cdr"]
lease_seconds = 3
region = "FR"

[[broadcast.webhooks]]
name = "crm"
url = "{receiver}"
secret = "{secret}"
types = ["call.*"]
allow_private = true
"""


@dataclass(slots=True)
class Forwarder:
    """Repeats what is pushed to it until the hub has it."""

    hub: Daemon
    url: str = ""
    over: bool = False

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Hand one push over; its sender waits for the hub's answer."""
        body, url = await request.read(), f"http://127.0.0.1:{self.hub.http_port}{request.raw_path}"
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
            while not self.over:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with client.post(url, data=body, headers=headers) as answer:
                        if answer.status == 200:
                            return web.Response(body=await answer.read(), content_type=answer.content_type)
                await asyncio.sleep(0.1)
        return web.Response(status=503)


@asynccontextmanager
async def forwarding(hub: Daemon) -> AsyncGenerator[Forwarder]:
    """A forwarder on loopback."""
    forwarder = Forwarder(hub)
    app = web.Application()
    app.router.add_post("/{path:.*}", forwarder.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    forwarder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield forwarder
    finally:
        forwarder.over = True
        await runner.cleanup()


@asynccontextmanager
async def written_to(file: Path) -> AsyncGenerator[str]:
    """What takes a PBX's lines and appends them to a file; where it listens."""
    file.touch()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), file.open("ab", buffering=0) as lines:
            while data := await reader.read(1 << 16):
                lines.write(data)

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def simulated(folder: Path, system: str, *arguments: str) -> subprocess.Popen[bytes]:
    """`cdrhub simulate SYSTEM` as a process, with a ledger of its own."""
    ledger = ("--ledger", str(folder / f"{system}.jsonl"))
    with (folder / f"{system}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cdrhub", "simulate", system, *arguments, *SIMULATED, *ledger],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "CDRHUB_SIMULATE_PASSWORD": "s3cret"},
        )


@dataclass(slots=True)
class Faults:
    """What goes wrong, one after the other."""

    chance: random.Random
    hubs: Sequence[Daemon]
    database: PostgresServer
    lists: RedisServer
    receiver: Receiver

    async def until(self, over: float) -> Counter[str]:
        """Let things go wrong until that moment of the monotonic clock; what did, and how often."""
        kinds: list[Callable[[Daemon], Awaitable[None]]] = [
            *(self.killed, self.killed, self.killed_often, self.stopped, self.reloaded, self.asleep),
            *(self.without_database, self.database_killed, self.connections_cut, self.without_lists, self.unheard),
        ]
        happened: Counter[str] = Counter()
        while time.monotonic() < over:
            await asyncio.sleep(self.chance.uniform(1, 7))
            kind = self.chance.choice(kinds)
            await kind(self.chance.choice(self.hubs))
            happened[kind.__name__] += 1
        return happened

    async def killed(self, hub: Daemon) -> None:
        """As by a power cut."""
        hub.kill()
        await asyncio.sleep(self.chance.uniform(0, 4))
        await asyncio.to_thread(hub.start)

    async def killed_often(self, hub: Daemon) -> None:
        """Lives of less than a second."""
        for _ in range(5):
            hub.kill()
            await asyncio.to_thread(hub.start)
            await asyncio.sleep(self.chance.uniform(0, 0.7))

    async def stopped(self, hub: Daemon) -> None:
        """As for an upgrade."""
        assert await asyncio.to_thread(hub.stop) == 0
        await asyncio.to_thread(hub.start)

    async def reloaded(self, hub: Daemon) -> None:
        """Its configuration is read again."""
        hub.signal(signal.SIGHUP)

    async def asleep(self, hub: Daemon) -> None:
        """As a suspended machine."""
        hub.signal(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(1, 8))
        hub.signal(signal.SIGCONT)

    async def without_database(self, _hub: Daemon) -> None:
        """PostgreSQL is shut down at once, and recovers."""
        await asyncio.to_thread(lambda: self.database.stop(how=signal.SIGQUIT))
        await asyncio.sleep(self.chance.uniform(0, 5))
        await asyncio.to_thread(self.database.start)

    async def database_killed(self, _hub: Daemon) -> None:
        """All processes of PostgreSQL at once, a few times; it recovers from its log."""
        for _ in range(self.chance.randint(1, 3)):
            await asyncio.to_thread(self.database.kill)
            await asyncio.to_thread(self.database.start)
            await asyncio.sleep(self.chance.uniform(0, 1))

    async def connections_cut(self, _hub: Daemon) -> None:
        """As by somebody who ends what seems to hang."""
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hub' AND random() < 0.5"
        for _ in range(10):
            await asyncio.to_thread(self.database.execute, cut)
            await asyncio.sleep(self.chance.uniform(0, 0.3))

    async def without_lists(self, _hub: Daemon) -> None:
        """Redis is killed."""
        self.lists.kill()
        await asyncio.sleep(self.chance.uniform(0, 3))
        await asyncio.to_thread(self.lists.start)

    async def unheard(self, _hub: Daemon) -> None:
        """The CRM hangs for a while."""
        answer, self.receiver.answer = self.receiver.answer, None
        await asyncio.sleep(3)
        self.receiver.answer = answer


@pytest.mark.soak
@pytest.mark.parametrize("hubs", [1, 2])
async def test_the_promises_hold_while_everything_is_killed(tmp_path: Path, hubs: int) -> None:
    on_disk = ("--appendonly", "yes", "--appendfsync", "always")
    with servers.running(PostgresServer, durable=True) as database, redis.running(options=on_disk) as lists:
        database.execute("CREATE DATABASE hub")
        store = Store.open(database.url("hub"))
        await store.prepare()
        try:
            await everything_at_once(tmp_path, store=store, database=database, lists=lists, hubs=hubs)
        finally:
            await store.close()


async def everything_at_once(
    folder: Path, *, store: Store, database: PostgresServer, lists: RedisServer, hubs: int
) -> None:
    chance, url, switch_port = random.Random(hubs), database.url("hub"), free_port()
    async with exchange(hubs) as switch, receiving() as receiver, written_to(folder / "cdr.log") as pbx:
        shared = SHARED.format(switch=switch_port, redis=lists.url, receiver=receiver.url, secret=SECRET)
        shared += REDIAL.format(port=switch.port)
        own = SOURCES.format(**{**PATHS, "lines": folder / "cdr.log"})
        running = [Daemon(folder / "one", database=url, sources=shared + own)]
        running += [Daemon(folder / f"more-{number}", database=url, sources=shared) for number in range(1, hubs)]
        switch.hub = f"http://127.0.0.1:{running[0].http_port}"
        systems: list[subprocess.Popen[bytes]] = []
        try:
            async with forwarding(running[0]) as forwarder:
                for hub in running:
                    await asyncio.to_thread(hub.start)
                documents = ("--calls", "all", "--cdr-to", forwarder.url + PATHS["documents"])
                systems += [
                    simulated(folder, "3cx", "--to", pbx, "--region", "NG", "--pbx", "v20"),
                    simulated(folder, "voicenter", "--to", forwarder.url + PATHS["pushes"]),
                    simulated(folder, "freeswitch", "--listen", f"127.0.0.1:{switch_port}", *documents),
                    simulated(folder, "astercc", "--to", forwarder.url + PATHS["events"]),
                    simulated(folder, "enigma", "--to", lists.url),
                ]
                cases = int(SECONDS / 2)
                await ordered(store, how_many=cases)
                receiver.answer = lambda _received: 503 if chance.random() < 0.05 else 204
                faults = Faults(chance, running, database, lists, receiver)
                print(f"what went wrong: {dict(await faults.until(time.monotonic() + SECONDS))}")  # noqa: T201 - if it fails
                receiver.answer = lambda _received: 204
                for system, process in zip(SYSTEMS, systems, strict=True):
                    status = await asyncio.to_thread(process.wait, END_SECONDS)
                    assert status == 0, (folder / f"{system}.log").read_text()
            await over(store, how_many=cases)
            assert {state for state, _ in await states(store)} <= {"exhausted", "paused"}
            assert [attempt for attempt, times in switch.dialled.items() if times > 1] == []
            assert [number for number, times in switch.numbers.items() if times > 1] == []
            ledger = folder / "ledger.jsonl"
            ledger.write_bytes(b"".join((folder / f"{system}.jsonl").read_bytes() for system in SYSTEMS))
            assert await differences(running[0], ledger) == []
            assert rows(url, "SELECT reason, count(*) FROM records WHERE state = 'suspended' GROUP BY reason") == []
            await told_once(url, receiver)
            for hub in running:
                assert await asyncio.to_thread(hub.stop) == 0
        finally:
            for hub in running:
                hub.kill()
            for process in systems:
                process.kill()
                process.wait()


async def differences(hub: Daemon, ledger: Path) -> Sequence[Difference]:
    """What the database and the ledger tell differently, once what was under way is through: calls that the exchange
    dialled apart."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        comparison = await asyncio.to_thread(verified, load(hub.config, os.environ), ledger)
        assert comparison.calls.keys() == set(SYSTEMS)
        found = [one for one in comparison.differences if not one.call_key.startswith("call-")]
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(2)


async def told_once(url: str, receiver: Receiver) -> None:
    """Wait until the receiver has the end of each call; each has one, under one id, and the events are in order."""
    calls = {str(call) for (call,) in rows(url, "SELECT id FROM calls WHERE state = 'ended'")}
    async with asyncio.timeout(END_SECONDS):
        while not calls <= {one.call for one in receiver.taken}:  # noqa: ASYNC110 - what is waited for knows nothing of us
            await asyncio.sleep(0.5)
    ends = {(one.call, one.id, one.type) for one in receiver.asked if one.type in ("call.hangup", "call.ended")}
    assert Counter(call for call, _, _ in ends) == dict.fromkeys(calls, 1)
    assert receiver.in_order(once=True)
    assert rows(url, "SELECT max(position) - min(position) + 1 - count(position) FROM outbox") == [(0,)]
