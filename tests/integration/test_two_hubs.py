"""Two hubs hear the same FreeSWITCH and write into one PostgreSQL: each call once, whichever of them is killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from support.daemon import Daemon
from support.esl import PASSWORD, Connection, EventSocketServer, event
from support.freeswitch import Switch
from support.intake import until
from support.sql import rows

KILLS = 3
BURST = 10  #: calls between two breaths of the switch
BREATH_SECONDS = 0.05
ACKNOWLEDGED = "cdrhub_records_acknowledged_total"


class Talking:
    """A switch on which callers enter a queue and give up, without end, as all who listen hear."""

    def __init__(self, server: EventSocketServer) -> None:
        self._server = server
        self._switch = Switch()
        self._going = asyncio.Event()
        self._quiet = asyncio.Event()
        self._going.set()
        self.calls: list[str] = []
        self.heard: Counter[Connection] = Counter()  #: events sent on each connection

    async def forever(self) -> None:
        """Talk; every event goes to whoever listens at that moment."""
        while True:
            self._quiet.set()
            await self._going.wait()
            self._quiet.clear()
            for _ in range(BURST):
                self.calls.append(f"call-{len(self.calls):06}")
                for body in self._story(self.calls[-1]):
                    await self._say(event(body))
            await asyncio.sleep(BREATH_SECONDS)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No call goes on meanwhile."""
        self._going.clear()
        await self._quiet.wait()
        try:
            yield
        finally:
            self._going.set()

    async def _say(self, wire: bytes) -> None:
        await until(lambda: self._server.subscribers, "nobody listens")
        for connection in self._server.subscribers:
            with contextlib.suppress(ConnectionError):
                await connection.send(wire)
                self.heard[connection] += 1

    def _story(self, key: str) -> Sequence[bytes]:
        at = float(len(self.calls))
        member = {"CC-Queue": "support@default", "CC-Member-UUID": f"m-{key}", "CC-Member-Session-UUID": key}
        left = {
            "CC-Cause": "Cancel",
            "CC-Cancel-Reason": "BREAK_OUT",
            "CC-Member-Joined-Time": self._switch.second(at),
            "CC-Member-Leaving-Time": self._switch.second(at + 9),
            "Caller-Channel-Created-Time": self._switch.micro(at),
            "Caller-Channel-Hangup-Time": self._switch.micro(at + 9),
            "Hangup-Cause": "NORMAL_CLEARING",
        }
        return [
            self._switch.callcenter("member-queue-start", member, at=at),
            self._switch.callcenter("member-queue-end", member | left, at=at + 9),
        ]


class TheHub:
    """One of the two, and the connection on which it listens."""

    def __init__(self, name: str, folder: Path, *, database: str, server: EventSocketServer) -> None:
        self._server = server
        self.connection: Connection | None = None
        self.daemon = Daemon(
            folder / name,
            database=database,
            sources=f'[sources.callcentre]\ntype = "freeswitch"\nport = {server.port}\npassword = "{PASSWORD}"\n'
            'reconcile_every = "1s"\n',
        )
        config = self.daemon.config.read_text()
        self.daemon.config.write_text(config.replace("[hub]", f'[hub]\nname = "{name}"', 1))

    async def start(self) -> None:
        """Start it and wait until it listens."""
        before = self._server.subscribers
        await asyncio.to_thread(self.daemon.start)
        await until(lambda: set(self._server.subscribers) - set(before), "the hub listens")
        (self.connection,) = set(self._server.subscribers) - set(before)

    async def kill(self) -> None:
        """SIGKILL, and wait until the switch has noticed."""
        await asyncio.to_thread(self.daemon.kill)
        await until(lambda: self.connection not in self._server.open, "the switch notices")

    async def has_taken_everything(self, talking: Talking) -> None:
        """Wait until all that the switch said to it is durable."""
        assert self.connection is not None
        said = talking.heard[self.connection]
        await asyncio.to_thread(self.daemon.wait_for, ACKNOWLEDGED, said, source="callcentre")


async def test_each_call_once_also_while_one_of_them_is_killed(tmp_path: Path, postgres_url: str) -> None:
    chance = Random(11)
    async with EventSocketServer() as server:
        talking = Talking(server)
        one, other = (TheHub(name, tmp_path, database=postgres_url, server=server) for name in ("one", "other"))
        work: asyncio.Task[None] | None = None
        try:
            await one.start()
            await other.start()
            work = asyncio.create_task(talking.forever())
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.3, 0.8))
                await one.kill()
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                await one.start()
                async with talking.paused():  # only what both could hear may be missed by the next one that dies
                    await other.has_taken_everything(talking)
                one, other = other, one
            async with talking.paused():
                work.cancel()
            for hub in (one, other):
                await hub.has_taken_everything(talking)
                assert await asyncio.to_thread(hub.daemon.stop) == 0
        finally:
            if work is not None:
                work.cancel()
                await asyncio.wait({work})
            one.daemon.kill()
            other.daemon.kill()

    stored = rows(postgres_url, "SELECT call_key, state, disposition FROM calls")
    assert Counter(stored) == Counter((key, "ended", "abandoned") for key in talking.calls)
    assert len(talking.calls) >= 20 * KILLS
    events = rows(postgres_url, "SELECT state, count(*) FROM records WHERE content_type LIKE 'text/event%' GROUP BY 1")
    assert events == [("applied", 2 * len(talking.calls))]
    told_twice = "SELECT call_id, type FROM outbox WHERE call_id IS NOT NULL GROUP BY call_id, type HAVING count(*) > 1"
    assert rows(postgres_url, told_twice) == []
    assert rows(postgres_url, "SELECT DISTINCT hub FROM coverage ORDER BY hub") == [("one",), ("other",)]


async def test_what_two_hubs_conclude_is_one_call(tmp_path: Path, postgres_url: str) -> None:
    """Both ask the switch at the same time, and both find a caller of whom no event told."""
    columns = "queue|uuid|session_uuid|cid_number|cid_name|system_epoch|joined_epoch|bridge_epoch|state"
    row = f"support|m|waits|1001|Jane|{Switch.second(0)}|{Switch.second(1)}|0|Waiting"
    exists = "uuid_exists waits"
    answers = {
        "callcenter_config queue list": "name\nsupport\n+OK",
        "callcenter_config queue list members support": f"{columns}\n{row}\n+OK",
        exists: "true",
    }
    async with EventSocketServer(answers=answers) as server:
        hubs = [TheHub(name, tmp_path, database=postgres_url, server=server) for name in ("one", "other")]
        try:
            await asyncio.gather(*(asyncio.to_thread(hub.daemon.start) for hub in hubs))
            await until(lambda: server.commands.count(f"api {exists}") >= 2 * len(hubs), "each asks twice")
            for hub in hubs:
                assert await asyncio.to_thread(hub.daemon.stop) == 0
        finally:
            for hub in hubs:
                hub.daemon.kill()
    assert rows(postgres_url, "SELECT call_key, state FROM calls") == [("waits", "queued")]
    concluded = "SELECT count(*) FROM records WHERE content_type LIKE '%inference%' AND call_id IS NOT NULL"
    assert rows(postgres_url, concluded) == [(1,)]
