"""The live feed over real HTTP: where readers begin, what they are sent, who may, and what becomes of slow ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cdrhub.broadcast.bell import Bell
from cdrhub.broadcast.events import Event
from cdrhub.broadcast.log import AT_ONCE, Reach
from cdrhub.config import Role
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.web.auth import Guard, Token
from cdrhub.web.live import PATH, REMEMBERED_FRAMES, Limits, LiveFeed
from support.certificates import NEW
from support.intake import until
from support.peers import Client
from support.receivers import fields_of

NOW = datetime(2026, 3, 9, 10, 0, tzinfo=UTC)


@dataclass(slots=True)
class Log:
    """A log that grows and is purged as the test says."""

    events: list[Event] = field(default_factory=list)
    newest: int = 0
    readers: set[Bell] = field(default_factory=set)
    away: bool = False
    asked: asyncio.Event | None = None  #: what whoever asks how far it reaches waits for

    def add(self, kind: str = "call.ended", *, source: str = "lagos", **snapshot: Any) -> None:
        self.newest += 1
        self.events.append(
            Event(
                position=self.newest,
                call_id=None,
                case_id=None,
                source=source,
                type=kind,
                revision=1,
                stored_at=NOW,
                snapshot={"key": str(self.newest), **snapshot},
            )
        )
        for bell in self.readers:
            bell.ring()

    def purge(self, to: int) -> None:
        self.events = [event for event in self.events if event.position > to]

    async def after(self, position: int, *, limit: int = AT_ONCE) -> Sequence[Event]:
        if self.away:
            raise StoreUnavailable("away")
        return [event for event in self.events if event.position > position][:limit]

    async def reach(self) -> Reach:
        if self.asked is not None:
            await self.asked.wait()
        if self.away:
            raise StoreUnavailable("away")
        return Reach(oldest=self.events[0].position if self.events else 0, newest=self.newest)


@dataclass(slots=True)
class Served:
    """The feed behind a real server."""

    url: str
    log: Log
    feed: LiveFeed
    metrics: Metrics
    tokens: list[Token]
    port: int = 0

    @asynccontextmanager
    async def reader(
        self, query: str = "", *, last: str | None = None, token: str | None = None
    ) -> AsyncGenerator[Blocks]:
        headers = {} if last is None else {"Last-Event-ID": last}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        timeout = aiohttp.ClientTimeout(total=20)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{self.url}{query}", headers=headers, ssl=False) as answer,
        ):
            yield Blocks(answer)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@dataclass(slots=True)
class Blocks:
    """The blocks of one connection, one after the other."""

    answer: aiohttp.ClientResponse
    comments: int = 0

    async def next(self) -> dict[str, str]:
        """The next block; an empty one is the end."""
        block = b""
        while not block.endswith(b"\n\n"):
            line = await self.answer.content.readline()
            if not line:
                return {}
            block += line
        return fields_of(block.decode())

    async def told(self) -> tuple[str, str, dict[str, Any]]:
        """The next block with data: its id, its event, its data."""
        while True:
            said = await self.next()
            assert said, "the feed ended"
            if "data" in said:
                return said.get("id", ""), said.get("event", ""), json.loads(said["data"])


def server_tls(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody trusts."""
    (folder / "pair.pem").write_text("".join(NEW))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "pair.pem")
    return tls


@asynccontextmanager
async def serving(
    *, tokens: Sequence[Token] = (), limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Served]:
    held, log, metrics = list(tokens), Log(), Metrics()
    feed = LiveFeed(
        log, guard=lambda: Guard(tokens=held, trusted_proxies=()), metrics=metrics, limits=limits or Limits()
    )
    app = web.Application()
    app.router.add_get(PATH, feed.handle)
    app.on_shutdown.append(feed.close)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening, ssl_context=tls).start()
    port = listening.getsockname()[1]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{PATH}"
    try:
        yield Served(url=url, log=log, feed=feed, metrics=metrics, tokens=held, port=port)
    finally:
        await runner.cleanup()


