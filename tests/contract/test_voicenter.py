"""The contract suite for Voicenter's pushes, in each of their formats."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from cdrhub.sources.voicenter.bodies import Format
from cdrhub.sources.voicenter.config import VoicenterConfig
from cdrhub.sources.voicenter.simulate import render
from cdrhub.sources.voicenter.source import VoicenterSource
from contract.suite import SourceContract, SourceUnderTest

SECRET_PATH = "/ingest/voicenter/a-secret-of-some-length"


class Pushing(SourceUnderTest):
    """The account posts each record in a request of its own."""

    acknowledged = True
    resent = True
    linked = False

    def __init__(self, written: Format) -> None:
        super().__init__()
        self._written = written
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    async def start(self) -> None:
        """Start the hub's HTTP server and the account."""
        self._url = await self._stack.enter_async_context(self.intake.http_server()) + SECRET_PATH
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())

    @property
    def config(self) -> VoicenterConfig:
        return VoicenterConfig(path=SECRET_PATH)

    def source(self) -> VoicenterSource:
        return VoicenterSource(self.config)

    def record(self, number: int) -> bytes:
        cdr = {
            "caller": "0501234567",
            "target": "0722776772",
            "time": 1595333610 + number,
            "duration": 20,
            "ivruniqueid": f"202007211213270{number}c",
            "type": "Incoming Call",
            "status": "ANSWER",
            "dialtime": 4,
        }
        return render(cdr, self._written)

    async def say(self, record: bytes) -> bool:
        return await self._post(record) == (200, "0")

    async def say_garbage(self) -> int:
        garbage = (b"GET / HTTP/1.1", b"\x16\x03\x01\x00\xf1", b"<!DOCTYPE x>", b'{"cut', b"[[[[", b"")
        for body in garbage:
            assert await self._post(body) == (200, "1")
        return len(garbage)

    async def _post(self, body: bytes) -> tuple[int, str]:
        """The answer's status and error code."""
        assert self._session is not None
        async with self._session.post(self._url, data=body, headers={"Content-Type": self._written}) as response:
            text = await response.text()
        code = next((code for code in "012" if f'"err":{code}' in text or f"<int>{code}</int>" in text), "")
        return response.status, code

    async def interrupt(self) -> None:
        await self._stack.aclose()
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()


class TestVoicenter(SourceContract):
    @pytest.fixture(params=Format, ids=lambda written: written.name.lower())
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Pushing]:
        subject = Pushing(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
