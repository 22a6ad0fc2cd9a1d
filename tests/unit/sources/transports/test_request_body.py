"""How bodies end, over real HTTP, and which addresses may push."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp import web

from cdrhub.sources.transports.request_body import KEPT_OF_TOO_LONG, Ending, Received, allow_list, receive
from support.intake import RecordingIntake, until
from support.peers import Client

LIMIT = 100_000


@asynccontextmanager
async def receiving(
    found: list[Received], *, seconds: float = 20.0, kept: int = KEPT_OF_TOO_LONG
) -> AsyncGenerator[str]:
    """A server that notes what `receive` made of each request; yields its URL."""
    intake = RecordingIntake()

    async def handle(request: web.Request) -> web.Response:
        found.append(await receive(request, max_bytes=LIMIT, kept_of_too_long=kept, seconds=seconds))
        return web.Response()

    async with intake.http_server() as base:
        with intake.mount("/ingest/x", handle):
            yield base + "/ingest/x"


@pytest.mark.parametrize(
    ("size", "ending", "kept"),
    [
        (0, Ending.WHOLE, 0),
        (LIMIT, Ending.WHOLE, LIMIT),
        (LIMIT + 1, Ending.TOO_LONG, KEPT_OF_TOO_LONG),
        (9 * LIMIT, Ending.TOO_LONG, KEPT_OF_TOO_LONG),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_up_to_its_limit_a_body_is_whole(size: int, ending: Ending, kept: int, chunked: bool) -> None:
    found: list[Received] = []

    async def pieces() -> AsyncGenerator[bytes]:
        yield b"x" * size

    async with (
        receiving(found) as url,
        aiohttp.ClientSession() as client,
        client.post(url, data=pieces() if chunked else b"x" * size) as answer,
    ):
        assert answer.status == 200
    assert found == [Received(body=b"x" * kept, ending=ending)]


async def test_where_nothing_is_kept_of_a_longer_body_it_is_not_waited_for() -> None:
    found: list[Received] = []
    async with receiving(found, kept=0) as url:
        peer = await Client.connect(int(url.split(":")[2].split("/")[0]))
        await peer.send(f"POST /ingest/x HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode())
        await until(lambda: found)
        await peer.close()
    assert found == [Received(body=b"", ending=Ending.TOO_LONG)]


async def test_a_body_that_stalls_is_not_waited_for() -> None:
    found: list[Received] = []
    async with receiving(found, seconds=0.05) as url:
        peer = await Client.connect(int(url.split(":")[2].split("/")[0]))
        await peer.send(b"POST /ingest/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"half")
        await until(lambda: found)
        await peer.close()
    assert found == [Received(body=b"half", ending=Ending.STALLED)]


async def test_a_peer_that_goes_away_is_told_apart() -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        peer = await Client.connect(int(url.split(":")[2].split("/")[0]))
        await peer.send(b"POST /ingest/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"half")
        await asyncio.sleep(0.05)
        await peer.reset()
        await until(lambda: found)
    assert found[0].ending is Ending.GONE


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("198.51.100.1", False), ("", False), ("x", False)],
)
def test_the_allow_list(peer: str, allowed: bool) -> None:
    assert allow_list([ip_network("192.0.2.0/24")])(peer) is allowed
    assert allow_list([])(peer)