async def test_a_new_reader_gets_what_comes_from_now_on() -> None:
    async with serving() as served:
        served.log.add()
        async with served.reader() as blocks:
            assert blocks.answer.headers["Content-Type"] == "text/event-stream"
            assert await blocks.next() == {"retry": "2000", "id": "1"}
            served.log.add("call.started")
            position, event, document = await blocks.told()
            assert (position, event, document["type"], document["specversion"]) == ("2", "", "call.started", "1.0")


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_reader_that_comes_back_goes_on_at_the_next_event(how: str) -> None:
    async with serving() as served:
        for _ in range(500):
            served.log.add()
        query, last = ("?last_event_id=3", None) if how == "query" else ("", "3")
        async with served.reader(query, last=last) as blocks:
            assert [(await blocks.told())[0] for _ in range(497)] == [str(n) for n in range(4, 501)]
            served.log.add()
            assert (await blocks.told())[0] == "501"


async def test_the_header_of_a_client_that_reconnects_wins_over_its_first_query() -> None:
    async with serving() as served:
        for _ in range(5):
            served.log.add()
        async with served.reader("?last_event_id=1", last="4") as blocks:
            assert (await blocks.told())[0] == "5"


@pytest.mark.parametrize("last", ["0", "2"])
async def test_a_purged_position_gets_reset_and_what_is_still_there(last: str) -> None:
    async with serving() as served:
        for _ in range(6):
            served.log.add()
        served.log.purge(4)
        async with served.reader(last=last) as blocks:
            assert await blocks.told() == ("4", "reset", {"reason": "purged", "position": 4})
            assert (await blocks.told())[0] == "5"


@pytest.mark.parametrize("last", ["7", "nonsense", "-1", "9" * 40, "5 "])
async def test_a_position_that_was_never_given_gets_reset_and_what_is_new(last: str) -> None:
    async with serving() as served:
        for _ in range(6):
            served.log.add()
        async with served.reader(f"?last_event_id={last}") as blocks:
            assert await blocks.told() == ("6", "reset", {"reason": "unknown", "position": 6})
            served.log.add()
            assert (await blocks.told())[0] == "7"


async def test_an_event_that_cannot_be_written_is_told_and_ends_no_feed() -> None:
    async with serving() as served, served.reader() as blocks:
        served.log.add()
        served.log.add(beyond=2**64)
        served.log.add()
        assert [(await blocks.told())[:2] for _ in range(3)] == [("1", ""), ("2", "reset"), ("3", "")]


async def test_the_edge_of_what_is_purged_is_no_loss() -> None:
    async with serving() as served:
        for _ in range(6):
            served.log.add()
        served.log.purge(4)
        async with served.reader(last="4") as blocks:
            assert (await blocks.told())[:2] == ("5", "")


async def test_a_reader_that_is_overtaken_by_a_purge_is_told() -> None:
    async with serving() as served, served.reader() as blocks:
        await blocks.next()
        for _ in range(3):
            served.log.add()
        served.log.purge(2)
        assert await blocks.told() == ("2", "reset", {"reason": "purged", "position": 2})
        assert (await blocks.told())[0] == "3"


async def test_filters_take_what_is_asked_for_and_the_heartbeat_tells_how_far_it_is() -> None:
    async with serving(limits=Limits(heartbeat_seconds=0.2)) as served:
        query = "?type=call.*&type=case.paused&source=lagos&queue=Sales&last_event_id=0"
        for kind, source, queue in (
            ("call.ended", "lagos", "Sales"),
            ("call.ended", "abuja", "Sales"),
            ("call.ended", "lagos", "Support"),
            ("case.paused", "lagos", "Sales"),
            ("case.contacted", "lagos", "Sales"),
        ):
            served.log.add(kind, source=source, queue=queue)
        async with served.reader(query) as blocks:
            assert [(await blocks.told())[0] for _ in range(2)] == ["1", "4"]
            while True:
                said = await blocks.next()
                if said.get("") == "heartbeat":
                    break
            assert said["id"] == "5"


@pytest.mark.parametrize(
    ("query", "status", "problem"),
    [
        ("?type=nix", 422, "invalid"),
        ("?type=", 422, "invalid"),
        ("?typ=call.*", 422, "invalid"),
        ("?type=[a-z]*", 422, "invalid"),
        ("?source=" + "x" * 300, 422, "invalid"),
        ("?" + "&".join("source=x" for _ in range(51)), 422, "invalid"),
        ("?source=", 422, "invalid"),
        ("?tenant=other", 403, "forbidden"),
        ("?tenant=", 403, "forbidden"),
    ],
)
async def test_what_cannot_be_asked_for_is_a_problem(query: str, status: int, problem: str) -> None:
    token = Token(name="one", token="t" * 20, role=Role.READ, tenant="mine")
    async with serving(tokens=[token]) as served, served.reader(query, token="t" * 20) as blocks:
        assert blocks.answer.status == status
        assert blocks.answer.content_type == "application/problem+json"
        assert blocks.answer.headers["Cache-Control"] == "no-store"
        said = json.loads(await blocks.answer.read())
        assert said["type"] == f"urn:cdrhub:problem:{problem}"
        name = query.partition("=")[0]
        assert [place["pointer"] for place in said.get("errors", ())] == ([name] if status == 422 else [])


