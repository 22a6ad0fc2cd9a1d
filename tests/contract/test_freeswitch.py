"""The contract suite for the Event Socket of FreeSWITCH."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from pydantic import SecretStr

from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.source import EventSocketSource
from contract.suite import SourceContract, SourceUnderTest
from support.esl import HEARTBEAT, PASSWORD, EventSocketServer, encode_plain, event


class FreeSwitchUnderTest(SourceUnderTest):
    """A switch that has nothing to say but what the suite lets it."""

    streamed = True
    drains = False  # what a switch says to a connection that is not made yet, or is closed, is lost: it has no backlog

    def __init__(self) -> None:
        super().__init__()
        self.switch = EventSocketServer()

    @property
    def config(self) -> FreeSwitchConfig:
        return FreeSwitchConfig(
            type="freeswitch", host="127.0.0.1", port=self.switch.port, password=SecretStr(PASSWORD)
        )

    def source(self) -> EventSocketSource:
        return EventSocketSource(self.config)

    def record(self, number: int) -> bytes:
        return encode_plain(
            {
                "Event-Subclass": "callcenter::info",
                "Event-Name": "CUSTOM",
                "Core-UUID": "3ad061fd",
                "Event-Sequence": str(number),
                "CC-Action": "agent-offering",
                "CC-Member-Session-UUID": f"call-{number:04}",
            }
        )

    def wire(self, record: bytes) -> bytes:
        return event(record)

    async def say(self, record: bytes) -> None:
        await self.switch.say(record)

    async def say_pieces(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            await self.switch.send(piece)
            await asyncio.sleep(0.001)

    async def say_garbage(self) -> int:
        await self.switch.send(b"Content-Type: text/event-json\nContent-Length: 2\n\n{}")
        await self.switch.say(b"\xff\xfe no headers", HEARTBEAT, b"")
        return 2

    async def interrupt(self) -> None:
        await self.switch.hang_up()

    async def close(self) -> None:
        await self.switch.stop()


class TestFreeSwitch(SourceContract):
    @pytest.fixture
    async def subject(self) -> AsyncGenerator[FreeSwitchUnderTest]:
        subject = FreeSwitchUnderTest()
        await subject.switch.start()
        yield subject
        await subject.close()
        subject.intake.close()
