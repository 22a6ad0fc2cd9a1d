"""Scripted peers on loopback sockets: a phone system that connects to us, and one that we connect to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence

from support.intake import until


class Connection:
    """One connection, from the phone system's side; every `send` is a segment of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, *pieces: bytes) -> None:
        """Send each piece; back-pressure of the hub is felt here."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def close(self) -> None:
        """Close in the ordinary way."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Break the connection: the hub gets a reset, not an end."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Client(Connection):
    """A phone system that connects (3CX's active socket). It notes every byte that is sent back to it."""

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Client:
        """Connect to a loopback port."""
        return cls(*await asyncio.open_connection(host, port))

    @property
    def address(self) -> str:
        """Our end, as the server sees it."""
        host, port = self._writer.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    @property
    def closed(self) -> bool:
        """Whether the server closed the connection."""
        return self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()

    async def received_until_closed(self) -> bytes:
        """What the server sent until it closed the connection."""
        async with asyncio.timeout(20):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""


class Server:
    """A phone system that is connected to (3CX's passive socket): what is said goes to whoever is connected."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0  #: ever made
        self.heard = b""  #: every byte that clients sent
        self.port = 0

    async def start(self) -> None:
        """Listen; on the port of the last time, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.append(writer)
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while heard := await reader.read(65_536):
                self.heard += heard
        self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        if writer in self._writers:
            self._writers.remove(writer)

    @property
    def connected(self) -> int:
        """Connections at the moment."""
        return len(self._writers)

    async def send(self, *pieces: bytes) -> None:
        """Send each piece to everyone connected; waits until somebody is."""
        for piece in pieces:
            await until(lambda: self._writers, "nobody connects")
            for writer in list(self._writers):
                writer.write(piece)
                await writer.drain()

    async def hang_up(self) -> None:
        """Close every connection in the ordinary way; go on listening."""
        writers: Sequence[asyncio.StreamWriter] = list(self._writers)
        for writer in writers:
            self._drop(writer)
        for writer in writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """Stop listening and close everything."""
        if self._server is not None:
            self._server.close()
            await self.hang_up()
            await self._server.wait_closed()
            self._server = None
