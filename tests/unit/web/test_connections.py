"""The door of the HTTP server over real sockets: how many come in, and how long they may say nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from cdrhub.web.connections import taking
from support.certificates import OLD
from support.intake import until
from support.peers import Client

LONG = 60.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Site:
    """A server behind the door."""

    port: int
    refused: int = 0
    unmet: int = 0

    def refuse(self) -> None:
        self.refused += 1

    def miss(self) -> None:
        self.unmet += 1

    def has_missed(self, number: int) -> bool:
        return self.unmet == number


@asynccontextmanager
async def served(
    *, limit: int = 10, header_seconds: float = LONG, unread_seconds: float = LONG, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Site]:
    async def handle(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("seconds", "0")))
        return web.Response(text="ok" * int(request.query.get("many", "1")))

    app = web.Application()
    app.router.add_get("/healthz", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    site = Site(port=listening.getsockname()[1])
    try:
        async with taking(
            listening,
            server=runner.server,
            tls=lambda: tls,
            refused=site.refuse,
            unmet=site.miss,
            limit=limit,
            header_seconds=header_seconds,
            unread_seconds=unread_seconds,
        ):
            yield site
    finally:
        await runner.cleanup()


async def answered(client: Client) -> bytes:
    await client.send(REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    return await client.received_until_closed()


async def test_one_over_the_limit_is_closed_at_once_and_counted() -> None:
    async with served(limit=2) as site:
        first, second = await Client.connect(site.port), await Client.connect(site.port)
        third = await Client.connect(site.port)
        assert await third.received_until_closed() == b""
        assert site.refused == 1
        assert (await answered(first)).endswith(b"ok")
        fourth = await Client.connect(site.port)
        assert (await answered(fourth)).endswith(b"ok")
        assert site.refused == 1
        for client in (first, second, third, fourth):
            await client.close()


@pytest.mark.parametrize("said", [b"", b"GET / HT", REQUEST[:-2], b"\r\n\r\n\r\n", b"\r\n\r\n" + REQUEST[:-1]])
async def test_who_does_not_ask_in_time_is_closed(said: bytes) -> None:
    async with served(header_seconds=0.05) as site:
        client = await Client.connect(site.port)
        if said:
            await client.send(said)
        assert await client.received_until_closed() == b""
        await client.close()


async def test_who_does_not_read_the_answers_is_closed() -> None:
    """Whoever asked again and again and read nothing kept the connection for as long as they liked."""
    asked = b"GET /healthz?many=1000000 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(limit=1, unread_seconds=1) as site, asyncio.timeout(30):
        with socket.create_connection(("127.0.0.1", site.port)) as silent:
            silent.sendall(asked * 20)
            other = await Client.connect(site.port)
            while not (await answered(other)).endswith(b"ok"):  # there is no room until the first one is closed
                await other.close()
                await asyncio.sleep(0.1)
                other = await Client.connect(site.port)
            assert site.refused
            await other.close()


async def test_who_asked_in_time_may_take_its_time() -> None:
    async with served(header_seconds=0.5) as site:
        client = await Client.connect(site.port)
        asked = b"GET /healthz?seconds=0.7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r"
        for piece in (b"\r\n", asked, b"\n"):
            await client.send(piece)
            await asyncio.sleep(0.02)  # each comes by itself
        assert (await client.received_until_closed()).endswith(b"ok")
        await client.close()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", REQUEST])
async def test_who_does_not_finish_its_handshake_is_closed_and_makes_room(said: bytes) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with served(limit=1, header_seconds=0.05, tls=tls) as site:
        for _ in range(2):
            client = await Client.connect(site.port)
            if said:
                await client.send(said)
            await client.received_until_closed()
            await client.close()
            await asyncio.sleep(0.01)
        assert (site.refused, site.unmet) == (0, 2)


async def test_that_clients_refuse_the_certificate_is_said_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "pair.pem").write_text("".join(OLD))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pair.pem")

    def distrust(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(client, server_hostname="old")

    with capture_logs() as logs:
        async with served(tls=tls) as site:
            for number in (1, 2):
                await asyncio.to_thread(distrust, site.port)
                await until(partial(site.has_missed, number))
    assert [(said["action"], said["reason"]) for said in logs] == [("certificate_refused", "TLSV1_ALERT_UNKNOWN_CA")]


async def test_an_unfinished_handshake_does_not_hold_up_the_end() -> None:
    async with served(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as site:
        client = await Client.connect(site.port)
        await client.send(b"\x16\x03\x01")
    assert await client.received_until_closed() == b""
    await client.close()


async def test_a_reset_makes_room() -> None:
    async with served(limit=1) as site:
        client = await Client.connect(site.port)
        await client.send(b"GET /")
        await client.reset()

        async def asked() -> bytes:
            other = await Client.connect(site.port)
            try:
                return await answered(other)
            except ConnectionError:
                return b""
            finally:
                await other.close()

        async with asyncio.timeout(20):
            while not (await asked()).endswith(b"ok"):  # noqa: ASYNC110 - the server tells nobody of its room
                await asyncio.sleep(0.01)


async def test_no_more_are_taken_after_the_end() -> None:
    async with served() as site:
        client = await Client.connect(site.port)
    await until(lambda: client.closed, "the server closes what it has")
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(site.port)
    await client.close()
