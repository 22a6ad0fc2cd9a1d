"""The contract suite for the CDR documents that a FreeSWITCH posts, in JSON and in XML."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig
from cdrhub.sources.freeswitch.posted import PostedSource
from contract.suite import SourceContract, SourceUnderTest
from support.freeswitch import bodies_of

SECRET_PATH = "/ingest/freeswitch/a-secret-of-some-length"


class Posting(SourceUnderTest):
    """The switch posts each document in a request of its own, as it is (`encode` false, `textxml`)."""

    acknowledged = True
    resent = True
    linked = False

    def __init__(self, capture: str) -> None:
        super().__init__()
        self._document = bodies_of(capture)[0]
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    async def start(self) -> None:
        """Start the hub's HTTP server and the switch."""
        self._url = await self._stack.enter_async_context(self.intake.http_server()) + SECRET_PATH
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())

    @property
    def config(self) -> FreeSwitchCdrConfig:
        return FreeSwitchCdrConfig(path=SECRET_PATH)

    def source(self) -> PostedSource:
        return PostedSource(self.config)

    def record(self, number: int) -> bytes:
        """The recorded document, as another start of the switch would have written it."""
        return self._document.replace(b"3ad061fd", b"%08x" % number, 1)

    async def say(self, record: bytes) -> bool:
        return await self._post(record) == 200

    async def say_garbage(self) -> int:
        garbage = (b"GET / HTTP/1.1", b"\x16\x03\x01\x00\xf1", b"<!DOCTYPE x>", b'{"cut', b"cdr=%7B", b"cdr=!")
        for body in garbage:
            assert await self._post(body) == 200
        return len(garbage)

    async def _post(self, body: bytes) -> int:
        assert self._session is not None
        async with self._session.post(self._url, params={"uuid": "a_1"}, data=body) as response:
            return response.status

    async def interrupt(self) -> None:
        await self._stack.aclose()
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()


class TestFreeSwitchDocuments(SourceContract):
    @pytest.fixture(params=["03-abandoned.json_cdr.json", "03-abandoned.xml_cdr.xml"], ids=["json", "xml"])
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Posting]:
        subject = Posting(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
