"""One request, of which it is known whether it left."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from cdrhub.model.dialling import Refusal
from cdrhub.outgoing.interim_answers import MAX_INTERIM
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused, shown
from cdrhub.sources.dialling.fields import HttpUrl
from cdrhub.sources.dialling.http import MAX_ANSWER_BYTES, HttpAnswer, HttpClient
from support.dialling import vendor
from support.servers import free_port


async def refused(client: HttpClient, url: str) -> OrderRefused:
    with pytest.raises(OrderRefused) as caught:
        await client.send("POST", URL(url), body=b"{}")
    await client.close()
    return caught.value


async def unseen(client: HttpClient, url: str) -> AnswerUnseen:
    with pytest.raises(AnswerUnseen) as caught:
        await client.send("POST", URL(url), body=b"{}")
    await client.close()
    return caught.value


async def test_an_answer_is_read_whole_and_once_only() -> None:
    async with vendor() as peer:
        peer.says('{"a": 1}', status=418)
        client = HttpClient(who="it")
        answer = await client.send("POST", URL(peer.url), body=b"{}", headers={"X-One": "1"})
        await client.close()
    assert (answer.status, answer.json(who="it")) == (418, {"a": 1})
    assert [request.headers["x-one"] for request in peer.requests] == ["1"]


async def test_interim_answers_without_end_are_no_answer() -> None:
    async with vendor() as peer:
        peer.answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIM + 1) + b"HTTP/1.1 204 No Content\r\n\r\n"
        error = await unseen(HttpClient(who="it"), peer.url)
    assert (str(error), len(peer.requests)) == ("it: ClientResponseError", 1)


async def test_a_connection_that_is_refused_sent_nothing() -> None:
    error = await refused(HttpClient(who="it"), f"http://127.0.0.1:{free_port()}/secret")
    assert error.refusal is Refusal.NETWORK
    assert "secret" not in str(error)


async def test_a_name_that_does_not_exist_sent_nothing() -> None:
    error = await refused(HttpClient(who="it"), "http://nowhere.invalid/")
    assert error.refusal is Refusal.NETWORK


async def test_a_server_that_speaks_no_tls_is_for_a_person_to_mend() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is no TLS\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(HttpClient(who="it"), f"https://127.0.0.1:{port}/")
    assert error.refusal is Refusal.CONFIGURATION


async def test_a_connection_that_is_cut_after_the_request_may_have_dialled() -> None:
    async with vendor() as peer:
        error = await unseen(HttpClient(who="it"), f"{peer.url}/?code=secret")
    assert len(peer.requests) == 1
    assert "secret" not in str(error)


async def test_a_get_whose_connection_is_cut_is_not_sent_again() -> None:
    async with vendor() as peer:
        client = HttpClient(who="it")
        with pytest.raises(AnswerUnseen):
            await client.send("GET", URL(peer.url))
        await client.close()
    assert len(peer.requests) == 1


async def test_no_answer_in_time_may_have_dialled() -> None:
    async with vendor() as peer:
        peer.silent = True
        error = await unseen(HttpClient(who="it", seconds=0.2), peer.url)
    assert "no answer within 0.2 s" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf of it",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (MAX_ANSWER_BYTES + 1, b"x" * (MAX_ANSWER_BYTES + 1)),
    ],
    ids=["cut", "not HTTP", "too long"],
)
async def test_what_cannot_be_read_may_have_dialled(answer: bytes) -> None:
    async with vendor() as peer:
        peer.answer = answer
        await unseen(HttpClient(who="it"), peer.url)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with vendor() as peer:
        peer.says("", status=307, headers={"Location": f"{peer.url}/elsewhere"})
        client = HttpClient(who="it")
        answer = await client.send("POST", URL(peer.url), body=b"{}")
        await client.close()
    assert (answer.status, len(peer.requests)) == (307, 1)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "127.1", "2130706433"]
)
async def test_a_private_address_is_refused_before_anything_is_sent(host: str) -> None:
    error = await refused(HttpClient(who="it", public_only=True), f"http://{host}:9/")
    assert error.refusal is Refusal.CONFIGURATION
    assert "allow_private" in str(error)


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (301, Refusal.CONFIGURATION),
        (401, Refusal.CONFIGURATION),
        (404, Refusal.CONFIGURATION),
        (408, Refusal.NETWORK),
        (425, Refusal.NETWORK),
        (429, Refusal.NETWORK),
    ],
)
def test_a_status_that_says_no(status: int, refusal: Refusal) -> None:
    with pytest.raises(OrderRefused) as caught:
        HttpAnswer(status=status, body=b"").refuse_failure(who="it")
    assert caught.value.refusal is refusal


@pytest.mark.parametrize("status", [303, 500, 502, 503, 504])
def test_a_status_after_which_nobody_knows(status: int) -> None:
    with pytest.raises(AnswerUnseen):
        HttpAnswer(status=status, body=b"").refuse_failure(who="it")


async def test_a_server_that_says_when_to_come_again_has_done_nothing() -> None:
    async with vendor() as peer:
        peer.says("maintenance", status=503, headers={"Retry-After": "120"})
        client = HttpClient(who="it")
        answer = await client.send("POST", URL(peer.url))
        await client.close()
    with pytest.raises(OrderRefused) as caught:
        answer.refuse_failure(who="it")
    assert caught.value.refusal is Refusal.NETWORK


def test_a_vendors_words_are_one_short_line_without_the_secret() -> None:
    said = shown("bad\r\ncode hunter2\x00 " + "x" * 500, without="hunter2")
    assert said.startswith("bad  code …")
    assert len(said) <= 200
    assert said.isprintable()


@pytest.mark.parametrize(
    "url", ["ftp://it/", "http://", "it", "http://me:secret@it/", "http://it/#part", "http://it:99999/"]
)
def test_a_setting_that_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(HttpUrl).validate_python(url)
    assert "secret" not in caught.value.errors()[0]["msg"]
