"""What every source that is pushed over HTTP must do beside the contract: bodies come packed, damaged and cut off."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp
import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.base import refuse_partial
from contract.suite import SourceContract, SourceUnderTest
from support.intake import Accepted, recorded, until
from support.peers import Client

_TRAILER = 8  #: bytes of gzip: checksum and length (RFC 1952, 2.3.1)


class PushedUnderTest(SourceUnderTest):
    """A source whose phone system posts to `path`, a record in each request."""

    acknowledged = True
    linked = False
    path: str
    damaged_status = 200  #: of the answer to a body that cannot be read

    def __init__(self) -> None:
        super().__init__()
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self.url = ""

    async def start(self) -> None:
        """Start the hub's HTTP server and the phone system."""
        self.url = await self._stack.enter_async_context(self.intake.http_server()) + self.path
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())

    @property
    def session(self) -> aiohttp.ClientSession:
        """The phone system's HTTP client."""
        assert self._session is not None
        return self._session

    def posted(self, record: bytes) -> bytes:
        """The body that says `record`."""
        return record

    async def post(self, body: bytes, **headers: str) -> tuple[int, str]:
        """Status and text of the answer; a header's `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url, data=body, headers=named) as answer:
            return answer.status, await answer.text()

    async def by_hand(self) -> Client:
        """A connection to the server on which a test writes what it likes."""
        port = urlsplit(self.url).port
        assert port is not None
        return await Client.connect(port)

    async def interrupt(self) -> None:
        await self._stack.aclose()
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()


class PushedContract(SourceContract):
    """The suite of a pushed source."""

    async def test_a_packed_body_is_unpacked(self, subject: PushedUnderTest) -> None:
        record = subject.record(0)
        async with subject.running():
            status, _ = await subject.post(gzip.compress(subject.posted(record)), Content_Encoding="gzip")
        assert status == 200
        assert subject.intake.bodies == [record]

    async def test_a_body_in_an_encoding_that_is_not_known_is_kept_as_it_came(self, subject: PushedUnderTest) -> None:
        async with subject.running():
            status, _ = await subject.post(b"\x8b\x01", Content_Encoding="br")
        assert status == subject.damaged_status
        assert (subject.intake.bodies, subject.intake.counts["body_damaged"]) == ([b"\x8b\x01"], 1)
        assert (
            _why(subject.intake.accepted[0])
            == "the body is packed as 'br', which is not unpacked; its first 2 bytes are kept"
        )

    @pytest.mark.parametrize("readable", [True, False], ids=["some", "nothing"])
    async def test_a_body_that_cannot_be_unpacked_is_kept_as_far_as_it_came(
        self, subject: PushedUnderTest, readable: bool
    ) -> None:
        body = subject.posted(subject.record(0)) if readable else b""
        packed, noise = gzip.compress(body)[:-_TRAILER] if readable else b"", b"\0" * 16
        head = f"POST {subject.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        async with subject.running():
            sender = await subject.by_hand()
            await sender.send(f"{head}Content-Length: {len(packed + noise)}\r\n\r\n".encode(), packed)
            await asyncio.sleep(0.05)  # what is read together with the damage is lost with it
            await sender.send(noise)
            answer = await sender.received_until_closed()
            await sender.close()
        assert answer.startswith(b"HTTP/1.1 %d" % subject.damaged_status)
        assert subject.intake.bodies == [body if readable else noise], "of what is noise at once all is kept"
        assert subject.intake.counts["body_damaged"] == 1
        assert all("cannot be unpacked" in _why(kept) for kept in subject.intake.accepted)

    async def test_a_body_that_is_cut_off_leaves_nothing_and_harms_nobody(self, subject: PushedUnderTest) -> None:
        body = subject.posted(subject.record(0))
        head = f"POST {subject.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        async with subject.running():
            sender = await subject.by_hand()
            await sender.send(head.encode(), body[: len(body) // 2])
            await sender.reset()
            await until(lambda: subject.intake.counts["connection_lost"] == 1, "the broken connection is noticed")
            await subject.say_until_acknowledged(subject.record(1))
        assert subject.intake.bodies == [subject.record(1)]


def _why(kept: Accepted) -> str:
    """Why what was kept waits in suspense."""
    with pytest.raises(DecodeError) as refused:
        refuse_partial(recorded(kept))
    assert refused.value.reason is Reason.UNPARSABLE
    return refused.value.detail
