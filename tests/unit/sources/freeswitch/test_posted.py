"""CDR documents over real HTTP: what the switch is told, and what is kept by then."""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from urllib.parse import quote, quote_plus

import aiohttp
import orjson
import pytest
from lxml import etree

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.update import CallUpdate
from cdrhub.sources.base import TOO_LONG
from cdrhub.sources.freeswitch import CDR_SYSTEM, SYSTEM
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig
from cdrhub.sources.freeswitch.documents import MAX_DOCUMENT_BYTES, unwrap
from cdrhub.sources.freeswitch.files import split
from cdrhub.sources.freeswitch.posted import MAX_POST_BYTES
from cdrhub.sources.transports.request_body import KEPT_OF_TOO_LONG
from support.freeswitch import bodies_of, record_of, updated
from support.intake import RecordingIntake

PATH = "/ingest/freeswitch/0123456789abcdef"
UNSAFE = '\r\n #%&+:;<=>?@[\\]^`{|}"'  # SWITCH_URL_UNSAFE of switch_utils.h
SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) not in UNSAFE)

DOCUMENT = bodies_of("01-answered-caller-hangs-up.json_cdr.json")[-1]
XML = bodies_of("01-answered-caller-hangs-up.xml_cdr.xml")[-1]
DECLARED = b'<?xml version="1.0"?>\n' + XML + b"\n"


def url_encoded(document: bytes) -> bytes:
    """As switch_url_encode does today."""
    return quote(document, safe=SAFE).encode()


def sparingly_encoded(document: bytes) -> bytes:
    """As switch_url_encode did before: a `%` that two hexadecimal digits follow stays as it is."""
    return url_encoded(document).replace(b"%25", b"%")


def in_lines(document: bytes) -> bytes:
    """As switch_b64_encode does: a line break now and then."""
    text = b64encode(document)
    return b"\n".join(text[at : at + 72] for at in range(0, len(text), 72))


def served(intake: RecordingIntake, **config: object) -> AbstractAsyncContextManager[str]:
    """A session of the source behind a real HTTP server; its value is the URL that the switch is told."""
    return intake.serving(CDR_SYSTEM.source(FreeSwitchCdrConfig.model_validate({"path": PATH, **config})), PATH)


async def post(url: str, body: bytes | io.BytesIO, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as client, client.post(url, data=body, headers=named) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("body", "document", "content_type"),
    [
        pytest.param(DOCUMENT, DOCUMENT, "application/json", id="json"),
        pytest.param(DOCUMENT, DOCUMENT, "application/x-www-form-urlencoded", id="json-disable-100-continue"),
        pytest.param(b"cdr=" + url_encoded(DOCUMENT), DOCUMENT, "application/x-www-form-urlencoded", id="json-encoded"),
        pytest.param(b"cdr=" + in_lines(DOCUMENT), DOCUMENT, "application/x-www-form-base64-encoded", id="json-base64"),
        pytest.param(DECLARED, XML, "text/xml", id="xml-textxml"),
        pytest.param(b"cdr=" + DECLARED, XML, "application/x-www-form-plaintext", id="xml-plain"),
        pytest.param(b"cdr=" + url_encoded(DECLARED), XML, "application/x-www-form-urlencoded", id="xml-encoded"),
        pytest.param(b"cdr=" + in_lines(DECLARED), XML, "application/x-www-form-base64-encoded", id="xml-base64"),
    ],
)
async def test_every_way_of_posting_is_the_same_record_as_in_a_file(
    body: bytes, document: bytes, content_type: str
) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await post(f"{url}?uuid=a_7c5b", body, Content_Type=content_type) == 200
    assert intake.bodies == [document]
    assert intake.accepted[0].attributes == {"peer": "127.0.0.1"}
    assert not intake.counts["not_understood"]


@pytest.mark.parametrize("encoded", [url_encoded, b64encode, in_lines])
@pytest.mark.parametrize(("written", "document"), [(DOCUMENT, DOCUMENT), (DECLARED, XML)], ids=["json", "xml"])
def test_what_the_switch_left_encoded_in_err_log_dir_is_the_same_record(
    encoded: Callable[[bytes], bytes], written: bytes, document: bytes
) -> None:
    left = encoded(written) + b"\n"
    assert split(left, final=True) == ([document], b"")
    messages, rest = split(left[:1000], final=False)
    assert (messages, rest) == ([], left[:1000])
    assert unwrap(b"cdr=" + left) == document


def test_url_encoded_documents_may_stand_one_after_the_other() -> None:
    left = url_encoded(DOCUMENT) + b"\n" + url_encoded(DOCUMENT) + b"\n"
    assert split(left + left[:50], final=False) == ([DOCUMENT, DOCUMENT], left[:50])
    (cut,), rest = split(left[:50], final=True)
    assert rest == b""
    assert cut
    assert DOCUMENT.startswith(cut)


@pytest.mark.parametrize("damaged", [b64encode(DOCUMENT)[:-3] + b"!\n", b"eyJjb3JlLXV1a"])
def test_what_is_in_no_encoding_to_its_end_is_kept_as_it_is(damaged: bytes) -> None:
    assert split(damaged, final=True) == ([damaged], b"")


async def test_a_switch_that_asks_before_it_sends_is_told_to_go_on() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await post(url, DOCUMENT, Expect="100-continue") == 200
    assert intake.bodies == [DOCUMENT]