async def test_a_token_sees_its_tenant_only_and_nobody_sees_anything_without_one() -> None:
    tokens = [
        Token(name="one", token="1" * 20, role=Role.READ, tenant="one"),
        Token(name="all", token="2" * 20, role=Role.READ, tenant=None),
    ]
    async with serving(tokens=tokens) as served:
        for tenant in ("one", "two", "", "one"):
            served.log.add(tenant=tenant)
        async with served.reader(last="0", token="1" * 20) as blocks:
            assert [(await blocks.told())[0] for _ in range(2)] == ["1", "4"]
        async with served.reader("?tenant=two", last="0", token="2" * 20) as blocks:
            assert (await blocks.told())[0] == "2"
        async with served.reader("?tenant=", last="0", token="2" * 20) as blocks:
            assert (await blocks.told())[0] == "3"
        for wrong in (None, "3" * 20):
            async with served.reader(last="0", token=wrong) as blocks:
                assert blocks.answer.status == 401
                assert "Bearer" in blocks.answer.headers["WWW-Authenticate"]


async def test_a_token_that_is_taken_away_ends_its_feed() -> None:
    token = Token(name="one", token="1" * 20, role=Role.READ, tenant=None)
    async with serving(tokens=[token], limits=Limits(heartbeat_seconds=0.1)) as served:
        async with served.reader(token="1" * 20) as blocks:
            await blocks.next()
            served.tokens[0] = Token(name="one", token="4" * 20, role=Role.READ, tenant=None)
            assert (await blocks.told())[1:] == ("cut", {"reason": "token"})
            assert await blocks.next() == {}
        assert served.metric("cdrhub_live_cuts_total", reason="token") == 1


async def test_a_connection_that_was_cut_is_closed_and_serves_no_other_request() -> None:
    token = Token(name="one", token="1" * 20, role=Role.READ, tenant=None)
    async with serving(tokens=[token], limits=Limits(heartbeat_seconds=0.1, farewell_seconds=60)) as served:
        peer = await Client.connect(served.port)
        await peer.send(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token.token}\r\n\r\n".encode())
        await until(lambda: served.log.readers)
        served.tokens.clear()
        assert b'event: cut\ndata: {"reason":"token"}' in await peer.received_until_closed()
        await peer.close()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_reader_that_was_cut_and_has_gone_is_no_error(tmp_path: Path, *, secure: bool) -> None:
    token = Token(name="one", token="1" * 20, role=Role.READ, tenant=None)
    tls, limits = server_tls(tmp_path) if secure else None, Limits(heartbeat_seconds=0.1, farewell_seconds=0.3)
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, error: errors.append(error))
    async with serving(tokens=[token], limits=limits, tls=tls) as served:
        async with served.reader(token="1" * 20) as blocks:
            served.tokens.clear()
            assert (await blocks.told())[1] == "cut"
        await asyncio.sleep(2 * limits.farewell_seconds)
    assert errors == []


