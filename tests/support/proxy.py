"""A TCP proxy that fails like networks do: it refuses, goes deaf, cuts in mid record, stops and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`. Misfortunes are methods; `heal` ends them."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        self.passed = 0  #: bytes passed on towards the target and back
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._cut_after: int | None = None
        self._deaf_at = b""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Accept; on the port of the last time, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and reset the present ones."""
        if self._server is not None:
            self._server.close()
            self.cut()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    def go_deaf(self) -> None:
        """Keep connections open and pass nothing on: a cable that was pulled."""
        self._hearing.clear()

    def go_deaf_at(self, words: bytes) -> None:
        """Go deaf as soon as a piece with these words comes; it is the first that is not passed on."""
        self._deaf_at = words

    @property
    def deaf(self) -> bool:
        """Whether nothing is passed on."""
        return not self._hearing.is_set()

    def cut_after(self, count: int) -> None:
        """Pass `count` more bytes on and then reset all connections, in mid record if it comes so."""
        self._cut_after = count

    def cut(self) -> None:
        """Reset all connections now."""
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def heal(self) -> None:
        """Pass everything on again."""
        self._cut_after = None
        self._deaf_at = b""
        self._hearing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            away_reader, away_writer = await asyncio.open_connection(*self.target)
        except OSError:
            self._leave(task, writer)
            return
        self._writers.add(away_writer)
        try:
            await asyncio.gather(self._pass(reader, away_writer), self._pass(away_reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass  # a cut connection or the end of the proxy: both sides close below
        finally:
            self._leave(task, writer, away_writer)

    def _leave(self, task: asyncio.Task[None], *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            self._writers.discard(writer)
            writer.close()
        self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            if self._deaf_at and self._deaf_at in piece:
                self.go_deaf()
            await self._hearing.wait()
            if self._cut_after is not None:
                piece = piece[: self._cut_after]
                self._cut_after -= len(piece)
            writer.write(piece)
            await writer.drain()
            self.passed += len(piece)
            if self._cut_after == 0:
                self._cut_after = None
                await asyncio.sleep(0.01)  # let the piece leave before the reset overtakes it
                self.cut()
                return
        if writer.can_write_eof():
            with contextlib.suppress(OSError):  # it is cut already
                writer.write_eof()
