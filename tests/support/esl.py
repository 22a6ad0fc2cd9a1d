"""A scripted Event Socket on a loopback port: well-behaved by default, and as bad as a test wants it to be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from cdrhub.sources.freeswitch.esl.frames import encode_frame
from cdrhub.sources.freeswitch.headers import UNDEFINED
from support import peers
from support.intake import until

PASSWORD = "ClueCon"
AUTH_REQUEST = b"Content-Type: auth/request\n\n"
GOODBYE = (
    b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n"
    b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
)
REJECTION = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"


def encode_plain(headers: Mapping[str, str]) -> bytes:
    """The body of a plain event with these headers, as FreeSWITCH writes it."""
    lines = [f"{name}: {quote(value, safe='/,()!*$~') or UNDEFINED}\n" for name, value in headers.items()]
    return "".join([*lines, "\n"]).encode()


HEARTBEAT = encode_plain({"Event-Name": "HEARTBEAT", "Event-Info": "System Ready"})
NO_CHANNELS = '{"row_count":0}\n'
ANSWERS = {"show channels count": "\n0 total.\n", "show channels as json": NO_CHANNELS}


def reply(text: str) -> bytes:
    """The answer to a command."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def response(text: str) -> bytes:
    """The answer to an api command."""
    body = text.encode()
    return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body)


def event(body: bytes) -> bytes:
    """A plain event as it is on the wire."""
    return encode_frame("text/event-plain", body)


def job_event(uuid: str, result: str) -> bytes:
    """The BACKGROUND_JOB that tells the result of a job, as mod_event_socket writes it."""
    body = f"{result}\n".encode()
    headers = {"Event-Name": "BACKGROUND_JOB", "Job-UUID": uuid, "Job-Command": "originate"}
    return encode_plain({**headers, "Content-Length": str(len(body))}) + body


class Connection(peers.Connection):
    """One connection, from the switch's side."""

    subscription: str | None = None

    async def command(self) -> str:
        """The next command, without its empty line; empty when the client is gone."""
        try:
            return (await self._reader.readuntil(b"\n\n")).decode().rstrip("\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""

    async def authenticate(self) -> None:
        """Ask for the password and take whatever comes."""
        await self.send(AUTH_REQUEST)
        await self.command()
        await self.send(reply("+OK accepted"))

    async def subscribe(self) -> None:
        """Authenticate, and take a subscription."""
        await self.authenticate()
        self.subscription = await self.command()
        await self.send(reply("+OK event listener enabled plain"))

    async def gone(self) -> None:
        """Wait until the client has closed the connection; what it sends is left unread by nobody."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass


Script = Callable[[Connection], Awaitable[None]]


class EventSocketServer:
    """A switch. What is said goes to everyone who has subscribed; `answers` are those to api commands.

    `jobs` says what becomes of a background job, told in an event (None: it never ends). `script`, if given, is what it
    does instead with each new connection.
    """

    def __init__(
        self,
        *,
        answers: dict[str, str] | None = None,
        script: Script | None = None,
        jobs: Callable[[str], str | None] = lambda _command: None,
    ) -> None:
        self.answers = ANSWERS | (answers or {})
        self.jobs = jobs
        self.script = script
        self.password = PASSWORD
        self.commands: list[str] = []  #: every command but `auth`, in the order of their arrival
        self.connections = 0  #: ever made
        self.port = 0
        self._server: asyncio.Server | None = None
        self.open: list[Connection] = []

    async def start(self) -> EventSocketServer:
        """Listen; on the port of the last time, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aenter__(self) -> EventSocketServer:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def subscribers(self) -> list[Connection]:
        """The connections that have subscribed to events."""
        return [connection for connection in self.open if connection.subscription is not None]

    async def say(self, *bodies: bytes) -> None:
        """Send these events to every subscriber; waits until there is one."""
        await self.send(*map(event, bodies))

    async def send(self, *pieces: bytes) -> None:
        """Send bytes to every subscriber; waits until there is one."""
        for piece in pieces:
            await until(lambda: self.subscribers, "nobody subscribes")
            for connection in self.subscribers:
                with contextlib.suppress(ConnectionError):
                    await connection.send(piece)

    async def hang_up(self) -> None:
        """Close every connection; go on listening."""
        for connection in list(self.open):
            await self._drop(connection)

    async def drop_commanders(self) -> None:
        """Close every connection that has not subscribed."""
        for connection in [each for each in self.open if each.subscription is None]:
            await self._drop(connection)

    async def stop(self) -> None:
        """Stop listening and close everything."""
        if self._server is not None:
            self._server.close()
            await self.hang_up()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections += 1
        self.open.append(connection)
        try:
            with contextlib.suppress(ConnectionError):
                await (self.script or self.behave)(connection)
        finally:
            await self._drop(connection)

    async def _drop(self, connection: Connection) -> None:
        await connection.close()  # first: what is not `open` holds no descriptor
        if connection in self.open:
            self.open.remove(connection)

    async def behave(self, connection: Connection) -> None:
        """As mod_event_socket does."""
        await connection.send(AUTH_REQUEST)
        if await connection.command() != f"auth {self.password}":
            await connection.send(reply("-ERR invalid"), GOODBYE)
            return
        await connection.send(reply("+OK accepted"))
        while command := await connection.command():
            self.commands.append(command)
            word, _, rest = command.partition(" ")
            if word == "event":
                await connection.send(reply("+OK event listener enabled plain"))
                connection.subscription = command
            elif word == "api":
                await connection.send(response(self.answers.get(rest, "-ERR no reply\n")))
            elif word == "bgapi":
                job, _, uuid = rest.partition("\nJob-UUID: ")
                await connection.send(reply(f"+OK Job-UUID: {uuid}"))
                if (result := self.jobs(job)) is not None:
                    await self.say(job_event(uuid, result))
            elif word == "exit":
                await connection.send(reply("+OK bye"), GOODBYE)
                return
            else:
                await connection.send(reply("-ERR command not found"))
