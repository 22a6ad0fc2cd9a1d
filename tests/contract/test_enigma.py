"""The contract suite for a dialler's Redis list: taken reliably from either end, and plainly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from cdrhub.sources.enigma.config import EnigmaConfig
from cdrhub.sources.enigma.source import EnigmaSource
from contract.suite import SourceContract, SourceUnderTest
from support.enigma import cdr
from support.intake import until
from support.redis import RedisServer, running

KEY = "enigma:notifications:campaigns"
GARBAGE = (b"not json at all", b"[]", b'{"type":"cdr","payload":null}', b"\x00\xff", b'{"type":null}', b"")
WAYS: dict[str, dict[str, Any]] = {
    "right": {"reliable": "always"},
    "left": {"reliable": "always", "side": "left"},
    "plain": {"reliable": "never"},
}


class EnigmaUnderTest(SourceUnderTest):
    """A dialler that pushes to a real Redis."""

    resent = True

    def __init__(self, server: RedisServer, way: dict[str, Any]) -> None:
        super().__init__()
        self._config = EnigmaConfig(type="enigma", redis=SecretStr(server.url), keys=(KEY,), lease_seconds=3, **way)
        with server.client() as client:
            client.flushall()
        self._context = server.client()
        self._dialler = self._context.__enter__()

    @property
    def config(self) -> EnigmaConfig:
        return self._config

    def source(self) -> EnigmaSource:
        return EnigmaSource(self._config)

    def record(self, number: int) -> bytes:
        return cdr(call_ref=number)

    async def say(self, record: bytes) -> None:
        if self._config.side == "left":
            self._dialler.rpush(KEY, record)
        else:
            self._dialler.lpush(KEY, record)

    async def say_garbage(self) -> int:
        for message in GARBAGE:
            await self.say(message)
        return len(GARBAGE)

    async def interrupt(self) -> None:
        # What is durable and still in the processing list would come a second time: as the same record.
        await until(lambda: not self._dialler.exists(f"{KEY}:cdrhub:processing"))
        self._dialler.client_kill_filter(_type="normal", skipme=True)

    async def close(self) -> None:
        self._context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class TestEnigma(SourceContract):
    @pytest.fixture(params=WAYS)
    async def subject(self, request: pytest.FixtureRequest, server: RedisServer) -> AsyncGenerator[EnigmaUnderTest]:
        subject = EnigmaUnderTest(server, WAYS[request.param])
        yield subject
        await subject.close()
        subject.intake.close()
