"""The contract suite for Voicenter's pushes, in each of their formats."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from cdrhub.sources.base import Source
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.bodies import Format
from cdrhub.sources.voicenter.config import VoicenterConfig
from cdrhub.sources.voicenter.simulate import render
from contract.pushed import PushedContract, PushedUnderTest

SECRET_PATH = "/ingest/voicenter/a-secret-of-some-length"


class Pushing(PushedUnderTest):
    """The account posts each record in a request of its own."""

    resent = True
    path = SECRET_PATH

    def __init__(self, written: Format) -> None:
        super().__init__()
        self._written = written

    @property
    def config(self) -> VoicenterConfig:
        return VoicenterConfig(path=SECRET_PATH)

    def source(self) -> Source:
        return SYSTEM.source(self.config)

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
        status, text = await self.post(body, Content_Type=self._written)
        code = next((code for code in "012" if f'"err":{code}' in text or f"<int>{code}</int>" in text), "")
        return status, code


class TestVoicenter(PushedContract):
    @pytest.fixture(params=Format, ids=lambda written: written.name.lower())
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Pushing]:
        subject = Pushing(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
