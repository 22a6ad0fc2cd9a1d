"""One signed request: what is signed, what comes back, and where it does not go."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import web

from cdrhub.broadcast.health import Verdict
from cdrhub.broadcast.posting import Poster, retry_after
from cdrhub.broadcast.render import event_id, rendered
from support.broadcast import NOON, OTHER_SECRET, SECRET, event, receiving
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
    assert answer.verdict is Verdict.DELIVERED
    assert receiver.taken[0].headers["Content-Type"].startswith("application/cloudevents+json")


async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as inside, receiving() as outside:
        outside.answer = lambda _received: web.Response(status=307, headers={"Location": inside.url})
        client = poster(outside.url)
        answer = await client.post(rendered(event()), event_id=event_id(event()))
        await client.close()
    assert (answer.status, answer.verdict) == (307, Verdict.FAILED)
    assert inside.asked == []


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
    assert answer.verdict is Verdict.FAILED
    assert "127.0.0.1" in answer.error


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _received: web.Response(status=200, body=b"x" * 10_000_000)
        client = poster(receiver.url)
        first = await client.post(rendered(event()), event_id=event_id(event()))
        second = await client.post(rendered(event(2)), event_id=event_id(event(2)))
        await client.close()
    assert [first.verdict, second.verdict] == [Verdict.DELIVERED] * 2


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
