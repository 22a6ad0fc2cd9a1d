"""The Event Socket of the simulated switch: clients that authenticate, subscribe, ask and listen.

Framing, replies and misbehaviour are those of mod_event_socket.c: events that a client is too slow for wait in a
bounded queue, and after some hundred lost ones the client is thrown out. Commands that are not simulated are answered
`-ERR command not found`, as unknown ones are. https://github.com/signalwire/freeswitch
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from cdrhub.errors import AddressUnavailable
from cdrhub.os_errors import in_words
from cdrhub.sources.freeswitch.simulate.events import Event
from cdrhub.sources.freeswitch.simulate.subscription import Subscription
from cdrhub.sources.freeswitch.simulate.switch import Switch

MAX_QUEUE_EVENTS: Final = 100_000  #: MAX_QUEUE_LEN: waiting for one client
MAX_MISSED_EVENTS: Final = 500  #: MAX_MISSED: lost in a row, then the client is thrown out
MAX_COMMAND_BYTES: Final = 65_536
MAX_HEADERS: Final = 64  #: lines of one command
AUTH_SECONDS: Final = 25.0  #: that a client has for its password
CLOSE_SECONDS: Final = 5.0  #: that a closed client has to read what was written
WRITE_CHUNK: Final = 64  #: events written between two looks at the socket

GOODBYE: Final = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
LOST: Final = "killed listener because of lost events\n"
SHUT_DOWN: Final = "The system is being shut down.\n"

Api = Callable[[str], Awaitable[str]]
"""Runs an API command (`show channels as json`) and returns its answer."""

Background = Callable[[str, str], None]
"""Starts an API command as the job of this uuid; its result comes as an event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much a client may be behind."""

    queue_events: int = MAX_QUEUE_EVENTS
    missed_events: int = MAX_MISSED_EVENTS


class EventSocket:
    """Serves the clients of one switch."""

    def __init__(self, switch: Switch, *, password: str, api: Api, background: Background, limits: Limits) -> None:
        self._switch = switch
        self._password = password
        self._api = api
        self._background = background
        self._limits = limits
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._listeners = asyncio.Condition()
        self.thrown_out = 0  #: clients, for lost events

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address. AddressUnavailable where that is not possible."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_COMMAND_BYTES)
        except OSError as error:
            raise AddressUnavailable(f"the switch cannot listen on {host}:{port}: {in_words(error)}") from error
        self._switch.heard.append(self._hear)
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self) -> None:
        """Say goodbye to every client and close."""
        if self._server is None:
            return
        self._switch.heard.remove(self._hear)
        self._server.close()
        for client in tuple(self._clients):
            client.close(SHUT_DOWN)
        await asyncio.gather(*(client.gone.wait() for client in tuple(self._clients)))
        await self._server.wait_closed()
        self._server = None

    async def listened_to(self, *, within: float) -> bool:
        """Wait so many seconds until a client listens; whether one does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._listeners:
                await self._listeners.wait_for(self._listened_to)
        return self._listened_to()

    def _listened_to(self) -> bool:
        return any(client.subscription.active for client in self._clients)

    async def room(self) -> None:
        """Wait until no client is far behind."""
        await asyncio.gather(*(client.drained() for client in tuple(self._clients) if client.behind))

    async def drained(self) -> None:
        """Wait until every client was written all that happened, or is gone."""
        await asyncio.gather(*(client.drained() for client in tuple(self._clients)))

    def _hear(self, event: Event) -> None:
        for client in tuple(self._clients):
            client.hear(event)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(reader, writer, self._limits)
        self._clients.add(client)
        try:
            await client.run(self._commands(client))
        finally:
            self._clients.discard(client)
            self.thrown_out += client.thrown_out

    def _commands(self, client: _Client) -> Commands:
        return Commands(
            client.subscription,
            password=self._password,
            api=self._api,
            background=self._background,
            changed=self._changed,
        )

    async def _changed(self) -> None:
        async with self._listeners:
            self._listeners.notify_all()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What is written for a command, and whether the connection goes on."""

    written: bytes
    goes_on: bool = True


class Commands:
    """The commands of one client, in the order in which it sends them."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        password: str,
        api: Api,
        background: Background,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self.authenticated = False
        self._subscription = subscription
        self._password = password
        self._api = api
        self._background = background
        self._changed = changed

    async def run(self, command: str, headers: dict[str, str]) -> Reply:
        """The reply to `command`; `headers` are the lines below it, names in lower case."""
        name, _, argument = command.partition(" ")
        words = argument.split()
        if name == "exit":
            return _reply("+OK bye", goes_on=False)
        if not self.authenticated:
            return self._auth(name, argument)
        match name:
            case "event":
                answer = self._subscription.event(words)
                await self._changed()
            case "nixevent":
                answer = self._subscription.nixevent(words)
            case "noevents":
                answer = self._subscription.noevents()
            case "filter":
                answer = self._subscription.filter(words)
            case "linger" | "nolinger":
                answer = "-ERR not controlling a session"
            case "api" if words:
                body = (await self._api(argument.strip())).encode() or b"-ERR no reply\n"
                return Reply(written=b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body))
            case "bgapi" if words:
                uuid = headers.get("job-uuid") or str(uuid4())
                self._background(argument.strip(), uuid)
                return Reply(
                    written=f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {uuid}\n"
                    f"Job-UUID: {uuid}\n\n".encode()
                )
            case _:
                answer = "-ERR command not found"
        return _reply(answer)

    def _auth(self, name: str, password: str) -> Reply:
        if name != "auth":
            return _reply("-ERR command not found")
        self.authenticated = hmac.compare_digest(password.encode(), self._password.encode())
        return _reply("+OK accepted") if self.authenticated else _reply("-ERR invalid", goes_on=False)


