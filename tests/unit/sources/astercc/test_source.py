"""The handler over real HTTP: what the sender is told, and what is kept by then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import quote

import aiohttp
import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.hub.decoders import Decoders
from cdrhub.model.record import Revision, digest_of
from cdrhub.sources.astercc import source
from cdrhub.sources.astercc.bodies import MAX_BODY_BYTES, Format
from cdrhub.sources.astercc.config import AsterCCSettings
from cdrhub.sources.transports.request_body import KEPT_OF_TOO_LONG
from support.astercc import bodies_of, event, push, served, updated
from support.intake import Accepted, RecordingIntake, recorded, until

EVENT = bodies_of("event-dialout-agent-ringing.txt")[0]
OK = (200, "text/plain", b"OK")


def outcome(kept: Accepted) -> object:
    """What the hub makes of a message that was kept: an update, or why not."""
    decoders = Decoders()
    settings = AsterCCSettings().model_dump_json()
    decoders.learn(Revision(revision="1", source="shanghai", system="astercc", settings=settings))
    return decoders.decode(recorded(kept, source="shanghai"))


def reason(kept: Accepted) -> Reason:
    """Why a message waits in suspense."""
    error = outcome(kept)
    assert isinstance(error, DecodeError), error
    return error.reason


async def test_an_event_is_answered_in_text_and_kept_as_it_came() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await push(url, EVENT) == OK
    (kept,) = intake.accepted
    assert (kept.body, kept.content_type, kept.attributes) == (EVENT, Format.FORM, {"peer": "127.0.0.1"})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_query_string_is_the_same_record_as_the_same_text_posted(method: str) -> None:
    intake = RecordingIntake()
    text = quote(EVENT, safe="/=&;@:+") + "x=%C3%A9%2b~!*'()&"
    async with served(intake) as url:
        assert await push(url, text.encode()) == OK
        assert await push(url, None, method=method, query=text) == OK
    posted, asked = intake.accepted
    assert digest_of(asked.body) == digest_of(posted.body) == digest_of(text.encode())
    assert asked.content_type == posted.content_type


async def test_an_event_says_the_same_however_it_is_spelled() -> None:
    intake = RecordingIntake()
    said = event("CALLEE", "ringing", 5, channel="Local/0159@hosted-408a;1", activenum="+8613912345678")
    async with served(intake) as url:
        await push(url, said)
        await push(url, None, method="GET", query=quote(said, safe="=&"))
        await push(url, None, method="GET", query=quote(said, safe="=&+/@;:").replace("%20", "+"))
    raw, *others = [updated(body) for body in intake.bodies]
    assert (raw.values["callee_e164"], len(others)) == ("+8613912345678", 2)
    for other in others:
        assert (other.values, other.legs, other.at) == (raw.values, raw.legs, raw.at)


async def test_the_body_counts_where_the_url_has_a_query_of_its_own() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await push(url, EVENT, query="team=31") == OK
    assert intake.bodies == [EVENT]


async def test_objects_come_one_a_line() -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await push(url, b"{'event':'login','agentno':'7001'}\n{'event':'paused'\n") == OK
    assert intake.bodies == [b"{'event':'login','agentno':'7001'}", b"{'event':'paused'"]
    assert intake.groups == [2]
    assert {kept.content_type for kept in intake.accepted} == {Format.JSON}
    assert reason(intake.accepted[1]) is Reason.UNPARSABLE, "and its neighbour is none the worse for it"
    assert not isinstance(outcome(intake.accepted[0]), DecodeError)


async def test_forms_come_one_a_line() -> None:
    """As `curl --data-binary @events.txt` posts a file that an editor gave a byte order mark."""
    intake = RecordingIntake()
    lines = [EVENT, EVENT.replace(b"event=ringing", b"event=answer")]
    async with served(intake) as url:
        assert await push(url, b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n") == OK
    assert intake.bodies == lines
    assert intake.groups == [2]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"hello", Reason.UNPARSABLE),
        (b"\x00\x01", Reason.UNPARSABLE),
        (b"{'cut", Reason.UNPARSABLE),
        (b"[[[[", Reason.UNPARSABLE),
        (b"event=ringing&source=AGENT&", Reason.MISSING_KEY),
        (b"sessionid=1&source=AGENT&", Reason.BAD_VALUE),
    ],
)
async def test_what_cannot_be_understood_is_kept_and_answered_like_the_rest(body: bytes, why: Reason) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await push(url, body) == OK
    (kept,) = intake.accepted
    assert (kept.body, reason(kept)) == (body, why)


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b""), ("POST", b"\r\n")])
async def test_a_request_without_an_event_keeps_nothing(method: str, body: bytes | None) -> None:
    intake = RecordingIntake()
    async with served(intake) as url:
        assert await push(url, body, method=method) == OK
    assert (intake.offered, intake.counts["empty_request"]) == (0, 1)


async def test_what_could_not_be_kept_is_not_answered_with_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "DURABLE_SECONDS", 0.2)
    intake = RecordingIntake()
    intake.refusing = True
    async with served(intake) as url:
        status, _, answer = await push(url, EVENT)
        assert (status, answer.startswith(b"not kept, send it again: ")) == (503, True)
        intake.refusing = False
        intake.full = True
        assert (await push(url, EVENT))[0] == 503, "a full journal is told in time"
        intake.full = False
        assert await push(url, EVENT) == OK
    assert intake.bodies == [EVENT]


async def test_the_answer_waits_for_the_journal() -> None:
    """Longer than a disk stands still under load: a refused event does not come again."""
    intake = RecordingIntake()
    intake.full = True
    async with served(intake) as url:
        answering = asyncio.create_task(push(url, EVENT))
        await until(lambda: intake.offered, "the event is offered")
        await asyncio.sleep(1.0)
        assert not answering.done()
        intake.full = False
        assert await answering == OK
    assert intake.bodies == [EVENT]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused_and_its_beginning_kept(chunked: bool) -> None:
    intake = RecordingIntake()
    body = EVENT + b"userdata=" + b"x" * MAX_BODY_BYTES

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    async with (
        served(intake) as url,
        aiohttp.ClientSession() as client,
        client.post(url, data=pieces() if chunked else body) as answer,
    ):
        assert answer.status == 413
    (kept,) = intake.accepted
    assert kept.body == body[:KEPT_OF_TOO_LONG]
    assert reason(kept) is Reason.TOO_LONG
    assert intake.counts["body_too_large"] == 1


async def test_the_hubs_own_limit_counts_where_it_is_smaller() -> None:
    intake = RecordingIntake()
    async with served(intake, client_max_size=1000) as url:
        assert (await push(url, EVENT * 10))[0] == 413
    assert reason(intake.accepted[0]) is Reason.TOO_LONG


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_other_methods(method: str) -> None:
    intake = RecordingIntake()
    async with served(intake) as url, aiohttp.ClientSession() as client, client.request(method, url) as answer:
        assert (answer.status, answer.headers["Allow"], answer.content_type) == (405, "GET, POST", "text/plain")
    assert intake.offered == 0


@pytest.mark.parametrize(("allow", "status"), [(["192.0.2.0/24"], 403), (["192.0.2.0/24", "127.0.0.0/8"], 200)])
async def test_allow_list(allow: list[str], status: int) -> None:
    intake = RecordingIntake()
    async with served(intake, allow=allow) as url:
        assert (await push(url, EVENT))[0] == status
    assert len(intake.bodies) == (status == 200)
    assert intake.counts["peer_refused"] == (status == 403)