def test_a_document_that_an_older_switch_encoded_reads_the_same() -> None:
    posted = unwrap(b"cdr=" + sparingly_encoded(DOCUMENT))
    before, after = updated(DOCUMENT, calls="all"), updated(posted, calls="all")
    assert (after.values, after.legs, after.attributes) == (before.values, before.legs, before.attributes)


def test_a_relay_that_writes_blanks_as_a_form_does_changes_nothing() -> None:
    document = b'{"variables": {"caller_name": "A + B 50%"}}'
    assert unwrap(b"cdr=" + quote_plus(document).encode()) == document


async def test_what_an_older_switch_damaged_by_encoding_it_is_read() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await post(url, b"cdr=" + sparingly_encoded(XML)) == 200
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(intake.bodies[0])
    assert replace(decode(intake.bodies[0]), digest=b"") == replace(decode(XML), digest=b"")


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        b'{"variables":',
        b"<cdr><variables>",
        b"cdr=",
        b"cdr=not*base64",
        b"cdr=" + b64encode(b"{}") + b"*",
        b"cdr=aGVsbG8=",
        b"cdr=%68%65",
        b"uuid=1&cdr={}",
        b"\x00\xff",
        b"{}",
    ],
)
async def test_what_cannot_be_read_is_kept_and_not_asked_for_again(body: bytes) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await post(url, body) == 200
    assert intake.bodies == [body]
    assert intake.counts["not_understood"] == (not body.startswith((b"{", b"<")))
    with pytest.raises(DecodeError):
        decode(body)


@pytest.mark.parametrize("body", [b"", b" \r\n"])
async def test_an_empty_body_is_refused(body: bytes) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await post(url, body) == 400
    assert intake.bodies == []
    assert intake.counts["empty_request"] == 1


async def test_a_document_type_is_kept_and_refused_by_the_decoder() -> None:
    intake = RecordingIntake()
    bomb = b'<?xml version="1.0"?><!DOCTYPE cdr [<!ENTITY a SYSTEM "file:///etc/passwd">]><cdr><variables/></cdr>'
    async with served(intake) as url:
        assert await post(url, b"cdr=" + url_encoded(bomb)) == 200
    with pytest.raises(DecodeError) as refused:
        decode(intake.bodies[0])
    assert refused.value.reason == Reason.FORBIDDEN


async def test_what_is_not_durable_is_asked_for_again() -> None:
    intake = RecordingIntake()
    intake.refusing = True
    async with served(intake) as url:
        assert await post(url, DOCUMENT) == 503
        assert intake.bodies == []
        intake.refusing = False
        assert await post(url, DOCUMENT) == 200
    assert intake.bodies == [DOCUMENT]


async def test_a_full_journal_is_told_to_the_switch_which_waits_with_a_channel() -> None:
    intake = RecordingIntake()
    intake.full = True
    async with asyncio.timeout(20), served(intake) as url:
        assert await post(url, DOCUMENT) == 503
        intake.full = False
        assert await post(url, DOCUMENT) == 200
    assert intake.bodies == [DOCUMENT]


async def test_a_body_over_the_limit_is_refused_and_its_beginning_kept() -> None:
    intake = RecordingIntake()
    async with served(intake) as url, aiohttp.ClientSession() as client:
        body = io.BytesIO(b"{" + b" " * MAX_POST_BYTES)
        async with client.post(url, data=body) as answer:
            assert answer.status == 413
    assert [len(body) for body in intake.bodies] == [KEPT_OF_TOO_LONG]
    assert intake.accepted[0].attributes[TOO_LONG] is True
    assert intake.counts["body_too_large"] == 1


async def test_the_longest_document_is_taken_though_every_byte_of_it_is_encoded() -> None:
    intake = RecordingIntake()
    blanks = MAX_DOCUMENT_BYTES - 2
    async with served(intake) as url:
        assert await post(url, io.BytesIO(b"cdr=%7B" + b"%20" * blanks + b"%7D")) == 200
    assert intake.bodies == [b"{" + b" " * blanks + b"}"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_post_is_taken(method: str) -> None:
    intake = RecordingIntake()
    async with (
        served(intake) as url,
        aiohttp.ClientSession() as client,
        client.request(method, url, data=DOCUMENT) as answer,
    ):
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert intake.bodies == []


async def test_allow_list() -> None:
    intake = RecordingIntake()
    async with served(intake, allow=["192.0.2.0/24"]) as url:
        assert await post(url, DOCUMENT) == 403
    assert intake.bodies == []
    assert intake.counts["peer_refused"] == 1


def test_the_path_is_a_secret() -> None:
    config = FreeSwitchCdrConfig(path=PATH)
    assert "0123456789abcdef" not in repr(config)
    assert config.ingest_path == PATH


def decode(body: bytes) -> CallUpdate:
    """What the decoder makes of a body as it was kept."""
    update = SYSTEM.decoder(FreeSwitchCdrConfig(path=PATH).decode_settings())(record_of(body))
    assert isinstance(update, CallUpdate)
    return update


def test_the_documents_of_the_captures_are_whole() -> None:
    assert orjson.loads(DOCUMENT)["variables"]["uuid"]
    assert decode(XML).call_key