def _reply(text: str, *, goes_on: bool = True) -> Reply:
    return Reply(written=f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode(), goes_on=goes_on)


class _Client:
    """One connection: what it sends is read and answered, what it wants to hear is queued and written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self.subscription = Subscription()
        self.gone = asyncio.Event()
        self._queue: deque[bytes] = deque()
        self._waiting = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._missed = 0
        self._farewell: str | None = None
        self._leaving = asyncio.Event()
        self.thrown_out = 0

    def hear(self, event: Event) -> None:
        """Queue `event`, if it is wanted; throw the client out that lost too many."""
        if self._farewell is not None or not self.subscription.wants(event):
            return
        if len(self._queue) >= self._limits.queue_events:
            self._missed += 1
            if self._missed > self._limits.missed_events:
                self.thrown_out = 1
                self.close(LOST)
            return
        self._missed = 0
        self._queue.append(event.json if self.subscription.format == "json" else event.plain)
        self._written.clear()
        self._waiting.set()

    @property
    def behind(self) -> bool:
        """Whether much of what it may be behind is waiting."""
        return len(self._queue) > self._limits.queue_events // 10

    def close(self, farewell: str) -> None:
        """Disconnect with this notice; nothing more is heard."""
        if self._farewell is None:
            self._farewell = farewell
            self._leaving.set()

    async def drained(self) -> None:
        """Wait until everything queued is written, or the client is gone."""
        tasks = [asyncio.ensure_future(event.wait()) for event in (self._written, self.gone)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def run(self, commands: Commands) -> None:
        """The connection's life; ends when it is closed from either side."""
        tasks = [
            asyncio.ensure_future(self._answer(commands)),
            asyncio.ensure_future(self._write()),
            asyncio.ensure_future(self._leaving.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.close(GOODBYE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._disconnect()
            self.gone.set()

    async def _answer(self, commands: Commands) -> None:
        """Read commands and answer them, until the client leaves, sends what is no command, or is refused."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError, TimeoutError):
            self._writer.write(b"Content-Type: auth/request\n\n")
            goes_on = True
            while goes_on:
                async with asyncio.timeout(None if commands.authenticated else AUTH_SECONDS):
                    command, headers = await self._command()
                reply = await commands.run(command, headers)
                self._writer.write(reply.written)
                await self._writer.drain()
                goes_on = reply.goes_on

    async def _command(self) -> tuple[str, dict[str, str]]:
        """One command and its headers. ValueError for what is too long, IncompleteReadError at the end."""
        command = ""
        headers: dict[str, str] = {}
        lines = 0
        while True:
            line = (await self._reader.readuntil(b"\n")).decode("utf-8", "replace").strip("\r\n")
            if not command:
                command = line
            elif line:
                lines += 1
                if lines > MAX_HEADERS:
                    raise ValueError("a command with too many headers")
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            else:
                length = headers.get("content-length", "0")
                if not length.isdigit() or int(length) > MAX_COMMAND_BYTES:
                    raise ValueError("a command with a body that is too long")
                await self._reader.readexactly(int(length))
                return command, headers

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._waiting.wait()
                chunk = [self._queue.popleft() for _ in range(min(WRITE_CHUNK, len(self._queue)))]
                if chunk:
                    self._writer.write(b"".join(chunk))
                    await self._writer.drain()
                if not self._queue:
                    self._waiting.clear()
                    self._written.set()

    async def _disconnect(self) -> None:
        farewell = (self._farewell or GOODBYE).encode()
        with contextlib.suppress(ConnectionError):
            self._writer.write(
                b"Content-Type: text/disconnect-notice\nContent-Length: %d\n\n%b" % (len(farewell), farewell)
            )
            self._writer.close()
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._writer.wait_closed()
            except TimeoutError:
                self._writer.transport.abort()
