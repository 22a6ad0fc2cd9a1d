"""One signed request: what is signed, what comes back, and where it does not go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web

from cdrhub.broadcast.health import AnswerKind
from cdrhub.broadcast.posting import FINISH_SECONDS, Poster, retry_after
from cdrhub.broadcast.render import event_id, rendered
from cdrhub.outgoing.interim_answers import MAX_INTERIM
from cdrhub.outgoing.private_addresses import is_public
from support.broadcast import NOON, OTHER_SECRET, SECRET, Received, event, receiving
from support.servers import free_port


def poster(url: str, *secrets: str, allow_private: bool = True, seconds: float = 5.0) -> Poster:
    """A client of one endpoint."""
    return Poster(url, secrets=secrets or (SECRET,), allow_private=allow_private, connections=2, seconds=seconds)


@pytest.mark.parametrize("known", [SECRET, OTHER_SECRET])
async def test_during_a_change_either_secret_verifies(known: str) -> None:
    async with receiving(secrets=(known,)) as receiver:
        client = poster(receiver.url, SECRET, OTHER_SECRET)
        answer = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert answer.kind is AnswerKind.DELIVERED
    assert receiver.taken[0].headers["Content-Type"].startswith("application/cloudevents+json")


async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as inside, receiving() as outside:
        outside.answer = lambda _received: web.Response(status=307, headers={"Location": inside.url})
        client = poster(outside.url)
        answer = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (answer.status, answer.kind) == (307, AnswerKind.FAILED)
    assert answer.error == "HTTP 307 Temporary Redirect: redirects are not followed"
    assert inside.asked == []


async def test_a_receiver_that_does_not_listen_is_told_in_plain_words() -> None:
    port = free_port()
    client = poster(f"http://127.0.0.1:{port}/secret")
    answer = await client.post(rendered(event()), event_id=event_id(event()))
    await client.close()
    assert (answer.status, answer.error) == (None, f"127.0.0.1:{port}: Connection refused")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]", "0x7f000001"]
)
async def test_a_private_address_is_not_connected_to(host: str) -> None:
    async with receiving() as receiver:
        client = poster(receiver.url.replace("127.0.0.1", host), allow_private=False)
        answer = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert answer.status is None
    assert "private" in answer.error
    assert receiver.asked == []


async def test_nor_is_one_that_a_name_leads_to() -> None:
    name = socket.gethostname()
    try:
        addresses = [found[4][0] for found in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)]
    except OSError:
        addresses = []
    if not addresses or name == "localhost" or all(is_public(str(address)) for address in addresses):
        pytest.skip("this machine's name leads to no private address")
    client = poster(f"http://{name}:{free_port()}/events", allow_private=False)
    answer = await client.post(rendered(event()), event_id=event_id(event()))
    await client.close()
    assert answer.status is None
    assert "lies in a private network" in answer.error


async def test_a_receiver_that_hangs_is_given_up() -> None:
    async with receiving(answer=None) as receiver:
        client = poster(receiver.url, seconds=0.2)
        answer = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (answer.status, answer.error) == (None, "no answer in time")


async def test_a_receiver_that_is_not_there_is_a_failure_in_words() -> None:
    client = poster(f"http://127.0.0.1:{free_port()}/events")
    answer = await client.post(rendered(event()), event_id=event_id(event()))
    await client.close()
    assert answer.kind is AnswerKind.FAILED
    assert "127.0.0.1" in answer.error


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _received: web.Response(status=200, body=b"x" * 10_000_000)
        client = poster(receiver.url)
        first = await client.post(rendered(event()), event_id=event_id(event()))
        second = await client.post(rendered(event(2)), event_id=event_id(event(2)))
        await client.close()
    assert [first.kind, second.kind] == [AnswerKind.DELIVERED] * 2


@asynccontextmanager
async def scripted(answer: bytes, *, drip: bytes = b"", ends: bool = True) -> AsyncIterator[str]:
    """The URL of a peer that answers these bytes to anything, and then `drip` again and again, or hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            while not ends:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the hub has hung up
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook/S3CRET-PATH?key=S3CRET-QUERY"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "drip", "ends"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"a", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", b"", True),
    ],
    ids=["chunks-for-ever", "a-byte-at-a-time", "cut"],
)
async def test_the_status_is_the_answer_whatever_becomes_of_the_body(answer: bytes, drip: bytes, ends: bool) -> None:
    """Else a receiver that took the event would get it ten times, and be disabled after three days."""
    async with scripted(answer, drip=drip, ends=ends) as url:
        client = poster(url, seconds=FINISH_SECONDS * 10)
        got = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (got.status, got.kind, got.error) == (200, AnswerKind.DELIVERED, "")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
    ],
    ids=["header", "long-header", "ssh", "nothing"],
)
async def test_what_went_wrong_is_told_without_the_url(answer: bytes) -> None:
    async with scripted(answer) as url:
        client = poster(url)
        got = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (got.status, got.kind) == (None, AnswerKind.FAILED)
    assert got.error
    assert "S3CRET" not in got.error


INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"


async def test_interim_answers_are_read_past_but_not_without_end() -> None:
    """An endless row of them would keep everything else of the hub from working until the request's time is over."""
    async with scripted(INTERIM * MAX_INTERIM + b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        client = poster(url)
        some = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    async with scripted(INTERIM * (MAX_INTERIM + 1), drip=INTERIM, ends=False) as url:
        client = poster(url)
        endless = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (some.status, endless.status, endless.error) == (204, None, "its answer is no HTTP")


async def test_the_words_of_a_receiver_steer_no_terminal() -> None:
    async with scripted(b"HTTP/1.1 500 \x1b[31mred \xe9\r\nContent-Length: 0\r\n\r\n") as url:
        client = poster(url)
        got = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert got.status == 500
    assert got.error.isprintable()


async def test_cookies_are_not_kept() -> None:
    """A receiver could make every request to it longer than the one before."""

    def biscuits(_received: Received) -> web.Response:
        return web.Response(status=204, headers={"Set-Cookie": "a=b"})

    async with receiving(answer=biscuits) as receiver:
        client = poster(receiver.url.replace("127.0.0.1", "localhost"))
        for number in (1, 2):
            await client.post(rendered(event(number)), event_id=event_id(event(number)))
        await client.close()
    assert len(receiver.asked) == 2
    assert all("Cookie" not in one.headers for one in receiver.asked)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (None, None),
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("Wed, 18 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Wed, 18 Nov 2026 11:00:00 GMT", timedelta(0)),
        ("soon", None),
        ("-5", None),
        ("99999999999999999999", timedelta(seconds=10**6)),
    ],
)
def test_what_retry_after_asks_for(value: str | None, asked: timedelta | None) -> None:
    assert retry_after(value, now=NOON) == asked
