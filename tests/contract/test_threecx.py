"""The contract suite for the five ways in which 3CX's records come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest

from cdrhub.sources.threecx.config import ThreeCXConfig
from cdrhub.sources.threecx.source import ThreeCXSource
from contract.pushed import PushedContract, PushedUnderTest
from contract.suite import SourceContract, SourceUnderTest
from support.peers import Client, Server

POLL_SECONDS = 0.005
SECRET_PATH = "/ingest/3cx/a-secret-of-some-length"
GARBAGE = b"GET / HTTP/1.1\r\n\x16\x03\x01\x00\xf1 \xfe\xff\r\n"


class ThreeCXUnderTest(SourceUnderTest):
    """What the five modes have in common: 20 columns, CR LF."""

    async def start(self) -> None:
        """Start the phone system."""

    def source(self) -> ThreeCXSource:
        assert isinstance(self.config, ThreeCXConfig)
        return ThreeCXSource(self.config, poll_seconds=POLL_SECONDS)

    def record(self, number: int) -> bytes:
        return (
            b"Call %d,00000172FF10D141_%d,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,"
            b"TerminatedByDst,Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;"
        ) % (100_000 + number, number)

    def wire(self, record: bytes) -> bytes:
        return record + b"\r\n"


class Listening(ThreeCXUnderTest):
    """The PBX connects to us."""

    streamed = True
    _client: Client | None = None

    @property
    def config(self) -> ThreeCXConfig:
        return ThreeCXConfig(type="3cx", mode="listen", listen="127.0.0.1:0", allow=("127.0.0.0/8",))

    async def say(self, record: bytes) -> None:
        await self.say_pieces([self.wire(record)])

    async def say_pieces(self, pieces: Sequence[bytes]) -> None:
        await asyncio.sleep(0.002)  # a PBX has seen by now that its connection was closed
        if self._client is None or self._client.closed:
            await self.interrupt()
            self._client = await Client.connect(self.intake.port("127.0.0.1:0"))
        for piece in pieces:
            await self._client.send(piece)
            await asyncio.sleep(0.001)

    async def say_garbage(self) -> int:
        stranger = await Client.connect(self.intake.port("127.0.0.1:0"))
        await stranger.send(GARBAGE, b"half")
        await stranger.close()
        return 3

    async def interrupt(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def close(self) -> None:
        await self.interrupt()


class Connecting(ThreeCXUnderTest):
    """We connect to the PBX."""

    streamed = True
    drains = False  # what arrives at a connection that is not made yet, or is closed, is lost: it has no backlog

    def __init__(self) -> None:
        super().__init__()
        self._server = Server()

    async def start(self) -> None:
        await self._server.start()

    @property
    def config(self) -> ThreeCXConfig:
        return ThreeCXConfig(type="3cx", mode="connect", host="127.0.0.1", port=self._server.port)

    async def say(self, record: bytes) -> None:
        await self._server.send(self.wire(record))

    async def say_pieces(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            await self._server.send(piece)
            await asyncio.sleep(0.001)

    async def say_garbage(self) -> int:
        await self._server.send(GARBAGE)
        return 2

    async def interrupt(self) -> None:
        await self._server.hang_up()

    async def close(self) -> None:
        await self._server.stop()


class Following(ThreeCXUnderTest):
    """The PBX writes one file."""

    streamed = True
    resent = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "cdr.log"
        self._rotations = 0

    @property
    def config(self) -> ThreeCXConfig:
        return ThreeCXConfig(type="3cx", mode="file", path=str(self._path))

    async def say(self, record: bytes) -> None:
        await self.say_pieces([self.wire(record), b"\r\n"])

    async def say_pieces(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            with self._path.open("ab", buffering=0) as file:
                file.write(piece)
            await asyncio.sleep(POLL_SECONDS * 1.5)

    async def say_garbage(self) -> int:
        await self.say_pieces([GARBAGE])
        return 2

    async def interrupt(self) -> None:
        if not self._path.exists():
            return
        self._rotations += 1
        self._path.rename(self._path.with_name(f"cdr.log.{self._rotations}"))


class Watching(ThreeCXUnderTest):
    """The PBX writes a file for each call."""

    resent = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._files = 0

    @property
    def config(self) -> ThreeCXConfig:
        return ThreeCXConfig(type="3cx", mode="directory", path=str(self._folder))

    async def say(self, record: bytes) -> None:
        self._write(self.wire(record) + b"\r\n")

    async def say_garbage(self) -> int:
        self._write(GARBAGE)
        return 2

    def _write(self, content: bytes) -> None:
        self._files += 1
        (self._folder / f"cdr-240617{self._files:06}.{self._files}.log").write_bytes(content)

    async def interrupt(self) -> None:
        (self._folder / "README").write_text("something else that changes the folder")


class Pushed(PushedUnderTest, ThreeCXUnderTest):
    """A forwarder posts what it received."""

    resent = True
    path = SECRET_PATH
    damaged_status = 400

    @property
    def config(self) -> ThreeCXConfig:
        return ThreeCXConfig(type="3cx", mode="http", path=SECRET_PATH)

    async def say(self, record: bytes) -> bool:
        return (await self.post(self.posted(record)))[0] == 200

    def posted(self, record: bytes) -> bytes:
        return json.dumps({"body": f"Received: {self.wire(record).decode()}"}).encode()

    async def say_garbage(self) -> int:
        assert (await self.post(b"<html>\x00\xff"))[0] == 400
        assert (await self.post(b'{"body": 5}'))[0] == 400
        return 2


MODES: dict[str, Callable[[Path], ThreeCXUnderTest]] = {
    "listen": lambda _: Listening(),
    "connect": lambda _: Connecting(),
    "file": Following,
    "directory": Watching,
}


class TestThreeCX(SourceContract):
    @pytest.fixture(params=MODES)
    async def subject(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[ThreeCXUnderTest]:
        subject = MODES[request.param](tmp_path)
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()


class TestThreeCXOverHttp(PushedContract):
    @pytest.fixture
    async def subject(self) -> AsyncGenerator[Pushed]:
        subject = Pushed()
        await subject.start()
        yield subject
        await subject.close()
        subject.intake.close()
