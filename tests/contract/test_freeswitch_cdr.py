"""The contract suite for the CDR documents that a FreeSWITCH posts, in JSON and in XML."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from cdrhub.sources.base import Source
from cdrhub.sources.freeswitch import CDR_SYSTEM
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig
from contract.pushed import PushedContract, PushedUnderTest
from support.freeswitch import bodies_of

SECRET_PATH = "/ingest/freeswitch/a-secret-of-some-length"


class Posting(PushedUnderTest):
    """The switch posts each document in a request of its own, as it is (`encode` false, `textxml`)."""

    resent = True
    path = SECRET_PATH
    damaged_status = 400  # it keeps the whole

    def __init__(self, capture: str) -> None:
        super().__init__()
        self._document = bodies_of(capture)[0]

    async def start(self) -> None:
        await super().start()
        self.url += "?uuid=a_1"

    @property
    def config(self) -> FreeSwitchCdrConfig:
        return FreeSwitchCdrConfig(path=SECRET_PATH)

    def source(self) -> Source:
        return CDR_SYSTEM.source(self.config)

    def record(self, number: int) -> bytes:
        """The recorded document, as another start of the switch would have written it."""
        return self._document.replace(b"3ad061fd", b"%08x" % number, 1)

    async def say(self, record: bytes) -> bool:
        return (await self.post(record))[0] == 200

    async def say_garbage(self) -> int:
        garbage = (b"GET / HTTP/1.1", b"\x16\x03\x01\x00\xf1", b"<!DOCTYPE x>", b'{"cut', b"cdr=%7B", b"cdr=!")
        for body in garbage:
            assert (await self.post(body))[0] == 200
        return len(garbage)


class TestFreeSwitchDocuments(PushedContract):
    @pytest.fixture(params=["03-abandoned.json_cdr.json", "03-abandoned.xml_cdr.xml"], ids=["json", "xml"])
    async def subject(self, request: pytest.FixtureRequest) -> AsyncGenerator[Posting]:
        subject = Posting(request.param)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
