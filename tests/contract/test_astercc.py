"""The contract suite for asterCC's pushes: posted, in a query string, and as objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import quote

import pytest
from yarl import URL

from cdrhub.sources.astercc import SYSTEM
from cdrhub.sources.astercc.config import AsterCCConfig
from cdrhub.sources.base import Source
from contract.pushed import PushedContract, PushedUnderTest
from support.astercc import PATH

POSTED, ASKED, OBJECT = "posted", "query", "object"
OK = (200, "OK")


class Pushing(PushedUnderTest):
    """The team's push URL, one request an event."""

    path = PATH

    def __init__(self, written: str) -> None:
        super().__init__()
        self._written = written

    @property
    def config(self) -> AsterCCConfig:
        return AsterCCConfig(path=PATH)

    def source(self) -> Source:
        return SYSTEM.source(self.config)

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
        if self._written == ASKED:
            async with self.session.get(URL(f"{self.url}?{record.decode()}", encoded=True)) as answer:
                return (answer.status, await answer.read()) == (200, b"OK")
        return await self.post(record) == OK

    async def say_garbage(self) -> int:
        garbage = (b"GET / HTTP/1.1", b"\x16\x03\x01\x00\xf1", b"<!DOCTYPE x>", b"{'cut", b"[[[[", b"sessionid=1&")
        for body in garbage:
            assert await self.post(body) == OK
        assert await self.post(b"") == OK
        return len(garbage)


class TestAsterCC(PushedContract):
    @pytest.fixture(params=[POSTED, ASKED, OBJECT])
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Pushing]:
        subject = Pushing(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
