"""Lines over HTTP: what a forwarder posts, and what it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from io import BytesIO
from ipaddress import ip_network

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.transports.http_push import MAX_BODY_BYTES, LinePush, unwrap
from support.intake import RecordingIntake
from support.peers import Client
from support.sinks import LINES, IntakeSink

PATH = "/ingest/3cx/secret"


@dataclass
class Forwarder:
    """A client of the handler; `headers` are of the last answer."""

    session: aiohttp.ClientSession
    url: str
    intake: RecordingIntake
    headers: dict[str, str]

    async def post(self, body: bytes, method: str = "POST") -> tuple[int, dict[str, object]]:
        async with self.session.request(method, self.url + PATH, data=BytesIO(body)) as response:
            self.headers = dict(response.headers)
            return response.status, await response.json()


@pytest.fixture
async def forwarder() -> AsyncGenerator[Forwarder]:
    intake = RecordingIntake()
    push = LinePush(line_format=LINES, sink=IntakeSink(intake, within=0.05), intake=intake)
    async with intake.http_server() as url, aiohttp.ClientSession() as session:
        with intake.mount(PATH, push.handle):
            yield Forwarder(session=session, url=url, intake=intake, headers={})


@pytest.mark.parametrize(
    "body",
    [
        b"Call 1,a\r\nCall 2,b\r\n",
        b"Call 1,a\nCall 2,b",
        b"Received: Call 1,a\r\nReceived: Call 2,b\r\n",
        json.dumps({"body": "Received: Call 1,a\r\nCall 2,b\r\n"}).encode(),
        json.dumps([{"body": "Received: Call 1,a\r\n"}, {"body": "Call 2,b"}]).encode(),
        json.dumps(["Call 1,a\r\n", "Call 2,b"]).encode(),
        b"  " + json.dumps("Call 1,a\nCall 2,b").encode(),
        b"\xef\xbb\xbfCall 1,a\r\nCall 2,b\r\n",
        b"\xef\xbb\xbf" + json.dumps(["Call 1,a\r\n", "Call 2,b"]).encode(),
    ],
)
async def test_every_form_gives_the_same_records(forwarder: Forwarder, body: bytes) -> None:
    assert await forwarder.post(body) == (200, {"accepted": 2, "suspended": 0})
    assert forwarder.intake.bodies == [b"Call 1,a", b"Call 2,b"]
    assert forwarder.intake.accepted[0].attributes == {"peer": "127.0.0.1"}


@pytest.mark.parametrize("body", [b"<html>", b'{"body": 5}', b'{"other": "Call 1"}', b"[1,", b"\x00\xff", b"[[]]"])
async def test_what_is_no_record_is_kept_and_refused(forwarder: Forwarder, body: bytes) -> None:
    status, said = await forwarder.post(body)
    assert (status, said["accepted"], said["suspended"]) == (400, 0, 1)
    assert forwarder.intake.bodies == [body]


async def test_a_mixture_is_kept_as_a_whole(forwarder: Forwarder) -> None:
    assert await forwarder.post(b"Call 1\nnoise\nCall 2\n") == (200, {"accepted": 2, "suspended": 1})
    assert forwarder.intake.bodies == [b"Call 1", b"noise", b"Call 2"]
    assert forwarder.intake.counts["foreign"] == 1


async def test_an_empty_body_is_refused(forwarder: Forwarder) -> None:
    assert await forwarder.post(b"\r\n") == (400, {"accepted": 0, "suspended": 0, "error": "the body is empty"})
    assert forwarder.intake.offered == 0


async def test_what_is_not_durable_in_time_is_sent_again(forwarder: Forwarder) -> None:
    forwarder.intake.full = True
    status, _ = await forwarder.post(b"Call 1\n")
    assert status == 503
    assert int(forwarder.headers["Retry-After"]) > 0
    forwarder.intake.full = False
    assert (await forwarder.post(b"Call 1\n"))[0] == 200
    assert forwarder.intake.bodies == [b"Call 1"]


async def test_a_body_over_the_limit_is_refused(forwarder: Forwarder) -> None:
    assert (await forwarder.post(b"Call 1\n" * (MAX_BODY_BYTES // 7 + 1)))[0] == 413
    assert forwarder.intake.offered == 0


async def test_a_chunked_body_over_the_limit_is_refused(forwarder: Forwarder) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield b"x" * (MAX_BODY_BYTES // 10)

    async with forwarder.session.post(forwarder.url + PATH, data=chunks()) as response:
        assert response.status == 413
    assert forwarder.intake.offered == 0


async def test_a_line_over_the_limit_is_kept_cut(forwarder: Forwarder) -> None:
    assert await forwarder.post(b"Call 1\n" + b"x" * 5000) == (200, {"accepted": 1, "suspended": 1})
    assert sorted(forwarder.intake.bodies) == [b"Call 1", b"x" * 1024]


async def test_only_post_is_taken(forwarder: Forwarder) -> None:
    status, _ = await forwarder.post(b"", method="GET")
    assert (status, forwarder.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(("networks", "status"), [(["192.0.2.0/24"], 403), (["192.0.2.0/24", "127.0.0.0/8"], 200)])
async def test_a_post_from_elsewhere_is_refused(networks: list[str], status: int) -> None:
    intake = RecordingIntake()
    allow = [ip_network(network) for network in networks]
    push = LinePush(line_format=LINES, sink=IntakeSink(intake), intake=intake, allow=allow)
    async with intake.http_server() as url, aiohttp.ClientSession() as session:
        with intake.mount(PATH, push.handle):
            async with session.post(url + PATH, data=b"Call 1\n") as answer:
                assert answer.status == status
    assert (len(intake.bodies), intake.counts["peer_refused"]) == (status == 200, status == 403)


async def test_the_servers_own_limit_counts_too() -> None:
    intake = RecordingIntake()
    push = LinePush(line_format=LINES, sink=IntakeSink(intake), intake=intake)
    async with intake.http_server(client_max_size=100) as url, aiohttp.ClientSession() as session:
        with intake.mount(PATH, push.handle):
            async with session.post(url + PATH, data=b"Call 1\n" * 20) as answer:
                assert answer.status == 413
            async with session.post(url + PATH, data=b"Call 1\n") as answer:
                assert answer.status == 200
    assert intake.bodies == [b"Call 1"]


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    intake = RecordingIntake()
    push = LinePush(line_format=LINES, sink=IntakeSink(intake), intake=intake, body_seconds=0.05)
    async with intake.http_server(lingering_time=0) as url:
        with intake.mount(PATH, push.handle):
            peer = await Client.connect(int(url.rpartition(":")[2]))
            await peer.send(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nCall 1\n".encode())
            assert (await peer.received_until_closed()).startswith(b"HTTP/1.1 408")
            await peer.close()
    assert (intake.offered, intake.counts["body_timeout"]) == (0, 1)


@given(st.binary(max_size=200))
def test_any_body_gives_lines(body: bytes) -> None:
    found = unwrap(body, max_line=100)
    assert all(line and b"\n" not in line and len(line) <= 100 for line in (*found.lines, *found.too_long))


@given(st.lists(st.text(max_size=30, alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_json_and_plain_lines_are_the_same(lines: list[str]) -> None:
    plain = "".join(f"Call {line}\r\n" for line in lines)
    wrapped = json.dumps([{"body": f"Received: Call {line}\r\n"} for line in lines])
    assert list(unwrap(plain.encode(), max_line=1000).lines) == list(unwrap(wrapped.encode(), max_line=1000).lines)
