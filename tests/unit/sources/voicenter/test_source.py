"""The handler over real HTTP: what the sender is told, and what is kept by then."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest
from lxml import etree
from pydantic import ValidationError

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.record import MAX_BODY_BYTES
from cdrhub.model.update import CallUpdate
from cdrhub.sources.base import TOO_LONG, refuse_partial
from cdrhub.sources.transports.request_body import KEPT_OF_TOO_LONG
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.bodies import Format
from cdrhub.sources.voicenter.config import VoicenterConfig, VoicenterSettings
from support.intake import RecordingIntake, recorded, until
from support.peers import Client
from support.voicenter import CAPTURES, PATH, cdr, decoded, served

OK = {"err": 0, "errdesc": "OK"}


async def post(url: str, body: bytes | io.BytesIO, **options: Any) -> tuple[int, str, bytes]:
    async with aiohttp.ClientSession() as client, client.post(url, data=body, **options) as answer:
        return answer.status, answer.content_type, await answer.read()


def said(answer: bytes) -> tuple[str, str]:
    """err and errdesc of an XML-RPC answer."""
    root = etree.fromstring(answer)
    assert root.tag == "methodResponse"
    members = {m.findtext("name"): m.find("value") for m in root.findall("params/param/value/struct/member")}
    err, text = members["err"], members["errdesc"]
    assert err is not None
    assert text is not None
    return err.findtext("int") or "", text.findtext("string") or ""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (cdr(), "application/json"),
        (cdr(), "text/plain"),
        (cdr(), ""),
        (b"ivruniqueid=a&type=Queue", "application/x-www-form-urlencoded"),
        (b"ivruniqueid=a&type=Queue", "application/json"),
    ],
)
async def test_json_and_forms_are_answered_in_json(body: bytes, content_type: str) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        answer = await post(url, body, headers={"Content-Type": content_type})
    assert answer[:2] == (200, "application/json")
    assert orjson.loads(answer[2]) == OK
    assert intake.bodies == [body]
    assert intake.accepted[0].attributes == {"peer": "127.0.0.1"}


async def test_xmlrpc_is_answered_in_xmlrpc() -> None:
    intake = RecordingIntake()
    body = (CAPTURES / "cdr-xmlrpc-request.xml").read_bytes()
    async with served(intake) as url:
        status, content_type, answer = await post(url, body)
    assert (status, content_type) == (200, "text/xml")
    assert said(answer) == ("0", "OK")
    assert (intake.bodies, intake.accepted[0].content_type) == ([body], Format.XMLRPC.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"caller":"05',
        b'{"caller":"0500000000"}',
        b"hello",
        b"\x00\x01",
        b"[]",
        b"[{}]",
        b'[{"ivruniqueid":"a"},7]',
    ],
)
async def test_what_cannot_be_understood_is_kept_and_not_asked_for_again(body: bytes) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        status, _, answer = await post(url, body)
    assert status == 200
    assert orjson.loads(answer)["err"] == 1
    assert b"".join(intake.bodies) if body else intake.bodies == [b""]
    assert intake.counts["not_understood"] == 1


async def test_broken_xml_is_refused_in_xmlrpc() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        status, _, answer = await post(url, b"<!DOCTYPE x>")
    assert status == 200
    assert said(answer)[0] == "1"
    assert intake.bodies == [b"<!DOCTYPE x>"]


@pytest.mark.parametrize("body", [cdr(), b"<methodCall/>", b"a=b"])
async def test_what_could_not_be_kept_is_asked_for_again(body: bytes) -> None:
    intake = RecordingIntake()
    intake.refusing = True
    async with served(intake) as url:
        status, _, answer = await post(url, body)
    assert status == 503
    code = said(answer)[0] if body.startswith(b"<") else str(orjson.loads(answer)["err"])
    assert code == "2"
    assert intake.bodies == []


async def test_a_full_journal_is_told_in_time_and_the_resend_is_kept() -> None:
    intake = RecordingIntake()
    intake.full = True
    async with served(intake) as url:
        status, _, _ = await post(url, cdr(), timeout=aiohttp.ClientTimeout(total=5))
        assert status == 503
        intake.full = False
        assert (await post(url, cdr()))[0] == 200
    assert intake.bodies == [cdr()]


async def test_the_answer_waits_for_the_journal() -> None:
    intake = RecordingIntake()
    intake.full = True
    async with served(intake) as url:
        answering = asyncio.create_task(post(url, cdr()))
        await until(lambda: intake.offered, "the record is offered")
        assert not answering.done()
        intake.full = False
        assert (await answering)[0] == 200
    assert intake.bodies == [cdr()]


async def test_several_cdrs_in_an_array_are_several_records() -> None:
    intake = RecordingIntake()
    first, second = orjson.loads(cdr(ivruniqueid="a")), orjson.loads(cdr(ivruniqueid="b", queuename="\u05d0"))
    async with served(intake) as url:
        status, _, answer = await post(url, orjson.dumps([first, second]))
    assert (status, orjson.loads(answer)) == (200, OK)
    assert [orjson.loads(body) for body in intake.bodies] == [first, second]
    assert intake.groups == [2]


async def test_one_bad_cdr_in_an_array_does_not_take_its_neighbours_along() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        _, _, answer = await post(url, b"[" + cdr() + b',"junk",' + cdr(ivruniqueid="b") + b"]")
    assert orjson.loads(answer)["err"] == 1
    keys = []
    for body in intake.bodies:
        try:
            keys.append(decoded(body).call_key)
        except DecodeError:
            keys.append("suspended")
    assert keys == ["id-1", "suspended", "b"]


async def test_an_array_of_one_keeps_its_bytes() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        await post(url, b" [ " + cdr() + b" ] ")
    assert intake.bodies == [b" [ " + cdr() + b" ] "]
    assert decoded(intake.bodies[0]).call_key == "id-1"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused_and_its_beginning_kept(chunked: bool) -> None:
    intake = RecordingIntake()
    body = cdr(aiData="x" * 300_000)

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    async with (
        served(intake, max_body=100_000) as url,
        aiohttp.ClientSession() as client,
        client.post(url, data=pieces() if chunked else body) as answer,
    ):
        assert answer.status == 413
        assert orjson.loads(await answer.read())["err"] == 1
    (kept,) = intake.accepted
    assert kept.body == body[:KEPT_OF_TOO_LONG]
    with pytest.raises(DecodeError) as caught:
        refuse_partial(recorded(kept))
    assert caught.value.reason is Reason.TOO_LONG
    assert intake.counts["body_too_large"] == 1


async def test_megabytes_of_transcript_are_taken() -> None:
    intake = RecordingIntake()
    body = cdr(aiData={"transcript": "word " * 1_000_000})
    async with served(intake) as url:
        assert (await post(url, io.BytesIO(body)))[0] == 200
    assert intake.bodies == [body]


@pytest.mark.parametrize("noise", [b"", random.Random(1).randbytes(KEPT_OF_TOO_LONG)], ids=["short", "long"])
async def test_a_body_that_cannot_be_unpacked_is_kept_as_far_as_it_came(noise: bytes) -> None:
    intake = RecordingIntake()
    body = cdr(aiData=noise.hex())
    trailer = 8  # of gzip: checksum and length (RFC 1952, 2.3.1)
    good, bad = gzip.compress(body)[:-trailer], b"\0" * 16
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
    async with served(intake) as url:
        peer = await Client.connect(int(url.split(":")[2].split("/")[0]))
        await peer.send(f"{head}Content-Length: {len(good + bad)}\r\n\r\n".encode(), good)
        await asyncio.sleep(0.05)  # what is read together with the damage is lost with it
        await peer.send(bad)
        answer = await peer.received_until_closed()
        await peer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"err":1' in answer
    assert intake.counts["body_damaged"] == 1
    (kept,) = intake.accepted
    assert kept.body == body
    with pytest.raises(DecodeError) as caught:
        refuse_partial(recorded(kept))
    assert caught.value.reason is Reason.UNPARSABLE
    repaired = replace(recorded(kept), body=cdr(ivruniqueid="repaired"))
    refuse_partial(repaired)
    update = SYSTEM.decoder(VoicenterSettings())(repaired)
    assert isinstance(update, CallUpdate)
    assert update.call_key == "repaired"


@pytest.mark.parametrize("own", [MAX_BODY_BYTES, 30_000])
async def test_the_smaller_of_both_limits_counts(own: int) -> None:
    intake = RecordingIntake()
    body = cdr(aiData="x" * 40_000)
    async with served(intake, client_max_size=30_000 if own == MAX_BODY_BYTES else MAX_BODY_BYTES, max_body=own) as url:
        assert (await post(url, body))[0] == 413
    assert intake.accepted[0].attributes[TOO_LONG]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods(method: str) -> None:
    intake = RecordingIntake()
    async with served(intake) as url, aiohttp.ClientSession() as client, client.request(method, url) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert intake.offered == 0


@pytest.mark.parametrize(("allow", "status"), [(["192.0.2.0/24"], 403), (["192.0.2.0/24", "127.0.0.0/8"], 200)])
async def test_allow_list(allow: list[str], status: int) -> None:
    intake = RecordingIntake()
    async with served(intake, allow=allow) as url:
        assert (await post(url, cdr()))[0] == status
    assert len(intake.bodies) == (status == 200)
    assert intake.counts["peer_refused"] == (status == 403)


@pytest.mark.parametrize(
    "config",
    [
        {"path": "/elsewhere/secret"},
        {"path": PATH + " x"},
        {"path": PATH, "epoch_timezone": "Mars/Olympus"},
        {"path": PATH, "epoch_timezone": "../etc/passwd"},
        {"path": PATH, "allow": ["10.0.0.300"]},
        {"path": PATH, "max_body": 5},
        {"path": PATH, "region": "Israel"},
        {"path": PATH, "unknown": 1},
    ],
)
def test_configurations_that_cannot_be(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VoicenterConfig(**config)


def test_the_decode_settings_leave_transport_and_secret_out() -> None:
    config = VoicenterConfig(path=PATH, epoch_timezone="Asia/Jerusalem")
    assert config.decode_settings() == VoicenterSettings(epoch_timezone="Asia/Jerusalem")
    assert "secret" not in config.decode_settings().model_dump_json()
    assert PATH not in repr(config)


def test_what_is_promised() -> None:
    promise = SYSTEM.delivery(VoicenterConfig(path=PATH))
    assert (promise.acknowledged, promise.resent, promise.speaks) == (True, True, "at_end")
