"""How bodies end, over real HTTP, and which addresses may push."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import hdrs, web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cdrhub.sources.base import DAMAGED
from cdrhub.sources.transports.request_body import KEPT_OF_TOO_LONG, Ending, Received, allow_list, receive
from cdrhub.sources.transports.unpacking import Unpacker
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


def deflated(body: bytes, *, wbits: int) -> bytes:
    packing = zlib.compressobj(wbits=wbits)
    return packing.compress(body) + packing.flush()


PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": lambda body: deflated(body, wbits=15),
    "identity, deflate": lambda body: deflated(body, wbits=-15),  # without the head of RFC 1950
    "identity": lambda body: body,
}


async def sent(url: str, body: bytes, *, encodings: Sequence[str], cut: int = 1) -> None:
    """Post `body`, in `cut` chunks."""
    size = max(1, -(-len(body) // cut))

    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]
            await asyncio.sleep(0)

    headers = CIMultiDict((hdrs.CONTENT_ENCODING, encoding) for encoding in encodings)
    async with aiohttp.ClientSession() as client, client.post(url, data=pieces(), headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize(
    ("size", "ending", "kept"),
    [
        (0, Ending.WHOLE, 0),
        (50_000, Ending.WHOLE, 50_000),
        (LIMIT, Ending.WHOLE, LIMIT),
        (LIMIT + 1, Ending.TOO_LONG, KEPT_OF_TOO_LONG),
    ],
)
async def test_a_packed_body_is_unpacked_up_to_its_limit(encoding: str, size: int, ending: Ending, kept: int) -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        for cut in (1, 7):
            await sent(url, PACKED[encoding](b"x" * size), encodings=[encoding], cut=cut)
    assert found == [Received(body=b"x" * kept, ending=ending)] * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked_to_its_end(encoding: str) -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        await sent(url, PACKED[encoding](b"x" * (200 * LIMIT)), encodings=[encoding])
    assert found == [Received(body=b"x" * KEPT_OF_TOO_LONG, ending=Ending.TOO_LONG)]


async def test_gzip_may_have_several_members_and_be_filled_up_with_zeros() -> None:
    found: list[Received] = []
    two = gzip.compress(b"one ") + b"\0" * 3 + gzip.compress(b"two") + b"\0" * 1_000
    async with receiving(found) as url:
        for cut in (1, 7, len(two)):
            await sent(url, two, encodings=["gzip"], cut=cut)
    assert found == [Received(body=b"one two", ending=Ending.WHOLE)] * 3


@pytest.mark.parametrize(
    ("encodings", "packed_as"),
    [(["br"], "br"), (["zstd"], "zstd"), (["gzip", "BR"], "gzip, br"), (["gzip, gzip"], "gzip, gzip"), (["ü"], None)],
)
async def test_a_body_that_nobody_here_unpacks_is_there_as_it_came(encodings: list[str], packed_as: str | None) -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        await sent(url, b"packed", encodings=encodings)
        await sent(url, b"", encodings=encodings)
        await sent(url, b"x" * (LIMIT + 1), encodings=encodings)
    first, empty, long = found
    assert (first.body, first.ending) == (b"packed", Ending.DAMAGED)
    assert first.packed_as.isascii()
    assert packed_as in (None, first.packed_as)
    assert first.marks == {DAMAGED: first.packed_as}
    assert empty == Received(body=b"", ending=Ending.WHOLE)
    assert (len(long.body), long.ending) == (KEPT_OF_TOO_LONG, Ending.TOO_LONG)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"one")[:-1]),
        ("gzip", gzip.compress(b"one")[:-8] + b"\1" * 8),
        ("gzip", gzip.compress(b"one") + b"two"),
        ("deflate", deflated(b"one", wbits=15)[:-1]),
        ("deflate", deflated(b"one", wbits=15) + b"\0"),
    ],
    ids=["gzip, cut", "gzip, another sum", "gzip, more behind it", "deflate, cut", "deflate, more behind it"],
)
async def test_of_a_damaged_body_there_is_what_came_before(encoding: str, body: bytes) -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        await sent(url, body, encodings=[encoding], cut=len(body))
    assert found == [Received(body=b"one", ending=Ending.DAMAGED)]
    assert found[0].marks == {DAMAGED: True}


async def test_packed_bytes_that_hold_nothing_are_not_read_for_ever() -> None:
    found: list[Received] = []
    async with receiving(found) as url:
        await sent(url, gzip.compress(b"") * (LIMIT // 10), encodings=["gzip"], cut=100)
    assert [(one.body, one.ending) for one in found] == [(b"", Ending.TOO_LONG)]


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_unpacked_within_bounds_or_damaged(encoding: str, packed: bytes, at_most: int) -> None:
    unpacker = Unpacker(encoding)
    for body in (gzip.compress(packed), packed, b"\x1f\x8b\x08" + packed):
        unpacked, damaged = unpacker.unpack(body, at_most=at_most)
        assert len(unpacked) <= at_most
        if damaged:
            unpacker = Unpacker(encoding)


@given(st.binary(max_size=3_000), st.lists(st.integers(0, 3_100), max_size=5))
def test_wherever_a_packed_body_is_cut_it_is_the_same(body: bytes, cuts: list[int]) -> None:
    packed = gzip.compress(body)
    unpacker, unpacked = Unpacker("gzip"), b""
    for begin, end in pairwise([0, *sorted(cuts), len(packed)]):
        piece, damaged = unpacker.unpack(packed[begin:end], at_most=len(body) + 1)
        assert not damaged
        unpacked += piece
    assert unpacked == body
    assert unpacker.complete


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("fd00::1%eth0", True),
        ("198.51.100.1", False),
        ("", False),
        ("x", False),
    ],
)
def test_the_allow_list(peer: str, allowed: bool) -> None:
    assert allow_list([ip_network("192.0.2.0/24"), ip_network("fd00::/8")])(peer) is allowed
    assert allow_list([])(peer)
