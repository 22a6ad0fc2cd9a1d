"""The contract suite for asterCC's pushes: posted, in a query string, and as objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from cdrhub.sources.astercc.config import AsterCCConfig
from cdrhub.sources.astercc.source import AsterCCSource
from contract.suite import SourceContract, SourceUnderTest
from support.astercc import PATH

POSTED, ASKED, OBJECT = "posted", "query", "object"


class Pushing(SourceUnderTest):
    """The team's push URL, one request an event."""

    acknowledged = True
    linked = False

    def __init__(self, written: str) -> None:
        super().__init__()
        self._written = written
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    async def start(self) -> None:
        """Start the hub's HTTP server and the team."""
        self._url = await self._stack.enter_async_context(self.intake.http_server()) + PATH
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())

    @property
    def config(self) -> AsterCCConfig:
        return AsterCCConfig(path=PATH)

    def source(self) -> AsterCCSource:
        return AsterCCSource(self.config)

    def record(self, number: int) -> bytes:
        fields = {
            "calleridnum": "02100005511",
            "activenum": "02100005511",
            "source": "CALLEE",
            "event": "ringing",
            "sessionid": f"{number:032x}",
            "eventTime": "2026-03-09 08:22:05",
            "channel": "Local/0159@hosted-408a;1",
        }
        if self._written == OBJECT:
            return repr(fields).encode()
        body = "".join(f"{key}={value}&" for key, value in fields.items())
        return (quote(body, safe="=&/@;:") if self._written == ASKED else body).encode()

    async def say(self, record: bytes) -> bool:
        assert self._session is not None
        if self._written == ASKED:
            url = URL(f"{self._url}?{record.decode()}", encoded=True)
            async with self._session.get(url) as answer:
                return (answer.status, await answer.read()) == (200, b"OK")
        return await self._post(record)

    async def say_garbage(self) -> int:
        garbage = (b"GET / HTTP/1.1", b"\x16\x03\x01\x00\xf1", b"<!DOCTYPE x>", b"{'cut", b"[[[[", b"sessionid=1&")
        for body in garbage:
            assert await self._post(body)
        assert await self._post(b"")
        return len(garbage)

    async def _post(self, body: bytes) -> bool:
        assert self._session is not None
        async with self._session.post(self._url, data=body) as answer:
            return (answer.status, await answer.read()) == (200, b"OK")

    async def interrupt(self) -> None:
        await self._stack.aclose()
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()


class TestAsterCC(SourceContract):
    @pytest.fixture(params=[POSTED, ASKED, OBJECT])
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Pushing]:
        subject = Pushing(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