async def test_a_reader_that_has_gone_before_it_is_answered_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served:
        served.log.asked = asyncio.Event()
        peer = await Client.connect(served.port)
        await peer.send(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await until(lambda: served.metric("cdrhub_live_readers"))
        await peer.close()
        await asyncio.sleep(0.05)  # the server hears of it
        served.log.asked.set()
        await until(lambda: not served.metric("cdrhub_live_readers"))
        await asyncio.sleep(0.05)
    assert [said.getMessage() for said in caplog.records if said.name.startswith("aiohttp")] == []


async def test_so_does_one_that_always_has_something_to_read() -> None:
    token = Token(name="one", token="1" * 20, role=Role.READ, tenant=None)
    limits = Limits(heartbeat_seconds=0.2)
    async with serving(tokens=[token], limits=limits) as served, served.reader(token="1" * 20) as blocks:
        await blocks.next()
        served.tokens[0] = Token(name="one", token="1" * 20, role=Role.READ, tenant="another")
        async with asyncio.timeout(20):
            event = ""
            while not event:
                served.log.add()
                _, event, said = await blocks.told()
        assert (event, said) == ("cut", {"reason": "token"})


async def test_readers_are_limited_and_a_place_becomes_free() -> None:
    async with serving(limits=Limits(readers=3, readers_of_one=2, heartbeat_seconds=0.1)) as served:
        async with served.reader() as first:
            await first.next()
            async with served.reader() as second:
                await second.next()
                async with served.reader() as third:
                    assert third.answer.status == 503
                    assert third.answer.headers["Retry-After"] == "30"
                    said = json.loads(await third.answer.read())
                    assert said["type"] == "urn:cdrhub:problem:too-many-readers"
                assert served.metric("cdrhub_live_readers") == 2
        async with asyncio.timeout(20):
            while served.metric("cdrhub_live_readers"):  # noqa: ASYNC110 - the server notices it at the next write
                await asyncio.sleep(0.02)
        async with served.reader() as again:
            assert again.answer.status == 200
    assert not served.log.readers


async def test_readers_of_all_tokens_together_are_limited() -> None:
    async with serving(limits=Limits(readers=1, readers_of_one=2)) as served, served.reader() as first:
        await first.next()
        async with served.reader() as second:
            assert second.answer.status == 503


async def test_a_reader_that_takes_nothing_is_cut_and_told_and_delays_nobody() -> None:
    async with serving(limits=Limits(slow_seconds=0.5, farewell_seconds=5)) as served:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(deaf.connect, ("127.0.0.1", served.port))
            deaf.sendall(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            async with served.reader() as other:
                await other.next()
                for number in range(1, 2_001):
                    served.log.add(text="x" * 5_000)
                    if number % 100 == 0:
                        assert [(await other.told())[0] for _ in range(100)][-1] == str(number)
            async with asyncio.timeout(20):
                while not served.metric("cdrhub_live_cuts_total", reason="slow"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            received = await asyncio.to_thread(_rest, deaf)
        assert b'event: cut\ndata: {"reason":"slow"}\n\n' in received
        positions = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
        assert 0 < positions[-1] < 2_000


async def test_a_reader_that_never_takes_anything_loses_its_connection() -> None:
    async with serving(limits=Limits(slow_seconds=0.2, farewell_seconds=0.3)) as served:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(deaf.connect, ("127.0.0.1", served.port))
            deaf.sendall(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            async with asyncio.timeout(20):
                while not served.log.readers:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                for _ in range(2_000):
                    served.log.add(text="x" * 5_000)
                while served.metric("cdrhub_live_readers"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert await asyncio.to_thread(_is_reset, deaf)


async def test_the_newest_frames_are_remembered_and_no_more() -> None:
    async with serving() as served:
        for _ in range(REMEMBERED_FRAMES + 7):
            served.log.add()
        async with served.reader(last="0") as blocks:
            while (await blocks.told())[0] != str(served.log.newest):
                pass
        assert list(served.feed._frames) == list(range(8, served.log.newest + 1))


def _rest(deaf: socket.socket) -> bytes:
    deaf.settimeout(20)
    pieces = []
    while piece := deaf.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def _is_reset(deaf: socket.socket) -> bool:
    """Whether what we say is answered by a reset, although we take nothing."""
    for _ in range(400):
        try:
            deaf.sendall(b"x")
        except ConnectionError:
            return True
        time.sleep(0.05)
    return False


async def test_a_hub_that_stops_tells_its_readers() -> None:
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving())
        async with served.reader() as blocks:
            await blocks.next()
            stopping = asyncio.create_task(stack.aclose())
            assert (await blocks.told())[1:] == ("cut", {"reason": "stopping"})
            assert await blocks.next() == {}
        await stopping


async def test_a_database_that_is_away_is_waited_for_and_a_newcomer_is_told() -> None:
    async with serving(limits=Limits(heartbeat_seconds=0.1)) as served, served.reader() as blocks:
        await blocks.next()
        served.log.away = True
        served.log.add()
        async with served.reader() as newcomer:
            assert newcomer.answer.status == 503
        assert (await blocks.next())[""] == "heartbeat"
        served.log.away = False
        assert (await blocks.told())[0] == "1"
